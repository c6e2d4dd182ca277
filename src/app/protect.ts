// Brings recovery data up to date after packs came or went. What was done before is done, whatever becomes of this.
import { isFailure } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import type { ParityUpdate } from '../store/parity.ts'
import type { Repository } from '../store/store.ts'

export interface ProtectOptions {
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
  /** Reads the recovery data that is there, too, and makes anew what is damaged. */
  readonly verify?: boolean
}

/** Undefined where it could not be done: that is a warning, since the packs themselves are whole. Nothing where nobody asked for recovery data. */
export async function protectPacks(
  repository: Repository,
  options: ProtectOptions,
): Promise<ParityUpdate | undefined> {
  try {
    return await (await repository.openParity()).update(options)
  } catch (error) {
    if (!isFailure(error)) throw error
    options.reporter.warn({
      warning: `Recovery data is not up to date: ${error.message}. The next save, or vml parity update, makes up for it`,
    })
    return undefined
  }
}
