import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { mergeFile } from './merge.ts'
import { mergeSections } from './merge-sections.ts'
import { parseRawPath, rootPath } from './raw-path.ts'

test('neighbouring keys of a unit merge by key, where the lines alone are a conflict', () => {
  const unit = (restart: string, limit: string) =>
    `[Service]\nRestart=${restart}\nLimitNOFILE=${limit}\n\n[Install]\nWantedBy=x\n`
  const sides = { base: unit('always', '1'), ours: unit('always', '2'), theirs: unit('no', '1') }
  assert.deepEqual(mergeSections(sides), { kind: 'merged', text: unit('no', '2') })
})

test('what dnf5 notes of packages merges package by package', () => {
  const path = parseRawPath(rawFromString('/usr/lib/sysimage/libdnf5/nevras.toml')) ?? rootPath
  const notes = (...packages: string[]) =>
    Buffer.from(
      `version = "1.0"\n\n[nevras]\n${packages.map((name) => `"${name}.noarch" = {from_repo = "test"}\n`).join('')}`,
    )
  const sides = { base: notes('a-2-1'), ours: notes('a-2-1', 'b-1-1'), theirs: notes('a-1-1') }
  assert.deepEqual(mergeFile(path, sides), { kind: 'merged', bytes: notes('a-1-1', 'b-1-1') })
})

test('a key that both set is named with its section, and the others are taken back', () => {
  const file = (a: string, b: string) => `[x]\na = ${a}\nb=${b}\n`
  const sides = { base: file('1', '1'), ours: file('1', '2'), theirs: file('0', '0') }
  assert.deepEqual(mergeSections(sides), {
    kind: 'conflict',
    reason: 'both-changed',
    keys: ['[x] b'],
    partial: file('0', '2'),
  })
})

test('a key that is there more than once stays as a whole with whoever changed it', () => {
  const unit = (...starts: string[]) =>
    `[Service]\n${starts.map((start) => `ExecStart=${start}\n`).join('')}User=x\n`
  const one = mergeSections({
    base: unit('', '/k'),
    ours: unit('', '/k').replace('User=x', 'User=y'),
    theirs: unit('/old'),
  })
  assert.deepEqual(one, { kind: 'merged', text: unit('/old').replace('User=x', 'User=y') })
  const both = mergeSections({ base: unit('', '/k'), ours: unit('', '/k', '/mine'), theirs: unit('/old') })
  assert.ok(both.kind === 'conflict')
  assert.deepEqual(both.keys, ['[Service] ExecStart'])
})

test('what is no such file, and sections of one name, are conflicts', () => {
  const differing = (text: string) => ({ base: text, ours: `${text}a=2\n`, theirs: `${text}b=1\n` })
  assert.equal(mergeSections(differing('if true; then\n')).kind, 'conflict')
  assert.equal(mergeSections(differing('[Peer]\na=1\n[Peer]\n')).kind, 'conflict')
  assert.equal(mergeSections(differing('key: value\n')).kind, 'conflict')
  assert.equal(mergeSections(differing('[Peer]\n')).kind, 'merged')
})

test('a key never lands in another section because its own is gone', () => {
  const sides = {
    base: '[a]\nx=1\n[b]\ny=1\n',
    ours: '[a]\nx=1\n',
    theirs: '[a]\nx=1\n[b]\ny=1\nz=1\n',
  }
  assert.equal(mergeSections(sides).kind, 'conflict')
})

test('continued lines belong to their key', () => {
  const file = (a: string, b: string) => `[x]\na=${a} \\\n  more ${a}\nb=${b}\n\tand ${b}\n`
  const sides = { base: file('1', '1'), ours: file('1', '2'), theirs: file('0', '1') }
  assert.deepEqual(mergeSections(sides), { kind: 'merged', text: file('0', '2') })
})

test('settings of a shell, without sections, merge by name', () => {
  const file = (a: string, b: string) => Buffer.from(`# settings\nA="${a}"\nB='${b}'\n`)
  const sides = { base: file('1', '1'), ours: file('1', '2'), theirs: file('0', '1') }
  // Below /etc, lines come first; these touch each other.
  const path = `${rootPath}etc/default/x` as typeof rootPath
  assert.deepEqual(mergeFile(path, sides), { kind: 'merged', bytes: file('0', '2') })
})

test('without headers, a key that comes again may begin a block: that is a conflict', () => {
  const hotspot = 'interface=wlan0\nssid=home\nwpa=2\n'
  const guests = `${hotspot}bss=wlan1\nssid=guests\n`
  const sides = { base: guests, ours: `${guests}ignore_broadcast_ssid=1\n`, theirs: hotspot }
  assert.equal(mergeSections(sides).kind, 'conflict')
  // Where nobody changed those that come again, the others are told by their names.
  const file = (a: string, b: string) => `server=1\nserver=2\na=${a}\nb=${b}\n`
  assert.deepEqual(mergeSections({ base: file('1', '1'), ours: file('1', '2'), theirs: file('0', '1') }), {
    kind: 'merged',
    text: file('0', '2'),
  })
})
