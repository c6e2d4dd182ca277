// Policies and the texts that they are written in.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { dueAtMs, emptyPolicy, parsePolicy, type Policy, policyFor, policySettings } from './policy.ts'
import { periods } from './retention.ts'
import { formatBudget, formatEvery, formatSpan, parseBudget, parseEvery, parseSpan } from './span.ts'

const plain = { noNullPrototype: true }
const spanArbitrary = fc.record(
  { years: fc.nat(9999), months: fc.nat(999_999), days: fc.nat(999_999), hours: fc.nat(999_999) },
  plain,
)
const countArbitrary = fc.oneof(fc.nat(999_999), fc.constant('all' as const))
const textArbitrary = fc.string({ minLength: 1, unit: 'grapheme' })
const tagArbitrary = textArbitrary.map((text) => text.replaceAll(',', '') || 'tag')
const policyArbitrary: fc.Arbitrary<Policy> = fc
  .record({
    everyMs: fc.option(
      fc.integer({ min: 1, max: 100_000 }).map((minutes) => minutes * 60_000),
      { nil: undefined },
    ),
    keep: fc.record(
      {
        count: fc.record(Object.fromEntries(['last', ...periods].map((name) => [name, countArbitrary])), {
          requiredKeys: [],
          ...plain,
        }),
        within: fc.record(Object.fromEntries(['any', ...periods].map((name) => [name, spanArbitrary])), {
          requiredKeys: [],
          ...plain,
        }),
        tags: fc.array(fc.array(tagArbitrary, { minLength: 1 })),
      },
      plain,
    ),
    keepSafety: spanArbitrary,
    budget: fc.option(
      fc.oneof(
        fc.integer({ min: 1, max: 1000 }).map((tenths) => ({ kind: 'share' as const, percent: tenths / 10 })),
        fc.integer({ min: 1, max: 2 ** 49 }).map((bytes) => ({ kind: 'bytes' as const, bytes })),
      ),
      { nil: undefined },
    ),
    include: fc.array(textArbitrary),
    exclude: fc.array(textArbitrary),
    only: fc.array(textArbitrary),
    cache: fc.array(textArbitrary),
  })
  .map(({ everyMs, budget, ...rest }) => ({
    ...emptyPolicy('lab', 'thesis'),
    ...rest,
    ...(everyMs === undefined ? {} : { everyMs }),
    ...(budget === undefined ? {} : { budget }),
  }))

test('what a policy says reads back as it was', () => {
  fc.assert(
    fc.property(policyArbitrary, (policy) => {
      assert.deepEqual(parsePolicy(policy, policySettings(policy)), { policy })
    }),
  )
})

test('spans, sizes and times read back as they are written', () => {
  fc.assert(
    fc.property(
      spanArbitrary,
      fc.integer({ min: 1, max: 2 ** 49 }),
      fc.nat(100_000),
      (span, bytes, minutes) => {
        assert.deepEqual(parseSpan(formatSpan(span)), span)
        assert.deepEqual(parseBudget(formatBudget({ kind: 'bytes', bytes })), { kind: 'bytes', bytes })
        const ms = (minutes + 1) * 60_000
        assert.equal(parseEvery(formatEvery(ms)), ms)
      },
    ),
  )
})

test('sizes are taken as people write them, and nothing that could mean two things', () => {
  assert.deepEqual(parseBudget('20GiB'), { kind: 'bytes', bytes: 20 * 2 ** 30 })
  assert.deepEqual(parseBudget('20G'), { kind: 'bytes', bytes: 20 * 2 ** 30 })
  assert.deepEqual(parseBudget('20GB'), { kind: 'bytes', bytes: 20e9 })
  assert.deepEqual(parseBudget('8.5%'), { kind: 'share', percent: 8.5 })
  for (const wrong of ['', '0', '0%', '101%', '-1G', '8 %%', '1e9', 'G', '20X'])
    assert.equal(parseBudget(wrong), undefined)
  for (const wrong of ['', '30', 'd', '1d1d', '-1d', '1w', '1.5d', '12345678d', '1d ', '99999y'])
    assert.equal(parseSpan(wrong), undefined, wrong)
  for (const wrong of ['', '0h', '1', '1y', '1s', '-1h', '999999w'])
    assert.equal(parseEvery(wrong), undefined, wrong)
})

test('no text makes reading a policy fail in another way than by naming what is wrong', () => {
  const names = ['every', 'keep_last', 'keep_within', 'keep_tag', 'keep_safety', 'budget', 'include', 'other']
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom(...names), fc.oneof(fc.string(), fc.array(fc.string()))),
      (settings) => {
        const parsed = parsePolicy({ machine: 'lab' }, new Map(Object.entries(settings)))
        assert.ok('policy' in parsed || names.includes(parsed.wrong))
      },
    ),
  )
})

test('an entry follows the policy of its project, else that of its machine', () => {
  const [lab, thesis, web] = [
    emptyPolicy('lab', undefined),
    emptyPolicy('lab', 'thesis'),
    emptyPolicy('web', 'thesis'),
  ]
  const all = [thesis, web, lab]
  assert.equal(policyFor(all, { machine: 'lab', project: 'thesis' }), thesis)
  assert.equal(policyFor(all, { machine: 'lab', project: 'other' }), lab)
  assert.equal(policyFor(all, { machine: 'lab' }), lab)
  assert.equal(policyFor(all, { machine: 'web' }), undefined)
  assert.equal(policyFor(all, { machine: 'thesis' }), undefined)
})

test('a save that was never made is due, one that was missed is due once, and a timer may tick a little early', () => {
  const hourMs = 3_600_000
  assert.equal(dueAtMs({}, 0), undefined)
  assert.equal(dueAtMs({ everyMs: hourMs }, undefined), 0)
  const due = dueAtMs({ everyMs: hourMs }, 10 * hourMs) ?? 0
  assert.ok(due <= 11 * hourMs && due > 10.9 * hourMs)
})
