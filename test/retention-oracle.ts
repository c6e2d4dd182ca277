// Random histories and rules, asked of ours and of stock `restic forget --dry-run --json`: what stays, and why.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { openLocal } from '../src/backend/local.ts'
import { localZone } from '../src/engine/local-zone.ts'
import { applyKeepRules, isEmptyRules, type KeepCount, type KeepRules } from '../src/model/retention.ts'
import { formatSpan, type Span } from '../src/model/span.ts'
import { initRepository } from '../src/store/repository.ts'
import { resticProgram } from './restic-peer.ts'
import { cheapKey, password, snapshotOf } from './store-fixture.ts'

interface Snapshot {
  readonly time: string
  readonly tags: readonly string[]
}

interface History {
  readonly snapshots: readonly Snapshot[]
  readonly rules: KeepRules
  readonly zone: string
}

export interface Compared {
  readonly histories: number
  readonly snapshots: number
  readonly kept: number
}

/** Fails with the history on which the two differ. The same seed makes the same histories. */
export async function compareWithRestic(options: {
  readonly histories: number
  readonly seed: number
}): Promise<Compared> {
  const histories = fc.sample(history, { numRuns: options.histories, seed: options.seed })
  const folder = mkdtempSync(join(tmpdir(), 'vml-retention-'))
  const before = process.env['TZ']
  try {
    await writeHistories(folder, histories)
    let kept = 0
    for (const [number, each] of histories.entries()) {
      process.env['TZ'] = each.zone
      const stays = askRestic(folder, hostOf(number), each)
      const ours = possible(each).map((snapshots) => verdictsOf(snapshots, each.rules))
      // Of equal times restic takes whichever it read first: then one of the orders must give what it said.
      if (!ours.some((verdicts) => verdicts === stays))
        assert.equal(ours[0], stays, `seed ${options.seed}, history ${number}: ${JSON.stringify(each)}`)
      kept += stays.split('\n').length
    }
    return {
      histories: histories.length,
      snapshots: histories.flatMap((each) => each.snapshots).length,
      kept,
    }
  } finally {
    if (before === undefined) delete process.env['TZ']
    else process.env['TZ'] = before
    rmSync(folder, { recursive: true, force: true })
  }
}

function verdictsOf(snapshots: readonly Snapshot[], rules: KeepRules): string {
  const verdicts = applyKeepRules(snapshots, rules, { nowMs: Date.now(), localZone })
  return sortedLines(
    verdicts.flatMap(({ item, reasons }) =>
      reasons.length === 0 ? [] : [{ ...item, reasons: reasons.join('; ') }],
    ),
  )
}

function sortedLines(
  kept: readonly { readonly time: string; readonly tags: readonly string[]; readonly reasons: string }[],
): string {
  return kept
    .map(({ time, tags, reasons }) => `${time} [${tags.join(' ')}] ${reasons}`)
    .toSorted()
    .join('\n')
}

const hostOf = (number: number) => `h${number}`

async function writeHistories(folder: string, histories: readonly History[]): Promise<void> {
  await using repository = await initRepository({ backend: openLocal(folder), keys: [cheapKey] })
  await using writer = await repository.beginWrite()
  const tree = await writer.storeTree([])
  let number = 0
  for (const [at, { snapshots }] of histories.entries())
    for (const { time, tags } of snapshots)
      // The user name tells snapshots of equal time and tags apart.
      await writer.commit({ ...snapshotOf(tree, tags), time, hostname: hostOf(at), username: `u${number++}` })
}

interface ResticReason {
  readonly snapshot: Snapshot & { readonly tags?: readonly string[] }
  readonly matches: readonly string[]
}

