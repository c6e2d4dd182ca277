// What a timer does: due saves, thinning, and now and then a prune. One machine that fails does not keep the others from theirs.
import { isFailure, messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import type { Clock } from '../base/clock.ts'
import type { Reporter } from '../base/progress.ts'
import { isImported, listEntries, type LoggedEntry, nextEntryNumber } from '../engine/entries.ts'
import { localZone } from '../engine/local-zone.ts'
import { type PruneReport, pruneMarksOf, runPruning } from '../engine/prune.ts'
import type { RemovePlan } from '../engine/remove.ts'
import { fitBudget, planForget, type PolicyPlan, removalOf, runForget } from '../engine/retain.ts'
import { chooseBase, type Saved, type SaveParts, type SaveRequest } from '../engine/save.ts'
import { saveIfChanged } from '../engine/save-if-changed.ts'
import { rawFromString } from '../base/raw-text.ts'
import { dueAtMs, type Policy, policyFor, policyName } from '../model/policy.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import { readDiskUse } from '../source/disk-use.ts'
import { pruneRuleDefault } from '../store/prune-plan.ts'
import { findMachine } from './config.ts'
import type { Logbook } from './open.ts'
import { type MachineContext, openMachine } from './open-machine.ts'
import { policyStateFile, type PolicyState, readPolicyState, writePolicyState } from './policy-state.ts'
import { digestOfImage, openBase } from './save-base.ts'
import { parseCache, parseMachinePath } from './machine-path.ts'
import { openFolderMemory } from './folder-memory.ts'

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

/** A prune, and the measuring for a budget, read every folder of every entry: for a timer once a day is enough. */
const dayMs = 24 * 3_600_000

/** The policies are those that were chosen; which entries each is about depends on all that there are. */
export async function* runPolicies(
  context: PolicyContext,
  logbook: Logbook,
  policies: readonly Policy[],
  options: RunOptions,
): AsyncGenerator<PolicyEvent> {
  const stateFile = policyStateFile(context.config.folders.state, logbook.repository.id)
  const state = await readPolicyState(stateFile)
  const run: Run = {
    ...options,
    context,
    refusal: undefined,
    defects: [],
    async agreeTo(removal) {
      try {
        await context.agreeTo(removal)
      } catch (error) {
        run.refusal = error
        throw error
      }
    },
    logbook,
    state,
    async remember(change) {
      run.state = { ...run.state, ...change }
      await writePolicyState(stateFile, run.state)
    },
  }
  for (const policy of policies) {
    if (run.save) yield* attempt(run, policy, 'save', () => saveDue(run, policy))
    if (run.thin) yield* attempt(run, policy, 'thin', () => thinLine(run, policy))
  }
  if (run.prune && !run.dryRun) yield* pruneSometimes(run)
  if (run.defects.length > 0) throw run.defects[0]
}

interface Run extends RunOptions {
  readonly context: PolicyContext
  readonly logbook: Logbook
  state: PolicyState
  /** What a no was: it ends the whole run. */
  refusal: unknown
  readonly defects: unknown[]
  agreeTo(removal: RemovePlan): Promise<void>
  remember(change: Partial<PolicyState>): Promise<void>
}

/**
 * What fails ends this policy's part and no other; a no and a cancelled run end all. A defect is kept for the end, so that it is told as
 * one, after the other machines had their turn.
 */
async function* attempt(
  run: Run,
  policy: Policy,
  doing: 'save' | 'thin',
  work: () => AsyncGenerator<PolicyEvent>,
): AsyncGenerator<PolicyEvent> {
  try {
    yield* work()
  } catch (error) {
    run.context.signal.throwIfAborted()
    if (error === run.refusal) throw error
    const failure = failureOf(error)
    if (failure === undefined) run.defects.push(error)
    yield {
      what: 'failed',
      policy,
      doing,
      error: failure ?? new VmlError('failed', `A defect of VML: ${messageOf(error)}`, { cause: error }),
    }
  }
}

/** A failure of the table, or of the system. */
function failureOf(error: unknown): VmlError | undefined {
  if (error instanceof VmlError) return error
  const code = systemErrorCode(error)
  if (code === undefined) return undefined
  const isFull = code === 'ENOSPC' || code === 'EDQUOT'
  return new VmlError(isFull ? 'unavailable.space' : 'failed', messageOf(error), { cause: error })
}

/** Saves, removals and prunes of others hold their locks for moments or minutes; whoever was told so by a timer has the time. */
const lockTriesMax = 8
const lockPauseMs = 15_000

async function patiently<Result>({ context, save }: Run, work: () => Promise<Result>): Promise<Result> {
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

async function* saveDue(run: Run, policy: Policy): AsyncGenerator<PolicyEvent> {
  const { context, logbook } = run
  const entries = await listEntries(logbook, context)
  const nowMs = context.clock.now()
  const dueMs = dueAtMs(policy, lastMs(run, policy, entries, nowMs))
  if (dueMs === undefined) return
  if (dueMs > nowMs) {
    yield { what: 'not-due', policy, dueMs }
    return
  }
  if (run.dryRun) {
    yield { what: 'due', policy }
    return
  }
  const machine = findMachine(context.config, policy.machine)
  const project = projectOf(context, policy)
  await using open = await openMachine(context, machine)
  const { home } = context.config
  const request: SaveRequest = {
    title: 'scheduled',
    note: '',
    ...(project === undefined ? {} : { project }),
    tags: [],
    mode: 'incremental',
    include: policy.include.map((typed) => parseMachinePath(typed, open, home)),
    exclude: policy.exclude,
    only: policy.only.map((typed) => parseMachinePath(typed, open, home)),
    caches: policy.cache.map((typed) => parseCache(typed, open, home)),
  }
  const past = entries.filter(({ takenAt }) => takenAt.getTime() <= nowMs)
  const ofLine = past.filter((entry) => entry.project === project)
  const chosen =
    chooseBase(ofLine, machine.name, 'incremental') ?? chooseBase(past, machine.name, 'incremental')
  const base = await openBase(context, logbook.repository, chosen)
  const parts: SaveParts = {
    open,
    repository: logbook.repository,
    base,
    reporter: context.reporter,
    signal: context.signal,
    imageSha256: await digestOfImage(context, machine, base),
    folderMemory: openFolderMemory(context.config, logbook.repository.id, machine.name),
    nextNumber: () => nextEntryNumber(logbook, context),
    clock: context.clock,
  }
  const outcome = await patiently(run, async () => await saveIfChanged(parts, request))
  if ('kind' in outcome) {
    await run.remember({ looked: { ...run.state.looked, [policyName(policy)]: nowMs } })
    yield { what: 'unchanged', policy, since: outcome.since }
  } else yield { what: 'saved', policy, saved: outcome }
}

/** When the line was looked at last. What lies in the future was stamped by a clock that went wrong, and keeps nothing from being saved. */
function lastMs(
  { context, state }: Run,
  policy: Policy,
  entries: readonly LoggedEntry[],
  nowMs: number,
): number | undefined {
  const all = context.config.policies
  const times = entries
    .filter((entry) => entry.kind === 'environment' && !isImported(entry) && policyFor(all, entry) === policy)
    .map(({ takenAt }) => takenAt.getTime())
  const looked = state.looked[policyName(policy)]
  const past = [...times, ...(looked === undefined ? [] : [looked])].filter((time) => time <= nowMs)
  return past.length === 0 ? undefined : past.reduce((left, right) => Math.max(left, right))
}

/** As `vml save` would have it, unless that project has a policy of its own. */
function projectOf({ config }: PolicyContext, policy: Policy): string | undefined {
  if (policy.project !== undefined) return policy.project
  const project = config.project?.value
  return policyFor(config.policies, { machine: policy.machine, project }) === policy ? project : undefined
}

async function* thinLine(run: Run, policy: Policy): AsyncGenerator<PolicyEvent> {
  const { context, logbook } = run
  const { clock, config, signal } = context
  const entries = await listEntries(logbook, context)
  const all = planForget(entries, config.policies, { nowMs: clock.now(), localZone })
  let plan = all.find((each) => each.policy === policy)
  if (!plan) return
  try {
    const limitBytes = isMeasuredLately(run, policy) ? undefined : await limitOf(context, plan)
    if (limitBytes !== undefined) plan = await fitBudget(logbook, plan, { limitBytes, signal })
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof VmlError)) throw error
    // A machine that cannot be asked how full it is: its rules hold all the same.
    yield { what: 'failed', policy, doing: 'budget', error }
  }
  const removal = removalOf([plan])
  yield { what: 'plan', policy, plan, removal }
  if (run.dryRun) return
  if (removal.entries.length > 0) {
    await run.agreeTo(removal)
    // Before the first one goes: a kill in between must not forget that there is space to free.
    await run.remember({ pruneWanted: true })
    const chosen = [plan]
    const removed = await patiently(run, async () => await runForget(logbook, chosen, signal))
    yield { what: 'removed', policy, removal: removed }
  }
  if (plan.budget)
    await run.remember({ measured: { ...run.state.measured, [policyName(policy)]: clock.now() } })
}

