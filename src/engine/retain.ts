// Thinning: which entries go by the policies, as a plan, and their removal.
//
// An entry is whole by itself: what it shares with others is stored once and stays as long as one of them needs it, so any of them may
// go, the first full one included.
import { VmlError } from '../base/failure.ts'
import { keepTag, type Policy, policyFor, thins } from '../model/policy.ts'
import { applyKeepRules, type KeepRules, type Verdict, type Zone } from '../model/retention.ts'
import { isImported, type LoggedEntry, type OpenLogbook } from './entries.ts'
import { planRemove, type RemovePlan, runRemove } from './remove.ts'

export interface Decision {
  readonly entry: LoggedEntry
  readonly stays: boolean
  /** Why it stays, or why it goes. */
  readonly reasons: readonly string[]
  /** No budget takes it, and why. */
  readonly fixed: Fixed | undefined
}

/** The newest of its line; what a tag keeps; a safety entry; what no rule is about. */
export type Fixed = 'newest' | 'tag' | 'safety' | 'transaction' | 'no rules'

export interface BudgetOutcome {
  readonly limitBytes: number
  /** What the entries that stay by the rules take up in the logbook, and what is left after those that go for the budget. */
  readonly bytesByRules: number
  readonly bytes: number
  /** What must stay takes more by itself: then nothing goes for the budget's sake. */
  readonly exceeded: boolean
  /** What no budget takes, the newest first, each with what it needs beyond those before it; the first thus by itself. */
  readonly mustStay: readonly {
    readonly entry: LoggedEntry
    readonly fixed: Fixed
    readonly bytes: number
  }[]
}

export interface PolicyPlan {
  readonly policy: Policy
  /** Newest first. */
  readonly decisions: readonly Decision[]
  readonly budget?: BudgetOutcome
}

export interface RetainOptions {
  readonly nowMs: number
  readonly localZone: Zone
}

/** More than anybody looks at; the newest count. */
const safetyEntriesMax = 100

/**
 * Environment entries of each machine, host and project by restic's rules; safety entries by a rule of their own; nothing else: neither what was
 * imported, nor what another program wrote. The newest of a line stays whatever the rules say, and so does what has the tag `keep`.
 */
export function planForget(
  entries: readonly LoggedEntry[],
  policies: readonly Policy[],
  options: RetainOptions,
): readonly PolicyPlan[] {
  const own = entries.filter((entry) => !isImported(entry) && entry.kind !== 'foreign')
  // Two computers may call different machines by one name: neither's entries go because of the other's.
  const lines = Map.groupBy(own, ({ machine, facts, project }) =>
    JSON.stringify([machine, facts?.host ?? null, project ?? null]),
  )
  const decisions = new Map(policies.map((policy): [Policy, Decision[]] => [policy, []]))
  for (const line of lines.values()) {
    const [first] = line
    const policy = first && policyFor(policies, first)
    if (policy) decisions.get(policy)?.push(...decideLine(line, policy, options))
  }
  return [...decisions].map(([policy, made]) => ({ policy, decisions: made.toSorted(newestFirst) }))
}

function decideLine(
  line: readonly LoggedEntry[],
  policy: Policy,
  options: RetainOptions,
): readonly Decision[] {
  if (!thins(policy))
    return line.map((entry) => ({ entry, stays: true, reasons: ['no rules'], fixed: 'no rules' }))
  const environment = line.filter(({ kind }) => kind === 'environment')
  const safety = line.filter(({ kind }) => kind === 'safety')
  // Whether one can be undone is never decided by its age alone: `vml tx` keeps them by a budget of their own (M6).
  const transactions = line.filter(({ kind }) => kind === 'transaction')
  const { keep } = policy
  const rules: KeepRules = { ...keep, tags: [...keep.tags.filter((list) => !isKeepList(list)), [keepTag]] }
  // Without rules, only the budget counts: then everything stays by the rules.
  const verdicts = thins({ keep }) ? verdictsOf(environment, rules, options) : withTags(environment, rules)
  // One that a wrong clock has put into the future is not the state that is worth the most.
  const newestByNow = verdicts.findIndex(({ item }) => item.entry.takenAt.getTime() <= options.nowMs)
  const last = lastOf(environment)
  return [
    ...verdicts.map((rated, position) =>
      decideEnvironment(rated, {
        isNewest: position === 0 || position === newestByNow,
        isLast: rated.item.entry === last,
      }),
    ),
    ...decideSafety(safety, { policy, newest: verdicts[0]?.item, options }),
    ...transactions.map((entry) => ({
      entry,
      stays: true,
      reasons: ['a transaction'],
      fixed: 'transaction' as const,
    })),
  ]
}

/** What was saved last by its number, whatever its clock said: one that was set back makes it look old. */
function lastOf(entries: readonly LoggedEntry[]): LoggedEntry | undefined {
  let last: LoggedEntry | undefined
  for (const entry of entries) if ((entry.number ?? 0) > (last?.number ?? 0)) last = entry
  return last
}