function askRestic(folder: string, host: string, { rules, zone, snapshots }: History): string {
  const { status, stdout, stderr } = spawnSync(
    resticProgram('0.19'),
    [
      ...['-r', folder, '--no-cache', '--no-lock', 'forget', '--dry-run', '--json'],
      ...['--host', host, '--group-by', ''],
      ...(isEmptyRules(rules) ? [] : ['--unsafe-allow-remove-all']),
      ...flagsOf(rules),
    ],
    { env: { ...process.env, TZ: zone, RESTIC_PASSWORD: password.toString() }, maxBuffer: 2 ** 28 },
  )
  if (isEmptyRules(rules)) {
    assert.match(stderr.toString(), /no policy was specified, no snapshots will be removed/)
    return sortedLines(snapshots.map((each) => ({ ...each, reasons: 'no rules' })))
  }
  assert.equal(status, 0, stderr.toString())
  const output = stdout.toString()
  const [group] = JSON.parse(output.trim() || '[]') as [{ readonly reasons: readonly ResticReason[] | null }]
  return sortedLines(
    (group.reasons ?? []).map(({ snapshot, matches }) => ({
      time: written(snapshots, snapshot.time),
      tags: snapshot.tags ?? [],
      reasons: matches.map(inOurWords).join('; '),
    })),
  )
}

/** Go may print a time that it read with other digits or another zone. */
function written(snapshots: readonly Snapshot[], time: string): string {
  const found = snapshots.find((each) => each.time === time)
  const normal = (text: string) => {
    const [, day = '', fraction = '', zone = ''] =
      /^([^.Z+]*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(text) ?? []
    return `${Date.parse(`${day}${zone}`)} ${fraction.padEnd(9, '0')}`
  }
  return (found ?? snapshots.find((each) => normal(each.time) === normal(time)))?.time ?? time
}

function inOurWords(match: string): string {
  const tags = /^has tags \[(.*)\]$/.exec(match)
  if (tags) return `tag ${(tags[1] ?? '').replaceAll(', ', ',')}`
  return match.replace(' snapshot', '')
}

function flagsOf({ count, within, tags }: KeepRules): string[] {
  const number = (value: KeepCount) => (value === 'all' ? 'unlimited' : String(value))
  return [
    ...Object.entries(count).flatMap(([name, value]) => [`--keep-${name}`, number(value)]),
    ...Object.entries(within).flatMap(([name, span]) => [
      name === 'any' ? '--keep-within' : `--keep-within-${name}`,
      formatSpan(span),
    ]),
    ...tags.flatMap((list) => ['--keep-tag', list.join(',')]),
  ]
}

/** Every order of the snapshots that have equal times. */
function possible({ snapshots }: History): readonly (readonly Snapshot[])[] {
  const instant = ({ time }: Snapshot) => `${Date.parse(time)} ${/\.(\d+)/.exec(time)?.[1] ?? ''}`
  const groups = Object.values(Object.groupBy(snapshots, instant)).map((group = []) => group)
  let orders: Snapshot[][] = [[]]
  for (const group of groups)
    orders = orders.flatMap((order) => permutations(group).map((part) => [...order, ...part]))
  return orders
}

function permutations(items: readonly Snapshot[]): Snapshot[][] {
  if (items.length < 2) return [[...items]]
  return items.flatMap((first, index) =>
    permutations([...items.slice(0, index), ...items.slice(index + 1)]).map((rest) => [first, ...rest]),
  )
}

const tagNames = ['keep', 'paper', 'a', 'b'] as const
const hourMs = 3_600_000
/** Far enough from today that a test never runs across one of them; the last ones lie in the future. */
const anchors = [
  '2024-02-29T12:00:00Z',
  '2025-03-30T00:30:00Z',
  '2019-12-30T22:00:00Z',
  '2026-10-25T01:30:00Z',
]

const moment = fc
  .record({
    back: fc.oneof(
      fc.constantFrom(0, 1000, hourMs, 24 * hourMs, 7 * 24 * hourMs, 31 * 24 * hourMs, 365 * 24 * hourMs),
      fc.integer({ min: 0, max: 48 * hourMs }),
      fc.integer({ min: 0, max: 90 * 24 }).map((hours) => hours * hourMs),
      fc.integer({ min: 0, max: 365 * 6 }).map((days) => days * 24 * hourMs),
    ),
    future: fc.integer({ min: 0, max: 30 }).map((value) => value === 0),
    offset: fc.constantFrom('Z', 'Z', '+01:00', '+02:00', '-05:00', '-04:00', '+05:30', '+13:00'),
    nanos: fc.constantFrom('', '', '.5', '.123456789', '.000000001'),
  })
  .map((made) => made)

function timeOf(
  anchor: string,
  { back, future, offset, nanos }: typeof moment extends fc.Arbitrary<infer T> ? T : never,
) {
  const at = (future ? Date.parse('2031-01-01T00:00:00Z') : Date.parse(anchor)) - back
  const [, sign = '+', hours = '0', minutes = '0'] = /^([+-])(\d\d):(\d\d)$/.exec(offset) ?? []
  const shift = (sign === '-' ? -1 : 1) * (Number(hours) * hourMs + Number(minutes) * 60_000)
  return `${new Date(at + shift).toISOString().slice(0, 19)}${nanos}${offset}`
}

const span: fc.Arbitrary<Span> = fc
  .record({
    years: fc.constantFrom(0, 0, 0, 1, 2),
    months: fc.constantFrom(0, 0, 1, 5, 13),
    days: fc.constantFrom(0, 0, 1, 7, 30, 31),
    hours: fc.constantFrom(0, 0, 1, 25, 1000),
  })
  .map((made) => (made.years + made.months + made.days + made.hours === 0 ? { ...made, days: 1 } : made))
const count: fc.Arbitrary<KeepCount> = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 5 }) },
  { weight: 1, arbitrary: fc.constant('all' as const) },
)
const rules: fc.Arbitrary<KeepRules> = fc.record({
  count: fc.record(
    { last: count, hourly: count, daily: count, weekly: count, monthly: count, yearly: count },
    { requiredKeys: [] },
  ),
  within: fc
    .record(
      { any: span, hourly: span, daily: span, weekly: span, monthly: span, yearly: span },
      { requiredKeys: [] },
    )
    .chain((all) => fc.constantFrom({}, {}, all)),
  tags: fc.oneof(
    fc.constant([]),
    fc.array(fc.uniqueArray(fc.constantFrom(...tagNames), { minLength: 1, maxLength: 2 }), { maxLength: 2 }),
  ),
})

