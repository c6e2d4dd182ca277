// Which CernVM-FS repositories are mounted, and at which revision. Nothing below /cvmfs is read (V64).
import { rawFromBytes } from '../base/raw-text.ts'
import { isFailure } from '../base/failure.ts'
import type { Shell } from '../wire/shell.ts'
import { nulTerminated, runScript } from './guest-script.ts'
import type { Mount } from './mount-table.ts'

export interface CvmfsRepository {
  readonly repository: string
  /** Absent where the client does not tell it in time. */
  readonly revision?: string
}

const repositoriesMax = 200
const silenceMs = 15_000

/** Asks the client for an extended attribute of the mount point, 5 s at most, all repositories at once. */
export async function readCvmfs(
  shell: Shell,
  mounts: readonly Mount[],
  signal?: AbortSignal,
): Promise<CvmfsRepository[]> {
  const names = mounts
    .map(({ path }) => /^\/cvmfs\/([a-z0-9][a-z0-9.-]{0,252})$/i.exec(path)?.[1])
    .filter((name) => name !== undefined)
    .toSorted()
    .slice(0, repositoriesMax)
  if (names.length === 0) return []
  const revisions = new Map<string, string>()
  try {
    const stdout = await runScript(shell, {
      script: revisionScript,
      stdin: nulTerminated(names),
      doing: 'ask for the revisions of CernVM-FS',
      idleTimeoutMs: silenceMs,
      outputBytesMax: 1024 * 1024,
      signal,
    })
    for (const line of rawFromBytes(stdout).split('\n')) {
      const match = /^(\S+) (\d{1,15})$/.exec(line)
      if (match?.[1] !== undefined && match[2] !== undefined) revisions.set(match[1], match[2])
    }
  } catch (error) {
    // The repositories are known, and software from them is not in the entry: their revisions may stay unknown.
    if (!isFailure(error, 'unavailable.timeout', 'remote.command')) throw error
  }
  return names.map((repository) => {
    const revision = revisions.get(repository)
    return { repository, ...(revision === undefined ? {} : { revision }) }
  })
}

const revisionScript = `command -v timeout >/dev/null 2>&1 || exit 0
xargs -0 -n 50 sh -c '
  for name; do
    (
      revision=$(timeout -s KILL 5 getfattr --only-values -n user.revision "/cvmfs/$name" 2>/dev/null) ||
        revision=$(timeout -s KILL 5 attr -qg revision "/cvmfs/$name" 2>/dev/null)
      printf "%s %s\\n" "$name" "$revision"
    ) &
  done
  wait' sh`
