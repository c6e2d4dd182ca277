// A policy: how often a machine is saved, which of its entries stay, and how much room they may take.
import {
  isEmptyRules,
  type KeepCount,
  type KeepRules,
  noKeepRules,
  type Period,
  periods,
} from './retention.ts'
import { nearestName } from './nearest-name.ts'
import {
  type Budget,
  formatBudget,
  formatEvery,
  formatSpan,
  parseBudget,
  parseEvery,
  parseSpan,
  type Span,
} from './span.ts'

export interface Policy {
  readonly machine: string
  /** Of this project alone; else of every project of the machine that has no policy of its own. */
  readonly project?: string
  readonly everyMs?: number
  readonly keep: KeepRules
  /** How long a safety entry stays. */
  readonly keepSafety: Span
  readonly budget?: Budget
  /** What its saves take in, as `vml save` understands it. */
  readonly include: readonly string[]
  readonly exclude: readonly string[]
  readonly only: readonly string[]
  readonly cache: readonly string[]
}

/** An entry with this tag is never thinned. */
export const keepTag = 'keep'

const defaultKeepSafety: Span = { years: 0, months: 0, days: 30, hours: 0 }

export function emptyPolicy(machine: string, project: string | undefined): Policy {
  return {
    machine,
    ...(project === undefined ? {} : { project }),
    keep: noKeepRules,
    keepSafety: defaultKeepSafety,
    include: [],
    exclude: [],
    only: [],
    cache: [],
  }
}

/** Whether anything is ever removed by it. */
export function thins({ keep, budget }: Pick<Policy, 'keep' | 'budget'>): boolean {
  return !isEmptyRules(keep) || budget !== undefined
}

/** A timer does not tick to the second: what is nearly due is due. */
const slackMsMax = 5 * 60_000

/** When the next save is due; 0 where none was made yet, undefined where the policy asks for none. */
export function dueAtMs(
  { everyMs }: Pick<Policy, 'everyMs'>,
  lastMs: number | undefined,
): number | undefined {
  if (everyMs === undefined) return undefined
  return lastMs === undefined ? 0 : lastMs + everyMs - Math.min(slackMsMax, everyMs / 10)
}

/** How it is called in messages: `lab`, or `lab/thesis`. */
export function policyName({
  machine,
  project,
}: {
  readonly machine: string
  readonly project?: string | undefined
}): string {
  return project === undefined ? machine : `${machine}/${project}`
}

/** The policy of an entry: the one of its project, else the one of its machine. */
export function policyFor(
  policies: readonly Policy[],
  { machine, project }: { readonly machine: string; readonly project?: string | undefined },
): Policy | undefined {
  const own = policies.filter((policy) => policy.machine === machine)
  return (
    own.find((policy) => policy.project !== undefined && policy.project === project) ??
    own.find((policy) => policy.project === undefined)
  )
}

/** The settings of a policy, each as one text or a list of texts; the names are those of config.toml, and of the flags with `-`. */
export type PolicySettings = ReadonlyMap<string, string | readonly string[]>

const countNames = ['last', ...periods] as const
const lists = ['include', 'exclude', 'only', 'cache'] as const

export const policySettingNames: readonly string[] = [
  'every',
  ...countNames.map((name) => `keep_${name}`),
  'keep_within',
  ...periods.map((period) => `keep_within_${period}`),
  'keep_tag',
  'keep_safety',
  'budget',
  ...lists,
]

/** What a setting must look like, for a message. */
export function policySettingForm(name: string): string {
  if (name === 'every') return 'a time such as 15min, 1h or 1d'
  if (name === 'budget') return 'a share such as 8%, or a size such as 20GiB'
  if (name === 'keep_tag') return 'tags, with a comma between those that must all be there'
  if (!policySettingNames.includes(name)) return notASetting(name)
  if (name.startsWith('keep_within') || name === 'keep_safety') return 'a time such as 30d or 1y6m'
  if (name.startsWith('keep_')) return 'a whole number or "unlimited"'
  return 'texts that are not empty'
}

