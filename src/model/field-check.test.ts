import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import {
  byName,
  type Check,
  count,
  flag,
  isMisfit,
  listOf,
  objectOf,
  oneOf,
  optional,
  suchThat,
  textOf,
  convert,
} from './field-check.ts'

const person = objectOf({
  name: suchThat(textOf({ charactersMax: 8 }), (name) => name !== 'root', 'a name that is taken'),
  level: oneOf(1, 2),
  age: optional(count),
  tags: listOf(textOf({ pattern: /^[a-z]+$/ }), 3),
  isAway: flag,
  notes: byName(textOf({}), { namesMax: 2, nameCharactersMax: 4 }),
})
const ann = { name: 'ann', level: 2, tags: ['a', 'b'], isAway: false, notes: { x: 'y' } }

function problemAt(check: Check<unknown>, value: unknown): string | undefined {
  const read = check(value)
  return isMisfit(read) ? read.path.join('.') : undefined
}

test('what fits comes back with the fields that were asked for, and no others', () => {
  assert.deepEqual(person(ann), ann)
  assert.deepEqual(person({ ...ann, age: 7, later: 1 }), { ...ann, age: 7 })
  assert.deepEqual(convert(count, (value) => value * 2)(21), 42)
})

test('the first thing that does not fit is named by its place', () => {
  const wrong: readonly [string, unknown][] = [
    ['', undefined],
    ['', null],
    ['', []],
    ['', 'ann'],
    ['name', { ...ann, name: 'root' }],
    ['name', { ...ann, name: 'too long a name' }],
    ['name', { level: 2 }],
    ['level', { ...ann, level: '2' }],
    ['age', { ...ann, age: undefined }],
    ['age', { ...ann, age: -1 }],
    ['age', { ...ann, age: 0.5 }],
    ['age', { ...ann, age: 2 ** 53 }],
    ['age', { ...ann, age: Number.NaN }],
    ['tags', { ...ann, tags: { length: 0 } }],
    ['tags', { ...ann, tags: ['a', 'b', 'c', 'd'] }],
    ['tags.1', { ...ann, tags: ['a', 'B', 3] }],
    ['isAway', { ...ann, isAway: 0 }],
    ['notes', { ...ann, notes: { a: '', b: '', c: '' } }],
    ['notes.a', { ...ann, notes: { a: 1 } }],
    ['notes.long name', { ...ann, notes: { 'long name': '' } }],
  ]
  for (const [place, value] of wrong) assert.equal(problemAt(person, value), place)
})

test('what an object inherits is no field of it, and no name changes what an object inherits', () => {
  assert.equal(problemAt(person, Object.create(ann)), 'name')
  const notes = JSON.parse('{"__proto__":"x","a":"b"}') as unknown
  const read = byName(textOf({}), { namesMax: 9, nameCharactersMax: 99 })(notes)
  assert.ok(!isMisfit(read))
  assert.deepEqual(Object.entries(read), [['a', 'b']])
  assert.equal(Object.getPrototypeOf(read), Object.prototype)
  assert.equal(problemAt(objectOf({ toString: textOf({}) }), {}), 'toString')
})

test('whatever JSON holds is taken or refused, never a failure', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      for (const given of [value, { ...ann, ...Object(value) }, { ...ann, tags: value, notes: value }]) {
        const read = person(given)
        if (!isMisfit(read)) assert.deepEqual(person(read), read)
      }
    }),
  )
})
