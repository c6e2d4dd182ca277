// A machine with a real systemd that can be ended at any moment, and is started again from its disk.
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunResult } from './chroot.ts'

export interface RebootedMachine extends AsyncDisposable {
  readonly cuts: readonly Cut[]
  /** Runs a command line as root. */
  root(command: string, options?: { readonly mayFail?: boolean }): Promise<RunResult>
  /** The same with VML's words, as a machine has it that VML was installed on. */
  vml(words: string, options?: { readonly mayFail?: boolean }): Promise<RunResult>
  /** Runs a command line whose last word is one of `cuts`, and starts the machine again. */
  crash(script: string): Promise<void>
}

/** A way to end it with no word to any program. */
export interface Cut {
  readonly how: string
  /** The command line for it. */
  readonly by: string
}

/** Of an emulated machine, on cores that others use. */
const secondsMax = 1800

/** A question that fails is asked again, unless `check` fails. */
export async function until(ask: () => Promise<boolean>, check = () => {}): Promise<void> {
  const deadline = performance.now() + secondsMax * 1000
  for (;;) {
    let cause: unknown
    check()
    try {
      if (await ask()) return
    } catch (error) {
      cause = error
    }
    if (performance.now() > deadline) throw new Error(`Not within ${secondsMax} s`, { cause })
    await sleep(250)
  }
}
