// Has a machine write out what its programs changed through memory, so that the next change gives a file a new time.
import { isFailure } from '../base/failure.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { nulTerminated, runScript } from './guest-script.ts'
import type { Tools } from './probe.ts'

/** A disk that needs longer is not waited for. */
const writeOutSeconds = 30

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