function notASetting(name: string): string {
  const meant = nearestName(name, policySettingNames)
  return `a setting of policies, and none is called so${meant === undefined ? '' : `: did you mean "${meant}"?`}`
}

/** The policy that its settings describe; the name of the first that does not read as it must. */
export function parsePolicy(
  { machine, project }: Pick<Policy, 'machine' | 'project'>,
  settings: PolicySettings,
): { readonly policy: Policy } | { readonly wrong: string } {
  const wrong: string[] = []
  const one = <Value>(name: string, parse: (text: string) => Value | undefined): Value | undefined => {
    const typed = settings.get(name)
    if (typed === undefined) return undefined
    const value = typeof typed === 'string' ? parse(typed) : undefined
    if (value === undefined) wrong.push(name)
    return value
  }
  const many = (name: string): readonly string[] => {
    const typed = settings.get(name) ?? []
    const texts = typeof typed === 'string' ? [typed] : typed
    if (texts.some((text) => text === '')) wrong.push(name)
    return texts
  }
  for (const name of settings.keys()) if (!policySettingNames.includes(name)) wrong.push(name)
  const count: Partial<Record<'last' | Period, KeepCount>> = {}
  for (const name of countNames) {
    const value = one(`keep_${name}`, parseCount)
    if (value !== undefined) count[name] = value
  }
  const within: Partial<Record<'any' | Period, Span>> = {}
  for (const name of ['any', ...periods] as const) {
    const value = one(name === 'any' ? 'keep_within' : `keep_within_${name}`, parseSpan)
    if (value !== undefined) within[name] = value
  }
  const tags = many('keep_tag').map((list) => list.split(','))
  if (tags.some((list) => list.some((tag) => tag === ''))) wrong.push('keep_tag')
  const everyMs = one('every', parseEvery)
  const budget = one('budget', parseBudget)
  const policy: Policy = {
    ...emptyPolicy(machine, project),
    ...(everyMs === undefined ? {} : { everyMs }),
    keep: { count, within, tags },
    keepSafety: one('keep_safety', parseSpan) ?? defaultKeepSafety,
    ...(budget === undefined ? {} : { budget }),
    include: many('include'),
    exclude: many('exclude'),
    only: many('only'),
    cache: many('cache'),
  }
  return wrong[0] === undefined ? { policy } : { wrong: wrong[0] }
}

/** The settings that read back as this policy: what is at its default is left out. */
export function policySettings(policy: Policy): PolicySettings {
  const settings = new Map<string, string | readonly string[]>()
  const put = (name: string, text: string | undefined) => {
    if (text !== undefined) settings.set(name, text)
  }
  const putMany = (name: string, texts: readonly string[]) => {
    if (texts.length > 0) settings.set(name, texts)
  }
  const { count, within, tags } = policy.keep
  put('every', policy.everyMs === undefined ? undefined : formatEvery(policy.everyMs))
  for (const name of countNames) {
    const value = count[name]
    put(`keep_${name}`, value === undefined ? undefined : value === 'all' ? 'unlimited' : String(value))
  }
  put('keep_within', within.any && formatSpan(within.any))
  for (const period of periods) {
    const span = within[period]
    put(`keep_within_${period}`, span && formatSpan(span))
  }
  putMany(
    'keep_tag',
    tags.map((list) => list.join(',')),
  )
  const safety = formatSpan(policy.keepSafety)
  if (safety !== formatSpan(defaultKeepSafety)) put('keep_safety', safety)
  put('budget', policy.budget && formatBudget(policy.budget))
  for (const name of lists) putMany(name, policy[name])
  return settings
}

function parseCount(text: string): KeepCount | undefined {
  if (text === 'unlimited') return 'all'
  return /^\d{1,6}$/.test(text) ? Number(text) : undefined
}
