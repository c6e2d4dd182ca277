// The facts hook (V11): executables of the user's, run on the machine and only there; their output is kept by name.
import { rawFromBytes } from '../base/raw-text.ts'
import type { Shell } from '../wire/shell.ts'
import { whoScript, type MachineUser } from './facts-system.ts'
import { endedPart, type GuestPart, type PartOutcome } from './guest-parts.ts'
import { plainScript } from './guest-script.ts'

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
const namesTimeoutMs = 60_000
const namesBytesMax = 1024 * 1024
const hookTimeoutMs = 10_000
const hookOutputBytesMax = 1024 * 1024

/** Asks for the names of the hooks in the home of whoever logs in. */
export function hookNamesPart(): GuestPart {
  return { script: namesScript, timeoutMs: namesTimeoutMs, outputBytesMax: namesBytesMax }
}

const namesScript = plainScript(`${whoScript}
cd "$vml_home/${hookFolder}" 2>/dev/null || exit 0
for name in *; do [ -f "./$name" ] && [ -x "./$name" ] && printf '%s\\000' "$name"; done; :`)

/** Names that are not plain are passed over. */
export function hookNames(shell: Shell, outcome: PartOutcome): string[] {
  return rawFromBytes(endedPart(shell, 'look for hooks', outcome))
    .split('\0')
    .filter((name) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
    .toSorted()
    .slice(0, hooksMax)
}

/** To be run in the order of their names, one after the other, in the home. */
export function hookPart(user: MachineUser, name: string): GuestPart {
  return {
    script: `cd "$1"; exec "$1/${hookFolder}/$2"`,
    words: [user.home, name],
    timeoutMs: hookTimeoutMs,
    outputBytesMax: hookOutputBytesMax,
  }
}

export function hookResult(name: string, { status, limit, stdout }: PartOutcome): HookResult {
  return { name, status, ...(limit === undefined ? {} : { limit }), output: stdout }
}