const scattered: fc.Arbitrary<History> = fc.record({
  snapshots: fc.constantFrom(...anchors).chain((anchor) =>
    fc
      .uniqueArray(
        fc.record({
          time: moment.map((made) => timeOf(anchor, made)),
          tags: fc.uniqueArray(fc.constantFrom(...tagNames), { maxLength: 2 }),
        }),
        { minLength: 1, maxLength: 40, size: 'max', selector: ({ time }) => time },
      )
      .chain((made) =>
        // Some twice, at the same moment.
        fc.boolean().map((twice) => (twice ? [...made, { time: made[0]?.time ?? '', tags: ['b'] }] : made)),
      ),
  ),
  rules,
  zone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Pacific/Auckland'),
})

/** Times around which a zone changes its clocks: months before them, some hour is skipped, repeated, or an hour off. */
const changes = [
  { zone: 'Europe/Berlin', latest: '2025-12-15T12:00:00+01:00', months: 5 },
  { zone: 'Europe/Berlin', latest: '2025-07-15T12:00:00+02:00', months: 6 },
  { zone: 'Europe/Berlin', latest: '2025-09-30T02:30:00+02:00', months: 6 },
  { zone: 'Europe/Berlin', latest: '2025-11-26T02:30:00+01:00', months: 1 },
  { zone: 'America/New_York', latest: '2025-12-09T02:30:00-05:00', months: 9 },
  { zone: 'America/New_York', latest: '2025-12-02T01:30:00-05:00', months: 1 },
  { zone: 'Pacific/Auckland', latest: '2025-12-15T12:00:00+13:00', months: 5 },
  { zone: 'UTC', latest: '2025-12-15T12:00:00+01:00', months: 5 },
] as const
const distances = [-2 * hourMs, -hourMs, 0, hourMs, 2 * hourMs].flatMap((ms) => [ms - 1000, ms, ms + 1000])

const atChanges: fc.Arbitrary<History> = fc.constantFrom(...changes).map(({ zone, latest, months }) => {
  const border = new Date(latest)
  border.setUTCMonth(border.getUTCMonth() - months)
  const times = distances.map((ms) => `${new Date(border.getTime() + ms).toISOString().slice(0, 19)}Z`)
  const within = { any: { years: 0, months, days: 0, hours: 0 } }
  return {
    snapshots: [latest, ...times].map((time) => ({ time, tags: [] })),
    rules: { count: {}, within, tags: [] },
    zone,
  }
})

const history = fc.oneof({ weight: 3, arbitrary: scattered }, { weight: 1, arbitrary: atChanges })
