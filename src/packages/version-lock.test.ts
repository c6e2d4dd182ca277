import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isLocked } from './version-lock.ts'

const change = { name: 'libtool-c++', architecture: 'x86_64', from: '2:1.5-3', to: '2:1.4-1' }

test('an entry as dnf writes it is about the package of that name, whatever the version', () => {
  for (const entry of ['libtool-c++-2:1.5-3.*', 'libtool-c++-0:9-9.*', 'libtool-*-0:9-9.*'])
    assert.ok(isLocked(entry, change), entry)
  for (const entry of ['libtool-2:1.5-3.*', 'libtool-c++-devel-2:1.5-3.*', 'tool-2:1.5-3.*'])
    assert.ok(!isLocked(entry, change), entry)
})

test('an entry by hand is taken in each form that dnf knows', () => {
  for (const entry of [
    'libtool-c++',
    'libtool-c++.x86_64',
    'libtool-c++-1.5',
    'libtool-c++-1.4-1',
    'libtool-c++-1.5-3.x86_64',
    'libtool*',
    '*-1.?-[13]',
  ])
    assert.ok(isLocked(entry, change), entry)
  for (const entry of ['libtool', 'libtool-c', 'libtool-c++.i686', 'libtool-c++-1.6', 'libtool-c++-1.6-1'])
    assert.ok(!isLocked(entry, change), entry)
})

test('versions that are barred stand against a change that brings them, and against no other', () => {
  assert.ok(isLocked('!libtool-c++-2:1.4-1.*', change))
  assert.ok(!isLocked('!libtool-c++-2:1.5-3.*', change))
  const { to: _, ...removed } = change
  assert.ok(!isLocked('!libtool-c++-2:1.4-1.*', removed))
  assert.ok(isLocked('!libtool-c++-0:2-1.*', { ...change, to: '2-1' }))
})
