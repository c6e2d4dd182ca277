// Rules for what to keep, by properties; that they are restic's is shown in test/e2e/retention.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { applyKeepRules, type Dated, type KeepRules, periods, type Zone } from './retention.ts'

const utc: Zone = () => 0
const now = { nowMs: Date.parse('2026-11-21T00:00:00Z'), localZone: utc }
const hourMs = 3_600_000

const span = fc.record({
  years: fc.constantFrom(0, 0, 1),
  months: fc.constantFrom(0, 0, 3),
  days: fc.constantFrom(0, 1, 10),
  hours: fc.constantFrom(0, 5),
})
const count = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constant('all' as const))
const rules: fc.Arbitrary<KeepRules> = fc.record({
  count: fc.record(
    { last: count, hourly: count, daily: count, weekly: count, monthly: count, yearly: count },
    { requiredKeys: [] },
  ),
  within: fc.record(
    { any: span, hourly: span, daily: span, weekly: span, monthly: span, yearly: span },
    { requiredKeys: [] },
  ),
  tags: fc.array(fc.constantFrom(['a'], ['b'], ['a', 'b']), { maxLength: 2 }),
})
const dated: fc.Arbitrary<Dated> = fc.record({
  time: fc
    .oneof(fc.integer({ min: 1, max: 72 }), fc.integer({ min: 1, max: 24 * 900 }))
    .map((hours) => new Date(now.nowMs - hours * hourMs).toISOString()),
  tags: fc.uniqueArray(fc.constantFrom('a', 'b'), { maxLength: 2 }),
})
const history = fc.uniqueArray(dated, { minLength: 1, maxLength: 40, selector: ({ time }) => time })

function kept(items: readonly Dated[], keep: KeepRules): readonly Dated[] {
  return applyKeepRules(items, keep, now)
    .filter(({ reasons }) => reasons.length > 0)
    .map(({ item }) => item)
}

test('a thinning that was cut off is repeated with the same result, whatever part of it was done', () => {
  fc.assert(
    fc.property(history, rules, fc.infiniteStream(fc.boolean()), (items, keep, done) => {
      const stay = kept(items, keep)
      // Some of those that go are gone already.
      const left = items.filter((item) => stay.includes(item) || done.next().value === true)
      assert.deepEqual(kept(left, keep), stay)
    }),
  )
})

test('a rule more never makes an entry go', () => {
  fc.assert(
    fc.property(history, rules, rules, (items, keep, more) => {
      const both: KeepRules = {
        // A rule of both is that of the first.
        count: { ...more.count, ...keep.count },
        within: { ...more.within, ...keep.within },
        tags: [...keep.tags, ...more.tags],
      }
      const first = kept(items, keep)
      const nothingSaid = first.length === items.length
      if (!nothingSaid) for (const item of first) assert.ok(kept(items, both).includes(item))
    }),
  )
})

test('rules that say nothing keep everything, and zeros say nothing', () => {
  const items: Dated[] = [{ time: '2020-01-01T00:00:00Z', tags: [] }]
  const none = { years: 0, months: 0, days: 0, hours: 0 }
  for (const keep of [
    { count: {}, within: {}, tags: [] },
    { count: { last: 0, daily: 0 }, within: { any: none, weekly: none }, tags: [] },
  ])
    assert.deepEqual(kept(items, keep), items)
})

test('an entry that a clock gone wrong has put into the future does not make all others old', () => {
  const future: Dated = { time: '2099-01-01T00:00:00Z', tags: [] }
  const today: Dated = { time: '2026-11-20T10:00:00Z', tags: [] }
  const lastWeek: Dated = { time: '2026-11-13T10:00:00Z', tags: [] }
  const keep: KeepRules = {
    count: {},
    within: { any: { years: 0, months: 0, days: 2, hours: 0 } },
    tags: [],
  }
  assert.deepEqual(kept([future, today, lastWeek], keep), [future, today])
})

test('every period keeps the newest of each', () => {
  for (const period of periods) {
    const items = [
      { time: '2026-11-20T10:30:00Z', tags: [] },
      { time: '2026-11-20T10:10:00Z', tags: [] },
      { time: '2024-03-01T10:10:00Z', tags: [] },
      { time: '2024-03-01T10:05:00Z', tags: [] },
      { time: '2021-03-01T10:05:00Z', tags: [] },
    ]
    assert.deepEqual(
      kept(items, { count: { [period]: 2 }, within: {}, tags: [] }),
      [items[0], items[2]],
      period,
    )
  }
})