function isKeepList(list: readonly string[]): boolean {
  return list.length === 1 && list[0] === keepTag
}

type Rated = Verdict<{ readonly entry: LoggedEntry; readonly time: string; readonly tags: readonly string[] }>

function verdictsOf(
  entries: readonly LoggedEntry[],
  rules: KeepRules,
  options: RetainOptions,
): readonly Rated[] {
  // Of equal times the higher number counts as the newer.
  return applyKeepRules(entries.toReversed().map(dated), rules, options)
}

function dated(entry: LoggedEntry): Rated['item'] {
  return { entry, time: entry.snapshot.time, tags: entry.snapshot.tags }
}

/** Everything, with the tags that protect it. */
function withTags(entries: readonly LoggedEntry[], { tags }: KeepRules): readonly Rated[] {
  return entries.toSorted(byAge).map((entry) => {
    const lists = tags.filter((list) => list.every((tag) => entry.snapshot.tags.includes(tag)))
    return {
      item: dated(entry),
      reasons: lists.length > 0 ? lists.map((list) => `tag ${list.join(',')}`) : ['no rules'],
    }
  })
}

function byAge(left: LoggedEntry, right: LoggedEntry): number {
  return right.takenAt.getTime() - left.takenAt.getTime() || (right.number ?? 0) - (left.number ?? 0)
}

function decideEnvironment(
  { item: { entry }, reasons }: Rated,
  { isNewest, isLast }: { readonly isNewest: boolean; readonly isLast: boolean },
): Decision {
  const isTagged = reasons.some((reason) => reason.startsWith('tag '))
  const fixed = isNewest || isLast ? 'newest' : isTagged ? 'tag' : undefined
  if (reasons.length > 0) return { entry, stays: true, reasons, fixed }
  return fixed === 'newest'
    ? { entry, stays: true, reasons: [isNewest ? 'the newest' : 'the highest number'], fixed }
    : { entry, stays: false, reasons: ['no rule keeps it'], fixed: undefined }
}

/** The newest always; others for a while, counted from the newest entry of the line, and no more than anybody looks at. */
function decideSafety(
  entries: readonly LoggedEntry[],
  context: {
    readonly policy: Policy
    readonly newest: Rated['item'] | undefined
    readonly options: RetainOptions
  },
): readonly Decision[] {
  const { policy, newest, options } = context
  const rules: KeepRules = { count: {}, within: { any: policy.keepSafety }, tags: [[keepTag]] }
  const items = [...entries.toReversed().map(dated), ...(newest ? [newest] : [])]
  const verdicts = applyKeepRules(items, rules, options).filter(({ item }) => item !== newest)
  const last = lastOf(entries)
  return verdicts.map(({ item: { entry }, reasons }, position) => {
    const fixed = 'safety'
    const tagged = reasons.some((reason) => reason.startsWith('tag '))
    if (position === 0) return { entry, stays: true, reasons: ['the newest safety entry'], fixed }
    if (entry === last)
      return { entry, stays: true, reasons: ['the safety entry of the highest number'], fixed }
    if (tagged || (reasons.length > 0 && position < safetyEntriesMax))
      return { entry, stays: true, reasons: reasons.map((reason) => `safety, ${reason}`), fixed }
    return {
      entry,
      stays: false,
      reasons: [reasons.length === 0 ? 'safety, too old' : `safety, more than ${safetyEntriesMax} are newer`],
      fixed: undefined,
    }
  })
}

function newestFirst({ entry: left }: Decision, { entry: right }: Decision): number {
  return byAge(left, right) || (left.id < right.id ? 1 : -1)
}

/** What goes, of all policies. */
export function removalOf(plans: readonly PolicyPlan[]): RemovePlan {
  return planRemove(
    plans.flatMap(({ decisions }) => decisions.filter(({ stays }) => !stays).map(({ entry }) => entry)),
  )
}

/**
 * Oldest first, each removal whole by itself. Under the exclusive lock it first makes sure that what the plan keeps is there: whoever removed
 * any of it since counted on what would go now. Fails with `conflict` then, and nothing is removed.
 */
export async function runForget(
  logbook: OpenLogbook,
  plans: readonly PolicyPlan[],
  signal?: AbortSignal,
): Promise<RemovePlan> {
  const removal = removalOf(plans)
  if (removal.entries.length === 0) return removal
  const oldestFirst = planRemove(removal.entries.toSorted((left, right) => byAge(right, left)))
  await runRemove(logbook, oldestFirst, signal, async () => {
    const there = new Set(await Array.fromAsync(logbook.repository.snapshotIds({ signal })))
    const gone = plans
      .flatMap(({ decisions }) => decisions.filter(({ stays }) => stays))
      .find(({ entry }) => !there.has(entry.snapshot.id))
    if (!gone) return
    throw new VmlError('conflict', 'Cannot thin the log: it was changed since it was looked at', {
      details: { entry: gone.entry.id },
      hint: 'Nothing was removed. Run the command again',
    })
  })
  return removal
}
