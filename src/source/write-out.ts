// Has a machine write out what its programs changed through memory, so that the next change gives a file a new time.
import { isFailure } from '../base/failure.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { nulTerminated, runScript } from './guest-script.ts'
import type { Tools } from './probe.ts'

/** A disk that needs longer is not waited for. */
const writeOutSeconds = 30

/** More roots, or longer names, are written out before a walk instead of at its beginning. */
const rootsBeforeMax = 5
const rootsBytesMax = 8 * 1024

/**
 * `writeOutMapped` as the beginning of another script, to which the roots are given as words: it spares a session. Undefined where
 * that cannot be.
 */
export function writeOutFirst(tools: Tools, roots: readonly RawPath[]): string | undefined {
  const bytes = roots.reduce((sum, root) => sum + root.length, 0)
  if (!tools.timeout || roots.length > rootsBeforeMax || bytes > rootsBytesMax) return undefined
  return `for root; do timeout -s KILL ${writeOutSeconds} sync -f "$root" </dev/null >/dev/null 2>&1; done`
}

/**
 * Linux stamps a file when a program first writes to a mapped page, and not again before that page is written out:
 * what is written into it after a scan would be seen by no later one. A file system in memory (tmpfs) never stamps.
 * Nothing is refused where this cannot be done: most files are not written to through memory.
 */
export async function writeOutMapped(
  shell: Shell,
  tools: Tools,
  roots: readonly RawPath[],
  signal: AbortSignal | undefined,
): Promise<void> {
  // Without a limit a device that does not answer would hold up the save.
  if (!tools.timeout || roots.length === 0) return
  try {
    await runScript(shell, {
      script: `xargs -0 -n 1 timeout -s KILL ${writeOutSeconds} sync -f >/dev/null 2>&1; :`,
      stdin: nulTerminated(roots),
      doing: 'write out what is in memory',
      idleTimeoutMs: (writeOutSeconds + 10) * 1000 * roots.length,
      signal,
    })
  } catch (error) {
    if (!isFailure(error, 'unavailable.timeout')) throw error
  }
}
