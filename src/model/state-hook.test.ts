import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isMisfit } from './field-check.ts'
import { changesForm, dataOf, parseStateHook, type StateHook } from './state-hook.ts'

const fields = { package: 'base-*', data: ['/var/lib/base/*'], export: 'dump', import: 'load' }

function hookOf(more: Readonly<Record<string, unknown>> = {}): StateHook {
  const hook = parseStateHook('base', { ...fields, ...more })
  assert.ok(hook !== undefined && !isMisfit(hook))
  return hook
}

test('a * in the data stands for what that of the package stands for', () => {
  assert.deepEqual(dataOf(hookOf(), 'base-15'), ['/var/lib/base/15'])
  assert.deepEqual(dataOf(hookOf({ package: '*-base' }), 'new-base'), ['/var/lib/base/new'])
  for (const name of ['base', 'bas-15', 'base-..', 'base-.', 'a-base-15'])
    assert.equal(dataOf(hookOf(), name), undefined)
  const plain = hookOf({ package: 'base', data: ['/srv/base'] })
  assert.deepEqual(dataOf(plain, 'base'), ['/srv/base'])
  assert.equal(dataOf(plain, 'base-15'), undefined)
})

test('data of a package never lies outside of the folder that the hook names', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9+.-]{1,20}$/), (star) => {
      const data = dataOf(hookOf(), `base-${star}`)
      assert.ok(data === undefined || new URL(`file://${data[0]}`).pathname === `/var/lib/base/${star}`)
    }),
  )
})

test('the form of data is what the expression finds in a version, or each version has its own', () => {
  assert.ok(changesForm(hookOf(), '1-1', '1-2'))
  const major = hookOf({ format: '^(?:\\d+:)?(\\d+\\.\\d+)' })
  assert.ok(!changesForm(major, '1:10.11.6-0', '1:10.11.3-1'))
  assert.ok(changesForm(major, '1:11.4.2-1', '1:10.11.3-1'))
  assert.ok(changesForm(major, 'unknown', 'other'))
})

test('a hook with a field that is missing, wrong or unknown is none', () => {
  for (const [field, value] of [
    ['package', 'a*b*'],
    ['package', '../x'],
    ['data', []],
    ['data', ['/']],
    ['data', ['/var/../etc']],
    ['data', ['/var/lib/a b']],
    ['data', ['var/lib']],
    ['export', ''],
    ['export', ' '],
    ['import', 'a\0b'],
    ['format', '('],
    ['service', 'paused'],
    ['export_seconds', 0],
    ['import_seconds', 1e9],
    ['units', ['a b.service']],
    ['exportt', 'x'],
  ] as const) {
    const hook = parseStateHook('base', { ...fields, [field]: value })
    assert.ok(isMisfit(hook), `${field} ${JSON.stringify(value)}`)
    assert.equal(hook.path[0], field)
  }
  assert.ok(isMisfit(parseStateHook('base', { ...fields, package: 'base' })))
  for (const field of Object.keys(fields)) {
    const { [field as keyof typeof fields]: _, ...others } = fields
    assert.ok(isMisfit(parseStateHook('base', others)))
  }
  assert.equal(parseStateHook('base', { ...fields, enabled: false }), undefined)
})

test('what a person is told to type has the names of both packages', () => {
  const { byHand } = hookOf({ by_hand: 'move {from} {to} {from}' })
  assert.equal(byHand?.({ from: 'base-17', to: 'base-15' }), 'move 17 15 17')
  assert.equal(hookOf().byHand, undefined)
})
