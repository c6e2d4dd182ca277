import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import { mergeFile } from './merge.ts'
import { mergePackageList } from './merge-package-list.ts'
import { mergeDiversions, mergeLineSet, mergeStatoverride, mergeUnincorporated } from './merge-table.ts'
import type { RawPath } from './raw-path.ts'

test('a set of lines keeps its order, its doubles and its missing last newline', () => {
  const merged = mergeLineSet({
    base: '# c\n/bin/sh\n/bin/k',
    ours: '# c\n/bin/sh\n/bin/k\n/bin/z\n/bin/z',
    theirs: '# c\n/bin/sh',
  })
  assert.deepEqual(merged, { kind: 'merged', text: '# c\n/bin/sh\n/bin/z\n/bin/z' })
})

test('a set that k began goes when nothing later is in it, and stays with what came later', () => {
  assert.deepEqual(mergeLineSet({ base: 'a\nb\n', ours: 'a\n', theirs: undefined }), {
    kind: 'merged',
    text: undefined,
  })
  assert.deepEqual(mergeLineSet({ base: 'a\n', ours: 'a\nb\n', theirs: undefined }), {
    kind: 'merged',
    text: 'b\n',
  })
})

test('a diversion goes as a whole', () => {
  const one = '/bin/a\n/bin/a.real\nk\n'
  const two = '/bin/b\n/bin/b.distrib\n:\n'
  assert.deepEqual(mergeDiversions({ base: one, ours: one + two, theirs: '' }), { kind: 'merged', text: two })
})

test('an override that both set differently for one path is a conflict', () => {
  const line = (mode: string) => `root root ${mode} /usr/bin/a b\n`
  const outcome = mergeStatoverride({ base: line('700'), ours: line('711'), theirs: line('755') })
  assert.deepEqual(outcome, {
    kind: 'conflict',
    reason: 'both-changed',
    keys: ['/usr/bin/a b'],
    partial: line('711'),
  })
})

test('packages that await a trigger are a set', () => {
  const merged = mergeUnincorporated({
    base: 'ldconfig a k\n',
    ours: 'ldconfig a k b\n',
    theirs: 'ldconfig a\n',
  })
  assert.deepEqual(merged, { kind: 'merged', text: 'ldconfig a b\n' })
})

test('the file list of a package belongs to one version: it is reduced, never mixed', () => {
  const sides = { base: '/.\n/etc\n/etc/a\n/bin/a2\n', theirs: '/.\n/etc\n/etc/a\n/bin/a1\n' }
  const removed = mergePackageList({ ...sides, ours: '/.\n/etc\n/etc/a\n' })
  assert.deepEqual(removed, { kind: 'merged', text: '/.\n/etc\n/etc/a\n' })
  assert.equal(mergePackageList({ ...sides, ours: '/.\n/etc\n/etc/a\n/bin/a3\n' }).kind, 'conflict')
  assert.deepEqual(mergePackageList({ ...sides, ours: '/.\n/etc\n', theirs: undefined }), {
    kind: 'merged',
    text: undefined,
  })
})

test('of a set whose last line went later, what k had taken out comes back', () => {
  const path = '/var/lib/systemd/deb-systemd-helper-enabled/x.service.dsh-also'
  const outcome = mergeFile(asRaw(path) as RawPath, {
    base: Buffer.from('b\n'),
    ours: undefined,
    theirs: Buffer.from('a\nb\n'),
  })
  assert.deepEqual(outcome, { kind: 'merged', bytes: Buffer.from('a\n') })
  assert.deepEqual(mergeLineSet({ base: 'b\n', ours: undefined, theirs: 'b\n' }), {
    kind: 'merged',
    text: undefined,
  })
})
