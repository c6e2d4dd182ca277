// The facts hook (V11): executables of the user's, run on the machine and only there; their output is kept by name.
import { rawFromBytes } from '../base/raw-text.ts'
import type { Shell } from '../wire/shell.ts'
import { runBounded } from './bounded-run.ts'
import type { MachineUser } from './facts-system.ts'
import { runScript } from './guest-script.ts'

export interface HookResult {
  /** Name of the executable: letters, digits, `.`, `_` and `-`. */
  readonly name: string
  /** Its status; undefined when it was ended because of a limit. */
  readonly status: number | undefined
  readonly limit?: 'time' | 'output'
  readonly output: Uint8Array
}

const hookFolder = '.config/vml/facts.d'
const hooksMax = 64
const hookTimeoutMs = 10_000
const hookOutputBytesMax = 1024 * 1024

/** In the order of their names, one after the other, in the home. Names that are not plain are passed over. */
export async function runHooks(
  shell: Shell,
  { user, signal }: { readonly user: MachineUser; readonly signal?: AbortSignal | undefined },
): Promise<HookResult[]> {
  const stdout = await runScript(shell, {
    script: `cd "$1/${hookFolder}" 2>/dev/null || exit 0
      for name in *; do [ -f "./$name" ] && [ -x "./$name" ] && printf '%s\\000' "$name"; done; :`,
    words: [user.home],
    doing: 'look for hooks',
    outputBytesMax: 1024 * 1024,
    signal,
  })
  const names = rawFromBytes(stdout)
    .split('\0')
    .filter((name) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
    .toSorted()
    .slice(0, hooksMax)
  const results: HookResult[] = []
  for (const name of names) {
    const outcome = await runBounded(shell, {
      argv: ['sh', '-c', `cd "$1"; exec "$1/${hookFolder}/$2" 2>/dev/null`, 'vml', user.home, name],
      timeoutMs: hookTimeoutMs,
      outputBytesMax: hookOutputBytesMax,
      signal,
    })
    results.push({
      name,
      status: outcome.status,
      ...(outcome.limit === undefined ? {} : { limit: outcome.limit }),
      output: outcome.stdout,
    })
  }
  return results
}
