// Which CernVM-FS repositories are mounted, and at which revision. Nothing below /cvmfs is read (V64).
import { rawFromBytes } from '../base/raw-text.ts'
import type { GuestPart, PartOutcome } from './guest-parts.ts'
import { plainScript } from './guest-script.ts'
import type { Mount } from '../wire/mount-table.ts'

export interface CvmfsRepository {
  readonly repository: string
  /** Absent where the client does not tell it in time. */
  readonly revision?: string
}

const repositoriesMax = 200
const answerTimeoutMs = 15_000

/** Asks the client for an extended attribute of the mount points, 5 s at most, all repositories at once. */
export interface CvmfsQuestion {
  readonly names: readonly string[]
  readonly part: GuestPart
}

/** Undefined where none is mounted. */
export function askCvmfs(mounts: readonly Mount[]): CvmfsQuestion | undefined {
  const names = mounts
    .map(({ path }) => /^\/cvmfs\/([a-z0-9][a-z0-9.-]{0,252})$/i.exec(path)?.[1])
    .filter((name) => name !== undefined)
    .toSorted()
    .slice(0, repositoriesMax)
  if (names.length === 0) return undefined
  return {
    names,
    part: {
      script: plainScript(revisionScript),
      words: names,
      timeoutMs: answerTimeoutMs,
      outputBytesMax: 1024 * 1024,
    },
  }
}

/** The repositories are known, and software from them is not in the entry: their revisions may stay unknown. */
export function cvmfsRepositories({ names }: CvmfsQuestion, { stdout }: PartOutcome): CvmfsRepository[] {
  const revisions = new Map<string, string>()
  for (const line of rawFromBytes(stdout).split('\n')) {
    const match = /^(\S+) (\d{1,15})$/.exec(line)
    if (match?.[1] !== undefined && match[2] !== undefined) revisions.set(match[1], match[2])
  }
  return names.map((repository) => {
    const revision = revisions.get(repository)
    return { repository, ...(revision === undefined ? {} : { revision }) }
  })
}

const revisionScript = `command -v timeout >/dev/null 2>&1 || exit 0
for name; do
  (
    revision=$(timeout -s KILL 5 getfattr --only-values -n user.revision "/cvmfs/$name" 2>/dev/null) ||
      revision=$(timeout -s KILL 5 attr -qg revision "/cvmfs/$name" 2>/dev/null)
    printf "%s %s\\n" "$name" "$revision"
  ) &
done
wait`
