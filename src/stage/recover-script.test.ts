import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { asRaw, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Journal, Step } from './journal.ts'
import { recoverScript } from './recover-script.ts'

// Each is a file with a line of its own name that the commit replaces, or creates, or deletes.
const names = [
  'plain',
  "quo'te",
  '-rf',
  'new\nline',
  '$(touch x)',
  'sp ace ',
  '*',
  'latin\xe9\xff',
  'back\\slash',
  '~',
  '#',
]

for (const kept of ['under its own name', 'under a number'] as const)
  test(`a commit of a system that is mounted elsewhere is ended, and taken back, there; what it kept lies ${kept}`, () => {
    using bench = openBench('COMMITTING', kept)
    assert.deepEqual(bench.run('/bin/sh', bench.root), {
      status: 0,
      said: 'recover.sh: Done: the commit is ended\n',
    })
    assert.equal(bench.state(), 'COMMITTED\n')
    for (const name of names) assert.deepEqual(bench.look(name), ['new', 'new', undefined], name)
    assert.equal(bench.run('/bin/sh', '--backward', bench.root).status, 0)
    assert.equal(bench.state(), 'TAKEN-BACK\n')
    for (const name of names) assert.deepEqual(bench.look(name), ['old', undefined, 'old'], name)
  })

test('what comes or goes in one folder is moved by few calls, and what was done of it by one that was cut off is not done again', () => {
  using bench = openBench('COMMITTING')
  const [first = ''] = names
  renameSync(bench.at(`/etc/gone/${first}`), bench.at(`/var/journal/keep/gone/${first}`))
  renameSync(bench.at(`/var/upper/made/${first}`), bench.at(`/etc/made/${first}`))
  const { status, said } = bench.run('/bin/dash', '-x', bench.root)
  assert.equal(status, 0)
  assert.ok((said.match(/^\++ mv -f/gm) ?? []).length < 10, said)
  for (const name of names) assert.deepEqual(bench.look(name), ['new', 'new', undefined], name)
  assert.equal(bench.run('/bin/busybox', 'sh', '--backward', bench.root).status, 0)
  for (const name of names) assert.deepEqual(bench.look(name), ['old', undefined, 'old'], name)
})

test('of a replaced thing that was changed since by somebody else, the change stays when the commit is taken back', () => {
  using bench = openBench('COMMITTING')
  rmSync(bench.at('/etc/changed/*'))
  writeFileSync(bench.at('/etc/changed/*'), 'mine')
  assert.equal(bench.run('/bin/sh', '--backward', bench.root).status, 0)
  assert.equal(bench.look('*')[0], 'mine')
  assert.equal(bench.look('plain')[0], 'old')
})

test('a thing in the way of one that is to come is named, and stays', () => {
  using bench = openBench('COMMITTING')
  writeFileSync(bench.at('/etc/made/~'), 'mine')
  const { status, said } = bench.run('/bin/sh', bench.root)
  assert.equal(status, 1)
  assert.match(said, /"[^"]*\/etc\/made\/~" is there already/)
  assert.equal(bench.look('~')[1], 'mine')
  assert.equal(bench.look('plain')[1], 'new')
})

test('a commit that was being taken back is taken back, and not ended any more', () => {
  using bench = openBench('TAKING-BACK')
  assert.equal(bench.run('/bin/sh', '--forward', bench.root).status, 2)
  assert.equal(bench.run('/bin/dash', bench.root).status, 0)
  assert.equal(bench.state(), 'TAKEN-BACK\n')
  for (const name of names) assert.deepEqual(bench.look(name), ['old', undefined, 'old'], name)
})

for (const { state, args, status } of [
  { state: 'PREPARED', args: [], status: 0 },
  { state: 'PREPARED', args: ['--forward'], status: 2 },
  { state: 'TAKEN-BACK', args: [], status: 0 },
  { state: 'COMMITTED', args: [], status: 0 },
  { state: 'FORGOTTEN', args: ['--backward'], status: 2 },
  { state: 'SOMETHING', args: [], status: 2 },
  { state: 'COMMITTING', args: ['--help'], status: 2 },
])
  test(`recover.sh ${args.join(' ')} changes nothing in the state ${state}, and exits with ${status}`, () => {
    using bench = openBench(state)
    assert.equal(bench.run('/bin/sh', ...args, bench.root).status, status)
    assert.equal(bench.state(), `${state}\n`)
    for (const name of names) assert.deepEqual(bench.look(name), ['old', undefined, 'old'], name)
  })

