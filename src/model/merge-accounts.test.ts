import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accountFiles, mergeAccounts, type AccountFile } from './merge-accounts.ts'

const file = (name: string): AccountFile => accountFiles[name] ?? { lists: [] }
const passwd = mergeAccounts(file('passwd'))
const root = 'root:x:0:0:root:/root:/bin/bash\n'

test('a later user keeps the number that k pushed it to', () => {
  const base = `${root}postgres:x:101:101::/:/bin/sh\n`
  const ours = `${base}bob:x:102:102::/:/bin/sh\n`
  assert.deepEqual(passwd({ base, ours, theirs: root }), {
    kind: 'merged',
    text: `${root}bob:x:102:102::/:/bin/sh\n`,
  })
})

test('a user whom k removed does not come back beside another one of the same number', () => {
  const ours = `${root}bob:x:101:101::/:/bin/sh\n`
  const theirs = `${root}postgres:x:101:101::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n`
  assert.deepEqual(passwd({ base: root, ours, theirs }), {
    kind: 'conflict',
    reason: 'number-taken',
    keys: ['postgres'],
    partial: `${root}web:x:33:33::/:/bin/sh\nbob:x:101:101::/:/bin/sh\n`,
  })
  const subuid = mergeAccounts(file('subuid'))
  const overlapping = subuid({ base: '', ours: 'bob:150000:65536\n', theirs: 'amy:100000:65536\n' })
  assert.deepEqual(overlapping, {
    kind: 'conflict',
    reason: 'number-taken',
    keys: ['amy'],
    partial: 'bob:150000:65536\n',
  })
})

test('fields of one user merge by themselves, and one that both changed is a conflict', () => {
  const line = (name: string, shell: string) => `bob:x:7:7:${name}:/home/bob:${shell}\n`
  const sides = { base: line('', '/bin/zsh'), ours: line('Bob', '/bin/zsh'), theirs: line('', '/bin/sh') }
  assert.deepEqual(passwd(sides), { kind: 'merged', text: line('Bob', '/bin/sh') })
  const outcome = passwd({ ...sides, ours: line('', '/bin/fish') })
  assert.deepEqual(outcome, {
    kind: 'conflict',
    reason: 'both-changed',
    keys: ['bob'],
    partial: line('', '/bin/fish'),
  })
})

test('members are sets: those of k go, later ones stay', () => {
  const group = mergeAccounts(file('group'))
  const merged = group({ base: 'mail:x:8:a,k\n', ours: 'mail:x:8:a,k,bob\n', theirs: 'mail:x:8:gone,a\n' })
  assert.deepEqual(merged, { kind: 'merged', text: 'mail:x:8:gone,a,bob\n' })
  const gshadow = mergeAccounts(file('gshadow'))
  const both = gshadow({ base: 'mail:!:k:k\n', ours: 'mail:!:k,x:k,y\n', theirs: 'mail:!::\n' })
  assert.deepEqual(both, { kind: 'merged', text: 'mail:!:x:y\n' })
})

test('a group of k that somebody joined later is not taken away', () => {
  const group = mergeAccounts(file('group'))
  const outcome = group({
    base: 'root:x:0:\npg:x:9:\n',
    ours: 'root:x:0:\npg:x:9:bob\n',
    theirs: 'root:x:0:\n',
  })
  assert.equal(outcome.kind, 'conflict')
})

test('lines of NIS, comments and broken lines stay where they are', () => {
  const odd = '+::::::\n#note\nbroken\n'
  const base = `${root}k:x:5:5::/:\n${odd}`
  const ours = `${base}bob:x:6:6::/:\n`
  assert.deepEqual(passwd({ base, ours, theirs: `${root}${odd}` }), {
    kind: 'merged',
    text: `${root}${odd}bob:x:6:6::/:\n`,
  })
})
