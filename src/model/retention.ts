// Which entries of a line rules keep: restic's rules, exactly (restic, doc/060_forget.rst; internal/data/snapshot_policy.go of 0.19).
import { formatSpan, type Span } from './span.ts'

export const periods = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const
export type Period = (typeof periods)[number]
/** `all` is restic's `unlimited`; 0 is no rule. */
export type KeepCount = number | 'all'

export interface KeepRules {
  /** Of the newest, or of the newest in each hour, day, ISO week, month, year that has any. */
  readonly count: Readonly<Partial<Record<'last' | Period, KeepCount>>>
  /** Everything that is not older than this before the newest, or one for each period within it. */
  readonly within: Readonly<Partial<Record<'any' | Period, Span>>>
  /** What has all tags of one of these lists. */
  readonly tags: readonly (readonly string[])[]
}

export const noKeepRules: KeepRules = { count: {}, within: {}, tags: [] }

/** What the rules look at. */
export interface Dated {
  /** RFC 3339; hours and days are those of the zone that it is written in. */
  readonly time: string
  readonly tags: readonly string[]
}

export interface Verdict<Item> {
  readonly item: Item
  /** The rules that keep it, in words; none where it goes. */
  readonly reasons: readonly string[]
}

/** Seconds east of Greenwich at that second since 1970. */
export type Zone = (seconds: number) => number

export function isEmptyRules({ count, within, tags }: KeepRules): boolean {
  return (
    tags.length === 0 &&
    Object.values(count).every((value) => value === 0) &&
    Object.values(within).every(isZeroSpan)
  )
}

/**
 * Newest first; of equal times the first that is given counts as the newer. Rules that say nothing keep everything. What lies after
 * `nowMs` is not the newest that spans of time are counted from: a clock that once went wrong must not make all else old.
 */
export function applyKeepRules<Item extends Dated>(
  items: readonly Item[],
  rules: KeepRules,
  { nowMs, localZone }: { readonly nowMs: number; readonly localZone: Zone },
): readonly Verdict<Item>[] {
  const dated = items
    .map((item) => ({ item, at: parseMoment(item.time, localZone) }))
    .sort((left, right) => compareMoments(right.at, left.at))
  if (isEmptyRules(rules)) return dated.map(({ item }) => ({ item, reasons: ['no rules'] }))
  const now: Moment = { seconds: Math.floor(nowMs / 1000), nanos: (nowMs % 1000) * 1e6, zone: utc }
  const latest = dated.find(({ at }) => compareMoments(at, now) < 0)?.at ?? beginningOfTime
  const counters = countersOf(rules)
  const windows = windowsOf(rules, latest)
  const whole = nonZero(rules.within.any)
  const since = whole && { span: whole, from: before(latest, whole) }
  return dated.map(({ item, at }, position) => {
    const isOldest = position === dated.length - 1
    const reasons = rules.tags
      .filter((list) => list.every((tag) => item.tags.includes(tag)))
      .map((list) => `tag ${list.join(',')}`)
    if (since && compareMoments(at, since.from) > 0) reasons.push(`within ${formatSpan(since.span)}`)
    for (const counter of counters) {
      if (counter.left === 0) continue
      const bucket = counter.name === 'last' ? position : bucketOf(counter.name, at)
      // The oldest stays while a rule has places left: so the history reaches back as far as it can.
      if (bucket === counter.bucket && !isOldest) continue
      reasons.push(bucket === counter.bucket ? `oldest ${counter.name}` : counter.name)
      counter.bucket = bucket
      if (counter.left !== 'all') counter.left--
    }
    for (const window of windows) {
      if (compareMoments(at, window.from) <= 0) continue
      const bucket = bucketOf(window.period, at)
      if (bucket === window.bucket && !isOldest) continue
      const oldest = bucket === window.bucket ? 'oldest ' : ''
      reasons.push(`${oldest}${window.period} within ${formatSpan(window.span)}`)
      window.bucket = bucket
    }
    return { item, reasons }
  })
}

interface Counter {
  readonly name: 'last' | Period
  left: KeepCount
  bucket: number | undefined
}

function countersOf({ count }: KeepRules): Counter[] {
  return (['last', ...periods] as const).map((name) => ({ name, left: count[name] ?? 0, bucket: undefined }))
}

interface Window {
  readonly period: Period
  readonly span: Span
  readonly from: Moment
  bucket: number | undefined
}

