// What is left out of a change, and what makes none.
import assert from 'node:assert/strict'
import test from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { isMereWriting, isNothingMeant, isTimeOnly } from './mere-writing.ts'
import type { RawPath } from './raw-path.ts'
import type { Fingerprint, PathChange } from './transaction.ts'

const file: Fingerprint = {
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeNs: 1n,
  size: 3,
  sha256: 'a'.repeat(64),
}
const later: Fingerprint = { ...file, mtimeNs: 2n }

function change(path: string, before: Fingerprint | undefined, after: Fingerprint | undefined): PathChange {
  return {
    path: rawFromString(path) as RawPath,
    ...(before ? { before } : {}),
    ...(after ? { after } : {}),
  }
}

test('the time alone of a lock or of a book that dpkg writes anew is no part of a change', () => {
  for (const path of [
    '/var/lib/dpkg/lock',
    '/var/lib/dpkg/triggers/Lock',
    '/var/lib/dpkg/status',
    '/var/lib/apt/extended_states',
  ])
    assert.equal(isMereWriting(change(path, file, later)), true, path)
})

test('the time alone of any other file is a change, since make and others go by it', () => {
  for (const path of [
    '/etc/hosts',
    '/usr/bin/joe',
    '/var/lib/dpkg/info/joe.list',
    '/home/var/lib/dpkg/lock',
  ]) {
    assert.equal(isMereWriting(change(path, file, later)), false, path)
    assert.equal(isTimeOnly(change(path, file, later)), true, path)
    assert.equal(isNothingMeant([change(path, file, later)]), false, path)
  }
})

test('what VML writes of its own code below a home is no part of a change, and what goes with a folder is', () => {
  const code = '/home/joe/.cache/vml/code/v26.10.0-x64-310b2ce3-0/df0f83bf'
  assert.equal(isMereWriting(change(code, undefined, file)), true)
  assert.equal(isMereWriting(change('/root/.cache/vml/code', undefined, { ...file, type: 'dir' })), true)
  assert.equal(isMereWriting(change(code, file, undefined)), false)
  for (const path of ['/root/.cache/vml', '/root/.cache/vml/codes', `/srv/copies${code}`])
    assert.equal(isMereWriting(change(path, undefined, file)), false, path)
})

test('content, rights, owner, attributes, coming and going of a lock or book are a change', () => {
  const status = '/var/lib/dpkg/status'
  for (const after of [
    { ...later, sha256: 'b'.repeat(64) },
    { ...later, mode: 0o600 },
    { ...later, uid: 1 },
    { ...later, xattrs: [{ name: rawFromString('user.a'), value: Buffer.from('b') }] },
    undefined,
  ])
    assert.equal(isMereWriting(change(status, file, after)), false)
  assert.equal(isMereWriting(change(status, undefined, later)), false)
})

test('copies and caches that each run writes make no transaction alone, and are part of one beside others', () => {
  const scratch = [
    change('/var/cache/apt/pkgcache.bin', undefined, file),
    change('/var/lib/dpkg/status-old', file, { ...later, sha256: 'b'.repeat(64) }),
    change('/var/lib/dpkg/updates/tmp.i', undefined, file),
  ]
  assert.equal(isNothingMeant(scratch), true)
  assert.equal(isNothingMeant([]), true)
  assert.equal(isNothingMeant([...scratch, change('/etc/hosts', undefined, file)]), false)
  for (const each of scratch) assert.equal(isMereWriting(each), false)
})

test('a cache that was deleted was meant', () => {
  assert.equal(isNothingMeant([change('/var/cache/apt/pkgcache.bin', file, undefined)]), false)
})
