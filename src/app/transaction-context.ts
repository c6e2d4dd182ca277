// What whoever runs a command about transactions hands down.
import type { Clock } from '../base/clock.ts'
import type { Reporter } from '../base/progress.ts'
import type { Budget } from '../model/span.ts'
import type { Config } from './config.ts'

export interface TransactionContext {
  readonly config: Config
  readonly clock: Clock
  readonly reporter: Reporter
  readonly signal: AbortSignal
  /** Instead of that of the settings. */
  readonly budget?: Budget | undefined
}
