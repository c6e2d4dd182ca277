import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import { openIdSet } from './id-set.ts'

test('holds what was added and nothing else, while it grows', () => {
  const ids = openIdSet()
  const known = Array.from({ length: 5000 }, (_, at) => hash('sha256', `known ${at}`))
  for (const id of known) assert.ok(ids.add(id))
  for (const id of known) assert.ok(!ids.add(id) && ids.has(id))
  assert.equal(ids.size, known.length)
  for (let at = 0; at < 5000; at++) assert.ok(!ids.has(hash('sha256', `other ${at}`)))
})

test('an id of zeros is one like any other', () => {
  const ids = openIdSet()
  assert.ok(!ids.has('0'.repeat(64)))
  assert.ok(ids.add('0'.repeat(64)) && !ids.add('0'.repeat(64)) && ids.has('0'.repeat(64)))
})
