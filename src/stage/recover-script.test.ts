import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
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

test('nothing is done while a file system that has something of the commit is not mounted', () => {
  for (const state of ['COMMITTING', 'TAKING-BACK']) {
    using bench = openBench(state)
    const keep = join(bench.root, 'var/journal/keep')
    // All of its steps look as if they were done.
    for (const folder of [keep, join(bench.root, 'var/upper')]) renameSync(folder, `${folder}.away`)
    const { status, said } = bench.run('/bin/sh', bench.root)
    assert.equal(status, 1)
    assert.match(said, /keep" is not there; nothing was changed: mount/)
    assert.equal(bench.state(), `${state}\n`)
  }
})

for (const shell of ['/bin/dash', '/bin/bash', '/bin/busybox sh'])
  for (const [state, folder] of [
    ['COMMITTING', 'changed'],
    ['COMMITTING', 'made'],
    ['COMMITTING', 'gone'],
    ['TAKING-BACK', 'changed'],
  ] as const)
    test(`a link in the place of the folder "${folder}" does not lead ${shell} elsewhere, ${state} (issue 4)`, () => {
      using bench = openBench(state)
      const [program = '', ...own] = shell.split(' ')
      const [place, aside, elsewhere] = [`/etc/${folder}`, `/etc/${folder}.aside`, '/elsewhere']
      cpSync(bench.at(place).toString('latin1'), bench.at(elsewhere).toString('latin1'), { recursive: true })
      renameSync(bench.at(place), bench.at(aside))
      symlinkSync('../elsewhere', bench.at(place))
      const before = contentsOf(bench.at(elsewhere))
      const { status, said } = bench.run(program, ...own, bench.root)
      assert.equal(status, 1)
      assert.match(said, new RegExp(`/etc/${folder}" leads to "[^"]*/elsewhere" now`))
      assert.deepEqual(contentsOf(bench.at(elsewhere)), before)
      assert.equal(bench.state(), `${state}\n`)
      rmSync(bench.at(place))
      renameSync(bench.at(aside), bench.at(place))
      assert.equal(bench.run(program, ...own, bench.root).status, 0)
      for (const name of names)
        assert.equal(bench.look(name)[0], state === 'COMMITTING' ? 'new' : 'old', name)
    })

test('a folder that becomes a link right before mv is called is still the one that was looked at', () => {
  using bench = openBench('COMMITTING')
  mkdirSync(bench.at('/elsewhere'))
  mkdirSync(bench.at('/bin'))
  const [changed, aside] = [bench.at('/etc/changed').toString(), bench.at('/etc/changed.aside').toString()]
  const mv = bench.at('/bin/mv').toString()
  writeFileSync(
    mv,
    `#!/bin/sh
if [ "$(pwd -P)" = '${changed}' ] && [ ! -e '${aside}' ]; then /bin/mv '${changed}' '${aside}'; ln -s ../elsewhere '${changed}'; fi
exec /bin/mv "$@"
`,
    { mode: 0o755 },
  )
  bench.run(
    '/usr/bin/env',
    `PATH=${bench.at('/bin').toString()}:${process.env['PATH']}`,
    '/bin/sh',
    bench.root,
  )
  assert.deepEqual(contentsOf(bench.at('/elsewhere')), [])
  assert.ok(contentsOf(bench.at('/etc/changed.aside')).every(([, content]) => content === 'new'))
})

function contentsOf(folder: Buffer): (readonly [name: string, content: string])[] {
  return readdirSync(folder, { encoding: 'latin1' })
    .toSorted()
    .map((name) => [name, readFileSync(Buffer.from(`${folder.toString()}/${name}`, 'latin1'), 'utf8')])
}

test('commands that are due after it are named in either direction, and not run', () => {
  const afterwards = ["false 'x'", ...Array.from({ length: 30 }, (_, at) => `update-initramfs -u -k ${at}`)]
  using bench = openBench('COMMITTING', 'under its own name', afterwards)
  for (const words of [[], ['--backward']]) {
    const { status, said } = bench.run('/bin/sh', bench.root, ...words)
    assert.equal(status, 0)
    assert.match(said, /\nrecover\.sh: What .* vml tx recover does it, or type: false 'x'; .* and 11 more\n$/)
  }
  // Nothing was to do, and nothing is due.
  assert.doesNotMatch(bench.run('/bin/sh', bench.root).said, /or type/)
})

test('a cache that was made anew since is taken back, and what somebody wrote stays', () => {
  const root = mkdtempSync(join(tmpdir(), 'vml-script-'))
  try {
    // Of what lies below /var/cache no rule knows whether a program makes it again.
    const paths = ['/etc/ld.so.cache', '/etc/mine', '/var/log/log', '/var/cache/own']
    for (const made of ['etc', 'var/log', 'var/cache', ...[0, 1, 2].map((at) => `var/journal/keep/${at}`)])
      mkdirSync(join(root, made), { recursive: true })
    const steps = paths.map((path, at): Step => {
      const kept = `/var/journal/keep/${Math.max(0, at - 1)}/${path.slice(path.lastIndexOf('/') + 1)}`
      writeFileSync(join(root, kept), 'old')
      return { kind: 'replace', path: pathOf(path), made: raw(`/var/new${path}`), kept: raw(kept) }
    })
    const folder = join(root, 'var/journal')
    const keeps = [{ folder: raw('/var/journal/keep'), made: [], aboveMtimeNs: 0n }]
    const stamps = new Map([[pathOf('/etc/mine'), { after: { mtimeNs: 1n, size: 3 } }]])
    writeFileSync(
      join(folder, 'recover.sh'),
      recoverScript({ root: raw('/'), folder: raw('/var/journal'), keeps, steps, times: [], stamps }),
    )
    for (const state of ['TAKING-BACK', 'TAKEN-BACK'])
      writeFileSync(join(folder, `state.${state}`), `${state}\n`)
    writeFileSync(join(folder, 'state'), 'COMMITTED\n')
    for (const state of ['state', 'state.TAKING-BACK']) utimesSync(join(folder, state), 1000, 1000)
    for (const path of paths) writeFileSync(join(root, path), 'since')
    const { status, stderr } = spawnSync('/bin/sh', [join(folder, 'recover.sh'), '--backward', root], {
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
    assert.deepEqual(
      paths.map((path) => readFileSync(join(root, path), 'utf8')),
      ['old', 'since', 'old', 'since'],
    )
    assert.deepEqual(readdirSync(join(root, 'etc')).toSorted(), ['ld.so.cache', 'mine', 'mine.old'])
    assert.equal(readFileSync(join(root, 'var/cache/own.old'), 'utf8'), 'old')
    assert.equal((stderr.match(/was written to since/g) ?? []).length, 2, stderr)
  } finally {
    rmSync(root, { recursive: true })
  }
})

/** Of a system whose root is `/` in the journal, and lies in a folder here. */
function openBench(
  state: string,
  keeps: 'under its own name' | 'under a number' = 'under its own name',
  afterwards?: readonly string[],
) {
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
  writeFileSync(join(folder, 'recover.sh'), recoverScript(journal, afterwards))
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
      const isOwn = (word: string) => /^(?:-x|sh|\/bin\/sh|PATH=.*)$/.test(word)
      const own = args.filter(isOwn)
      const words = args.filter((word) => !isOwn(word))
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
