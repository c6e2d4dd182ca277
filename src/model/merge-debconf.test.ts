import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mergeDebconf } from './merge-debconf.ts'

const question = (owners: string, more = '') => `Name: x/y\nTemplate: x/y\n${more}Owners: ${owners}\n\n`

test('a question that k brought and a later package owns too stays with the later owner', () => {
  const sides = { base: question('a'), ours: question('a, b'), theirs: '' }
  assert.deepEqual(mergeDebconf(sides), { kind: 'merged', text: question('b') })
})

test('owners and flags are sets: k owner goes, the one before comes back, the later one stays', () => {
  const [base, ours, theirs] = [
    question('b', 'Flags: seen\n'),
    question('b, c', 'Flags: seen, x\n'),
    question('a'),
  ]
  assert.deepEqual(mergeDebconf({ base, ours, theirs }), {
    kind: 'merged',
    text: question('a, c', 'Flags: x\n'),
  })
})

test('variables merge one by one, and one that both set is a conflict', () => {
  const variables = (...lines: string[]) =>
    question('a', `Variables:\n${lines.map((line) => ` ${line}\n`).join('')}`)
  const base = variables('one = 1', 'two = 1')
  const ours = variables('one = 1', 'two = 2')
  const theirs = variables('one = 0', 'two = 1')
  assert.deepEqual(mergeDebconf({ base, ours, theirs }), {
    kind: 'merged',
    text: variables('one = 0', 'two = 2'),
  })
  assert.equal(mergeDebconf({ base, ours, theirs: variables('one = 1', 'two = 0') }).kind, 'conflict')
})

test('an answer that somebody gave later to a question of k is not thrown away in silence', () => {
  const outcome = mergeDebconf({ base: question('a'), ours: question('a', 'Value: mine\n'), theirs: '' })
  assert.deepEqual(outcome, {
    kind: 'conflict',
    reason: 'both-changed',
    keys: ['x/y'],
    partial: question('a', 'Value: mine\n'),
  })
})
