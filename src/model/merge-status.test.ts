import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mergePackageTable, mergeStatus } from './merge-status.ts'

const installed = (name: string, version: string, more = '') =>
  `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\n${more}Version: ${version}\nDepends: libc6\nConffiles:\n /etc/${name} ${version}00\nDescription: x\n y\n .\n z\n\n`

test('a package that k installed goes, one that came later stays, and one that k removed is back in its place', () => {
  const before = installed('a', '1') + installed('c', '1')
  const after = installed('b', '1') + installed('c', '1')
  const now = installed('b', '1') + installed('c', '1') + installed('d', '1')
  const merged = mergeStatus({ base: after, ours: now, theirs: before })
  assert.deepEqual(merged, { kind: 'merged', text: before + installed('d', '1') })
})

test('a package that is held since keeps the hold at the version that it had before', () => {
  const held = installed('a', '2').replace('install ok', 'hold ok')
  const merged = mergeStatus({ base: installed('a', '2'), ours: held, theirs: installed('a', '1') })
  assert.deepEqual(merged, { kind: 'merged', text: installed('a', '1').replace('install ok', 'hold ok') })
})

test('a package that both moved is named and stays as it is now', () => {
  const rest = installed('b', '1')
  const merged = mergeStatus({
    base: installed('a', '2') + rest,
    ours: installed('a', '3') + rest,
    theirs: installed('a', '1'),
  })
  assert.deepEqual(merged, {
    kind: 'conflict',
    reason: 'both-changed',
    keys: ['a amd64'],
    partial: installed('a', '3'),
  })
  const gone = mergeStatus({ base: installed('a', '2'), ours: installed('a', '3'), theirs: '' })
  assert.equal(gone.kind, 'conflict')
})

const left = (version: string, more = '') =>
  `Package: a\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: ${version}\n${more}Conffiles:\n /etc/a ${version}00\n\n`

test('configuration files that a later removal left are those of the version before k', () => {
  const merged = mergeStatus({ base: installed('a', '2'), ours: left('2'), theirs: installed('a', '1') })
  assert.deepEqual(merged, { kind: 'merged', text: left('1') })
  const mirrored = mergeStatus({
    base: installed('a', '2'),
    ours: left('2', 'Config-Version: 2\n'),
    theirs: installed('a', '1'),
  })
  assert.deepEqual(mirrored, { kind: 'merged', text: left('1', 'Config-Version: 1\n') })
})

test('nothing is left of a package that k installed and somebody removed without its configuration', () => {
  const merged = mergeStatus({ base: installed('a', '2'), ours: left('2'), theirs: '' })
  assert.deepEqual(merged, { kind: 'merged', text: '' })
})

test('a package that k installed goes although it was held later', () => {
  const held = installed('a', '2').replace('install ok', 'hold ok')
  assert.notEqual(held, installed('a', '2'))
  const merged = mergeStatus({ base: installed('a', '2'), ours: held, theirs: '' })
  assert.deepEqual(merged, { kind: 'merged', text: '' })
})

test('a package does not come back beside another one of its name that came later', () => {
  const other = installed('a', '2').replace('amd64', 'all')
  const outcome = mergeStatus({ base: '', ours: other, theirs: installed('a', '1') + installed('b', '1') })
  assert.deepEqual(outcome, {
    kind: 'conflict',
    reason: 'not-together',
    keys: ['a'],
    partial: other + installed('b', '1'),
  })
  const same = (version: string, architecture: string) =>
    installed('a', version, 'Multi-Arch: same\n').replace('amd64', architecture)
  const base = same('2', 'amd64')
  const now = base + same('2', 'i386')
  assert.equal(mergeStatus({ base, ours: now, theirs: same('1', 'amd64') }).kind, 'conflict')
  const both = mergeStatus({ base: '', ours: same('1', 'i386'), theirs: same('1', 'amd64') })
  assert.deepEqual(both, { kind: 'merged', text: same('1', 'amd64') + same('1', 'i386') })
})

test('stanzas of apt keep the order in which apt wrote them', () => {
  const state = (name: string) => `Package: ${name}\nArchitecture: amd64\nAuto-Installed: 1\n\n`
  const [x, a, m, b] = ['x', 'a', 'm', 'b'].map(state)
  const merged = mergePackageTable({ base: `${x}${a}`, ours: `${x}${a}${b}`, theirs: `${x}${m}${a}` })
  assert.deepEqual(merged, { kind: 'merged', text: `${x}${m}${a}${b}` })
  const manual = mergePackageTable({ base: x, ours: x?.replace('1', '0'), theirs: '' })
  assert.equal(manual.kind, 'conflict')
})
