// What is said where two computers use one name for themselves.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Reporter } from '../base/progress.ts'
import type { SaveBase } from './save.ts'
import { warnOfForeignHost, warnOfOtherHost } from './other-host.ts'

/** Only what is asked. */
function said(before: string | undefined, now: string | undefined): string[] {
  const warnings: string[] = []
  const reporter: Reporter = { progress: () => {}, warn: ({ warning }) => warnings.push(warning) }
  const open = { machine: { name: 'here' }, facts: { hostname: now } } as Parameters<
    typeof warnOfOtherHost
  >[1]
  const base = { entry: { number: 7 }, document: { facts: { hostname: before } } } as unknown as SaveBase
  warnOfOtherHost(base, open, reporter)
  warnOfForeignHost(base, open, reporter)
  return warnings
}

test('a save and a restore name both hosts where the entry was taken on another one', () => {
  const warnings = said('comp-a', 'comp-b')
  assert.equal(warnings.length, 2)
  for (const warning of warnings)
    for (const word of ['#7', 'comp-a', 'comp-b', 'here']) assert.ok(warning.includes(word))
})

test('nothing is said of one host, nor where a host does not tell its name', () => {
  for (const [before, now] of [
    ['comp-a', 'comp-a'],
    [undefined, 'comp-a'],
    ['comp-a', undefined],
    [undefined, undefined],
  ])
    assert.deepEqual(said(before, now), [])
})
