import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { controlParagraph } from './control-paragraph.ts'
import {
  allowsVersion,
  dependenciesOf,
  formatRelation,
  parseDependencies,
  type Relation,
} from './dependency.ts'

test('alternatives, versions, architectures and build profiles are read', () => {
  assert.deepEqual(
    parseDependencies(
      'libc6 (>= 2.36), python3:any |  python3.11(<<4) ,\n x [!hurd-any !kfreebsd-any] <!nocheck !cross> <stage1>,',
    ),
    [
      [{ name: 'libc6', version: { operator: '>=', version: '2.36' } }],
      [
        { name: 'python3', architecture: 'any' },
        { name: 'python3.11', version: { operator: '<<', version: '4' } },
      ],
      [
        {
          name: 'x',
          on: { except: true, architectures: ['hurd-any', 'kfreebsd-any'] },
          profiles: [['!nocheck', '!cross'], ['stage1']],
        },
      ],
    ],
  )
  assert.deepEqual(parseDependencies(''), [])
  assert.deepEqual(parseDependencies('a (< 1), b (> 1), c (1)').flat().map(formatRelation), [
    'a (<= 1)',
    'b (>= 1)',
    'c (= 1)',
  ])
})

test('every kind of field of a paragraph is told by its name, those of sources too', () => {
  const text =
    'Source: a\nBUILD-DEPENDS: debhelper-compat (= 13),\n gcc [amd64 i386]\nBuild-Conflicts-Indep: z\nBreaks: y\n'
  assert.deepEqual(
    [...dependenciesOf(controlParagraph(text))].map(([field, groups]) => [
      field,
      groups.flat().map(formatRelation),
    ]),
    [
      ['Breaks', ['y']],
      ['Build-Depends', ['debhelper-compat (= 13)', 'gcc [amd64 i386]']],
      ['Build-Conflicts-Indep', ['z']],
    ],
  )
})

test('what is written is read again as it was', () => {
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9+.-]{1,8}$/)
  const word = fc.stringMatching(/^[a-z0-9]{1,6}$/)
  const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
    fc.record<T>(model, { noNullPrototype: true })
  const relation = fc.record(
    {
      name,
      architecture: word,
      version: plain({
        operator: fc.constantFrom('<<', '<=', '=', '>=', '>>' as const),
        version: fc.stringMatching(/^[0-9][0-9a-z.+~-]{0,6}$/),
      }),
      on: plain({ except: fc.boolean(), architectures: fc.array(word, { minLength: 1, maxLength: 3 }) }),
      profiles: fc.array(fc.array(word, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 2 }),
    },
    { requiredKeys: ['name'], noNullPrototype: true },
  )
  fc.assert(
    fc.property(fc.array(fc.array(relation, { minLength: 1, maxLength: 3 })), (groups) => {
      const text = groups
        .map((group) => group.map((one) => formatRelation(one as Relation)).join(' | '))
        .join(', ')
      assert.deepEqual(parseDependencies(text), groups)
    }),
  )
})

test('what is no relation is refused', () => {
  for (const text of [
    'a b',
    'a (',
    'a (>> )',
    'a (=> 1)',
    'a (= 1 2)',
    '| a',
    'a |',
    'a [',
    'a []',
    'a [!x y]',
    '-a',
    'a <x',
    'ä',
  ])
    assert.throws(
      () => parseDependencies(text),
      (error) => isFailure(error, 'integrity.format'),
      text,
    )
})

test('a version is allowed as dpkg orders it, and a provision without one only where none is asked for', () => {
  const [relation] = parseDependencies('a (>= 1.0~rc2)').flat()
  const [any] = parseDependencies('a').flat()
  assert.ok(relation && any)
  assert.equal(allowsVersion(relation, '1.0'), true)
  assert.equal(allowsVersion(relation, '1.0~rc1'), false)
  assert.equal(allowsVersion(relation, undefined), false)
  assert.equal(allowsVersion(any, undefined), true)
  for (const [operator, allowed] of [
    ['<<', [true, false, false]],
    ['<=', [true, true, false]],
    ['=', [false, true, false]],
    ['>=', [false, true, true]],
    ['>>', [false, false, true]],
  ] as const)
    assert.deepEqual(
      ['1', '2', '10'].map((version) =>
        allowsVersion({ name: 'a', version: { operator, version: '2' } }, version),
      ),
      allowed,
    )
})
