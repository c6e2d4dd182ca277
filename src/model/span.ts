// What the rules of a policy are made of, as people write them: spans `1y6m`, how often `15min`, budgets `8%` and `20GiB`.
import { durationUnits, parseDuration, parsePercent, parseSize, sizeUnits } from './quantities.ts'

/** By the calendar, as restic's durations. */
export interface Span {
  readonly years: number
  readonly months: number
  readonly days: number
  readonly hours: number
}

/** Beyond these a calendar ends. */
const spanDigitsMax = { y: 4, m: 6, d: 6, h: 6 } as const

/** `1y5m7d2h`, each unit once; undefined for anything else. */
export function parseSpan(text: string): Span | undefined {
  const found = new Map<string, number>()
  const rest = text.replaceAll(/(\d+)([ymdh])/g, (whole, digits: string, unit: 'y' | 'm' | 'd' | 'h') => {
    if (found.has(unit) || digits.length > spanDigitsMax[unit]) return whole
    found.set(unit, Number(digits))
    return ''
  })
  if (rest !== '' || found.size === 0) return undefined
  const of = (unit: string) => found.get(unit) ?? 0
  return { years: of('y'), months: of('m'), days: of('d'), hours: of('h') }
}

export function formatSpan({ years, months, days, hours }: Span): string {
  const parts = [years && `${years}y`, months && `${months}m`, days && `${days}d`, hours && `${hours}h`]
  return parts.filter((part) => part !== 0).join('') || '0h'
}

/** Ten years, by no calendar. */
const everyMsMax = 3_660 * durationUnits.d

/** `15min` (or `15m`: unlike in a span these are minutes), `1h`, `1d`, `1w`, in milliseconds. */
export function parseEvery(text: string): number | undefined {
  const ms = parseDuration(text, ['m', 'min', 'h', 'd', 'w'])
  return ms !== undefined && ms > 0 && ms <= everyMsMax ? ms : undefined
}

export function formatEvery(ms: number): string {
  for (const unit of ['w', 'd', 'h'] as const)
    if (ms % durationUnits[unit] === 0) return `${ms / durationUnits[unit]}${unit}`
  return `${ms / durationUnits.min}min`
}

export type Budget =
  /** Of the space that is in use on the machine's own disks. */
  { readonly kind: 'share'; readonly percent: number } | { readonly kind: 'bytes'; readonly bytes: number }

/** A share or a size, more than nothing. */
export function parseBudget(text: string): Budget | undefined {
  const percent = parsePercent(text)
  if (percent !== undefined) return percent > 0 ? { kind: 'share', percent } : undefined
  const bytes = parseSize(text)
  return bytes !== undefined && bytes > 0 ? { kind: 'bytes', bytes } : undefined
}

export function formatBudget(budget: Budget): string {
  if (budget.kind === 'share') return `${budget.percent}%`
  let power = 0
  let value = budget.bytes
  while (power < sizeUnits.length - 1 && value % 1024 === 0) {
    value /= 1024
    power++
  }
  return power === 0 ? `${value}B` : `${value}${sizeUnits[power]}iB`
}
