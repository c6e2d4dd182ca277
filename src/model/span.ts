// Spans of time and sizes as people write them in rules: `1y6m`, `30d`, `15min`, `8%`, `20GiB`.

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

const everyUnits = { m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const
/** Ten years, by no calendar. */
const everyMsMax = 3_660 * everyUnits.d

/** How often: `15min` (or `15m`: unlike in a span these are minutes), `1h`, `1d`, `1w`, in milliseconds. */
export function parseEvery(text: string): number | undefined {
  const match = /^(\d{1,6})(m|min|h|d|w)$/.exec(text)
  const unit = match?.[2]
  if (unit !== 'm' && unit !== 'min' && unit !== 'h' && unit !== 'd' && unit !== 'w') return undefined
  const ms = Number(match?.[1]) * everyUnits[unit]
  return ms > 0 && ms <= everyMsMax ? ms : undefined
}

export function formatEvery(ms: number): string {
  for (const unit of ['w', 'd', 'h'] as const)
    if (ms % everyUnits[unit] === 0) return `${ms / everyUnits[unit]}${unit}`
  return `${ms / everyUnits.min}min`
}

export type Budget =
  /** Of the space that is in use on the machine's own disks. */
  { readonly kind: 'share'; readonly percent: number } | { readonly kind: 'bytes'; readonly bytes: number }

const sizeUnits = ['', 'K', 'M', 'G', 'T', 'P'] as const

/** `8%`, or a size: `20GiB`, `20G` (as restic, by 1024), `20GB` (by 1000). More than nothing. */
export function parseBudget(text: string): Budget | undefined {
  const share = /^(\d{1,3}(?:\.\d{1,3})?)\s?%$/.exec(text)
  if (share) {
    const percent = Number(share[1])
    return percent > 0 && percent <= 100 ? { kind: 'share', percent } : undefined
  }
  const size = /^(\d{1,15}(?:\.\d{1,3})?)\s?([KMGTP]?)(iB|B|)$/i.exec(text)
  if (!size) return undefined
  const [, number = '', letter = '', suffix = ''] = size
  const power = sizeUnits.findIndex((unit) => unit === letter.toUpperCase())
  const bytes = Math.floor(Number(number) * (suffix.toUpperCase() === 'B' ? 1000 : 1024) ** power)
  return bytes > 0 && Number.isSafeInteger(bytes) ? { kind: 'bytes', bytes } : undefined
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