function windowsOf({ within }: KeepRules, latest: Moment): Window[] {
  return periods.flatMap((period) => {
    const span = nonZero(within[period])
    return span ? [{ period, span, from: before(latest, span), bucket: undefined }] : []
  })
}

function nonZero(span: Span | undefined): Span | undefined {
  return span === undefined || isZeroSpan(span) ? undefined : span
}

function isZeroSpan({ years, months, days, hours }: Span): boolean {
  return years === 0 && months === 0 && days === 0 && hours === 0
}

interface Moment {
  readonly seconds: number
  readonly nanos: number
  readonly zone: Zone
}

const utc: Zone = () => 0
/** Go's zero time, which restic counts from where every snapshot lies in the future. */
const beginningOfTime: Moment = { seconds: -62_135_596_800, nanos: 0, zone: utc }

function compareMoments(left: Moment, right: Moment): number {
  return left.seconds - right.seconds || left.nanos - right.nanos
}

/** As Go reads a time: an offset that this computer's zone had at that moment stands for the zone, with its changes. */
export function parseMoment(time: string, localZone: Zone): Moment {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))$/.exec(
    time,
  )
  if (!match) throw new TypeError('The time of a snapshot is RFC 3339')
  const [year = 0, month = 0, day = 0, hours = 0, minutes = 0, seconds = 0] = match.slice(1, 7).map(Number)
  const [, , , , , , , fraction = '', sign, zoneHours, zoneMinutes] = match
  const nanos = Number(fraction.padEnd(9, '0'))
  const written = secondsOf(new Date(0), { year, month: month - 1, day, hours, minutes, seconds })
  if (sign === undefined) return { seconds: written, nanos, zone: utc }
  const offset = (sign === '-' ? -1 : 1) * (Number(zoneHours) * 3600 + Number(zoneMinutes) * 60)
  const at = written - offset
  return { seconds: at, nanos, zone: localZone(at) === offset ? localZone : () => offset }
}

interface Fields {
  readonly year: number
  readonly month: number
  readonly day: number
  readonly hours: number
  readonly minutes: number
  readonly seconds: number
}

/** Years before 100 are meant as they stand, which `Date.UTC` does not do. */
function secondsOf(date: Date, { year, month, day, hours, minutes, seconds }: Fields): number {
  date.setUTCHours(hours, minutes, seconds, 0)
  date.setUTCFullYear(year, month, day)
  return date.getTime() / 1000
}

function wallClock({ seconds, zone }: Moment): Date {
  return new Date((seconds + zone(seconds)) * 1000)
}

function bucketOf(period: Period, at: Moment): number {
  const date = wallClock(at)
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth() + 1]
  const day = (year * 100 + month) * 100 + date.getUTCDate()
  switch (period) {
    case 'hourly':
      return day * 100 + date.getUTCHours()
    case 'daily':
      return day
    case 'weekly':
      return isoWeek(date)
    case 'monthly':
      return year * 100 + month
    case 'yearly':
      return year
  }
}

/** ISO 8601: a week belongs to the year that its Thursday is in. */
function isoWeek(date: Date): number {
  const thursday = new Date(date)
  thursday.setUTCDate(date.getUTCDate() + 4 - (date.getUTCDay() || 7))
  const newYear = new Date(thursday)
  newYear.setUTCMonth(0, 1)
  const dayOfYear = Math.round((thursday.getTime() - newYear.getTime()) / 86_400_000)
  return thursday.getUTCFullYear() * 100 + Math.floor(dayOfYear / 7) + 1
}

/** Go's `AddDate` and `Add`: years, months and days by the calendar of the zone (31 October less a month is 1 October), hours by the clock. */
function before(at: Moment, { years, months, days, hours }: Span): Moment {
  const { zone, nanos } = at
  const date = wallClock(at)
  const wall = secondsOf(new Date(0), {
    year: date.getUTCFullYear() - years,
    month: date.getUTCMonth() - months,
    day: date.getUTCDate() - days,
    hours: date.getUTCHours(),
    minutes: date.getUTCMinutes(),
    seconds: date.getUTCSeconds(),
  })
  // A time that a change of the clocks skips or repeats: as Go's `Date` settles it.
  const offset = zone(wall) === 0 ? 0 : zone(wall - zone(wall))
  return { seconds: wall - offset - hours * 3600, nanos, zone }
}