function isMeasuredLately({ save, dryRun, context, state }: Run, policy: Policy): boolean {
  const atMs = state.measured[policyName(policy)]
  return save && !dryRun && atMs !== undefined && isLately(atMs, context.clock.now())
}

/** A day and no less: a timer that ticks a little early must not make two of it. A clock that was set back makes nothing lately. */
function isLately(atMs: number, nowMs: number): boolean {
  return nowMs >= atMs && nowMs - atMs < dayMs - slackMs
}

const slackMs = 5 * 60_000

async function limitOf(context: PolicyContext, plan: PolicyPlan): Promise<number | undefined> {
  const { budget } = plan.policy
  if (budget === undefined || budget.kind === 'bytes') return budget?.bytes
  const shell = await context.openShell(findMachine(context.config, plan.policy.machine))
  const saved = plan.decisions[0]?.entry.snapshot.paths ?? []
  const paths = [rootPath, ...saved.flatMap((path) => parseRawPath(rawFromString(path)) ?? [])]
  return Math.floor(((await readDiskUse(shell, paths, context.signal)) * budget.percent) / 100)
}

async function* pruneSometimes(run: Run): AsyncGenerator<PolicyEvent> {
  const { context, logbook, state } = run
  const nowMs = context.clock.now()
  if (!state.pruneWanted || isLately(state.prunedAtMs, nowMs)) return
  const { reporter, signal } = context
  try {
    const report = await runPruning(logbook.repository, {
      rule: pruneRuleDefault,
      marks: pruneMarksOf(context.config.folders.state, logbook.repository.id),
      now: false,
      waitMs: 0,
      reporter,
      signal,
    })
    const { due, unused, unindexed, repack } = report.plan
    const marked = unused.packs.length + unindexed.packs.length + repack.packs.length
    const left = due.packs.length - report.deleted.packs.length - report.deleted.back.length
    await run.remember({ prunedAtMs: nowMs, pruneWanted: marked + left > 0 })
    yield { what: 'pruned', report }
  } catch (error) {
    // Whoever uses the logbook now comes first; the next run tries again.
    if (!isFailure(error, 'store.locked')) throw error
    yield { what: 'prune-left', error }
  }
}
