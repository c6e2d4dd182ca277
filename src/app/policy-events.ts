// A run of the policies: what it is asked for, what it knows while it goes on, and what it tells.
import { isFailure, type VmlError } from '../base/failure.ts'
import type { Clock } from '../base/clock.ts'
import type { Reporter } from '../base/progress.ts'
import type { LoggedEntry } from '../engine/entries.ts'
import type { PruneReport } from '../engine/prune.ts'
import type { RemovePlan } from '../engine/remove.ts'
import type { PolicyPlan } from '../engine/retain.ts'
import type { Saved } from '../engine/save.ts'
import type { Policy } from '../model/policy.ts'
import type { Logbook } from './open.ts'
import type { MachineContext } from './open-machine.ts'
import type { PolicyState } from './policy-state.ts'

export interface PolicyContext extends MachineContext {
  readonly clock: Clock
  readonly reporter: Reporter
  /** Asked before entries go. */
  agreeTo(removal: RemovePlan): Promise<void>
}

/** What happened to one policy, in order. */
export type PolicyEvent =
  /** Of a dry run alone. */
  | { readonly what: 'due'; readonly policy: Policy }
  | { readonly what: 'not-due'; readonly policy: Policy; readonly dueMs: number }
  | { readonly what: 'unchanged'; readonly policy: Policy; readonly since: LoggedEntry }
  | { readonly what: 'saved'; readonly policy: Policy; readonly saved: Saved }
  | {
      readonly what: 'plan'
      readonly policy: Policy
      readonly plan: PolicyPlan
      readonly removal: RemovePlan
    }
  | { readonly what: 'removed'; readonly policy: Policy; readonly removal: RemovePlan }
  | {
      readonly what: 'failed'
      readonly policy: Policy
      readonly doing: 'save' | 'budget' | 'thin'
      readonly error: VmlError
    }
  | { readonly what: 'pruned'; readonly report: PruneReport }
  | { readonly what: 'prune-left'; readonly error: VmlError }

export interface RunOptions {
  readonly save: boolean
  readonly thin: boolean
  readonly prune: boolean
  readonly dryRun: boolean
}

export interface PolicyRun extends RunOptions {
  readonly context: PolicyContext
  readonly logbook: Logbook
  state: PolicyState
  /** What a no was: it ends the whole run. */
  refusal: unknown
  readonly defects: unknown[]
  agreeTo(removal: RemovePlan): Promise<void>
  remember(change: Partial<PolicyState>): Promise<void>
}

/** Saves, removals and prunes of others hold their locks for moments or minutes; whoever was told so by a timer has the time. */
const lockTriesMax = 8
const lockPauseMs = 15_000

export async function patiently<Result>(
  { context, save }: PolicyRun,
  work: () => Promise<Result>,
): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      if (!save || tries === lockTriesMax || !isFailure(error, 'store.locked')) throw error
      context.reporter.progress({ phase: 'waiting for the logbook' })
      await context.clock.sleep(lockPauseMs, { signal: context.signal })
    }
  }
}