test('a step that fails is named, and the next run goes on', () => {
  using bench = openBench('COMMITTING')
  const [, kept] = bench.placesOf('plain')
  const lost = `${kept.toString('latin1')}.lost`
  renameSync(kept, lost)
  const { status, said } = bench.run('/bin/sh', bench.root)
  assert.equal(status, 1)
  assert.match(said, /Cannot go on at ".*\/etc\/changed\/plain"/)
  assert.equal(bench.state(), 'COMMITTING\n')
  renameSync(lost, kept)
  assert.equal(bench.run('/bin/sh', bench.root).status, 0)
  assert.deepEqual(bench.look('plain'), ['new', 'new', undefined])
})

/** Of a system whose root is `/` in the journal, and lies in a folder here. */
function openBench(state: string, keeps: 'under its own name' | 'under a number' = 'under its own name') {
  const root = mkdtempSync(join(tmpdir(), 'vml-script-'))
  const folder = join(root, 'var/journal')
  for (const made of [
    'etc/changed',
    'etc/made',
    'etc/gone',
    'var/upper/changed',
    'var/upper/made',
    'var/journal/keep/changed',
    'var/journal/keep/gone',
  ])
    mkdirSync(join(root, made), { recursive: true })
  const at = (path: string) => Buffer.from(`${root}${path}`, 'latin1')
  const keptOf = (folder: 'changed' | 'gone', name: string) =>
    keeps === 'under a number'
      ? `/var/journal/keep/${folder}-${names.indexOf(name)}`
      : `/var/journal/keep/${folder}/${name}`
  const steps = names.flatMap((name): Step[] => {
    const kept = keptOf('changed', name)
    for (const path of [`/etc/changed/${name}`, `/etc/gone/${name}`, kept]) writeFileSync(at(path), 'old')
    for (const path of [`/var/upper/changed/${name}`, `/var/upper/made/${name}`])
      writeFileSync(at(path), 'new')
    // As a commit leaves it: the old thing has its second name.
    rmSync(at(`/etc/changed/${name}`))
    linkSync(at(kept), at(`/etc/changed/${name}`))
    return [
      {
        kind: 'replace',
        path: pathOf(`/etc/changed/${name}`),
        made: raw(`/var/upper/changed/${name}`),
        kept: raw(kept),
      },
      { kind: 'create', path: pathOf(`/etc/made/${name}`), made: raw(`/var/upper/made/${name}`) },
      { kind: 'delete', path: pathOf(`/etc/gone/${name}`), kept: raw(keptOf('gone', name)) },
    ]
  })
  const journal: Journal = {
    root: raw('/'),
    folder: raw('/var/journal'),
    keeps: [{ folder: raw('/var/journal/keep'), made: [], aboveMtimeNs: 0n }],
    steps,
    times: [{ path: pathOf('/etc/made'), beforeNs: 1n, afterNs: -1_500_000_000n }],
  }
  writeFileSync(join(folder, 'recover.sh'), recoverScript(journal))
  writeFileSync(join(folder, 'state'), `${state}\n`)
  for (const next of ['COMMITTING', 'COMMITTED', 'TAKING-BACK', 'TAKEN-BACK'])
    if (next !== state) writeFileSync(join(folder, `state.${next}`), `${next}\n`)
  const read = (path: string) => (existsSync(at(path)) ? readFileSync(at(path), 'latin1') : undefined)
  return {
    root,
    at,
    state: () => readFileSync(join(folder, 'state'), 'utf8'),
    placesOf: (name: string) => [at(`/etc/changed/${name}`), at(keptOf('changed', name))] as const,
    /** What is changed, made and gone. */
    look: (name: string) => [
      read(`/etc/changed/${name}`),
      read(`/etc/made/${name}`),
      read(`/etc/gone/${name}`),
    ],
    /** Words before those of the script are the shell's own. */
    run(shell: string, ...args: readonly string[]) {
      const own: readonly string[] = args.filter((word) => word === '-x' || word === 'sh')
      const words = args.filter((word) => !own.includes(word))
      const { status, stderr } = spawnSync(shell, [...own, join(folder, 'recover.sh'), ...words], {
        encoding: 'utf8',
      })
      return { status, said: stderr }
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true }),
  }
}

function raw(text: string): RawText {
  return asRaw(text)
}

function pathOf(text: string): RawPath {
  const path = parseRawPath(asRaw(text))
  assert.ok(path)
  return path
}
