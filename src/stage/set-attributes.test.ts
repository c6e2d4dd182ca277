import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, closeSync, existsSync, lstatSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openBench, pathOf, plain } from '../../test/commit-bench.ts'
import { watchedDisk } from '../../test/stage-commit-disk.ts'
import { changesBetween, describeTree, readTree, sh, testLibc } from '../../test/stage-commit-tree.ts'
import { isFailure } from '../base/failure.ts'
import { asRaw, rawFromString } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { commit, keptAt, type PreparedCommit, prepareCommit, takeBack } from './commit.ts'
import { forgetJournal } from './forget-journal.ts'
import { recover } from './recover.ts'
import { ownModes } from './set-attributes.ts'

const libc = testLibc()

test('a file that gets other rights stays the one that a program has open, in both directions', () => {
  using bench = openBench()
  const file = join(bench.root, 'rights')
  const { ino } = lstatSync(file)
  const open = openSync(file, 'a')
  const journal = bench.run(plain)
  assert.equal(lstatSync(file).ino, ino)
  assert.equal(lstatSync(file).mode & 0o7777, 0o2711)
  const kept = keptAt(journal, pathOf('/rights'))
  assert.equal(kept && readFileSync(Buffer.from(kept, 'latin1'), 'utf8'), 'r\n')
  takeBack(plain, journal)
  assert.equal(bench.now(), 'before')
  writeSync(open, 'more\n')
  closeSync(open)
  assert.equal(lstatSync(file).ino, ino)
  assert.equal(readFileSync(file, 'utf8'), 'r\nmore\n')
})

test('where recover.sh finds no program that sets attributes, VML sets them, in both directions', () => {
  for (const to of ['after', 'before'] as const) {
    using bench = openBench()
    // A new owner takes its capability away, in either direction.
    const change =
      'chown 1:2 cap; setcap cap_net_raw+ep cap; setfattr -n user.y -v y cap; setfattr -n user.z -v z x'
    sh('echo c >cap; setcap cap_net_admin+ep cap; echo x >x', bench.root)
    const before = describeTree(readTree(libc, bench.root))
    const { prepared, isDone } = commitOf(bench, change)
    if (to === 'after') cutOffAtFirstAttributes(prepared)
    else commit(plain, prepared)
    const bin = join(bench.folder, 'bin')
    sh('mkdir bin; ln -s /usr/bin/* bin; ln -sf /usr/sbin/* bin; rm bin/setfattr', bench.folder)
    const back = to === 'before' ? ['--backward'] : []
    const script = join(bench.journal, 'recover.sh')
    const { status, stderr } = spawnSync('/bin/dash', [script, ...back], {
      env: { PATH: bin },
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
    assert.match(
      stderr,
      /The attribute security\.capability of .* is not set: setfattr .* vml tx recover sets it/,
    )
    const { journal } = recover(plain, rawFromString(bench.journal))
    if (journal) forgetJournal(plain, journal)
    if (to === 'after') isDone()
    else assert.deepEqual(describeTree(readTree(libc, bench.root)), before)
    assert.equal(existsSync(bench.journal), false)
  }
})

/** Right after the owner was set; nor can it be taken back. */
function cutOffAtFirstAttributes(prepared: PreparedCommit): void {
  const disk = watchedDisk(plain, (call, [from]) => {
    if (call === 'setXattr' || String(from).endsWith('/state.TAKING-BACK')) throw new Error('Killed')
  })
  assert.throws(() => commit(disk, prepared))
}

/** Each of them gets other rights, or another owner, and nothing else. */
function commitOf(bench: ReturnType<typeof openBench>, change: string, only = '/') {
  const from = rawFromString(join(bench.folder, 'from'))
  sh('cp -a root from', bench.folder)
  sh(change, join(bench.folder, 'from'))
  const changes = changesBetween(
    readTree(libc, bench.root),
    readTree(libc, join(bench.folder, 'from')),
  ).filter(({ path }) => path.startsWith(only))
  const prepared = prepareCommit(plain, {
    root: rawFromString(bench.root),
    folder: rawFromString(bench.journal),
    changes,
    prepared: (path: RawPath) => asRaw(`${from}${path}`),
  })
  const wanted = describeTree(readTree(libc, join(bench.folder, 'from')))
  return { prepared, isDone: () => assert.deepEqual(describeTree(readTree(libc, bench.root)), wanted) }
}

const ways = [
  { way: 'VML', back: (prepared: PreparedCommit) => void takeBack(plain, prepared.journal) },
  ...['dash', 'bash', 'busybox sh'].map((shell) => ({
    way: shell,
    back: ({ journal }: PreparedCommit) =>
      void execFileSync('/bin/sh', [
        '-c',
        `${shell} "$1" --backward 2>/dev/null`,
        'sh',
        `${journal.folder}/recover.sh`,
      ]),
  })),
]

for (const { way, back } of ways)
  test(`fifos, sockets, devices and links stay themselves too, and are taken back by ${way}`, () => {
    using bench = openBench()
    sh(
      `mkfifo fifo; mknod null c 1 3; ln -s null to-null; echo x >"-rf
'o"; echo c >cap; setcap cap_net_raw+ep cap
      perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un("sock")) or die $!'`,
      bench.root,
    )
    const before = describeTree(readTree(libc, bench.root))
    const names = ['fifo', 'null', 'to-null', "-rf\n'o", 'cap', 'sock']
    const inodes = () => names.map((name) => lstatSync(join(bench.root, name)).ino)
    const [was, commitment] = [
      inodes(),
      commitOf(
        bench,
        `chown 1:2 fifo sock cap; setcap cap_net_raw+ep cap; chown -h 3:4 to-null; chmod 600 null fifo; chmod 4711 -- "-rf
'o"`,
      ),
    ]
    assert.deepEqual(
      commitment.prepared.journal.steps.map(({ kind }) => kind),
      names.map(() => 'attributes'),
    )
    commit(plain, commitment.prepared)
    commitment.isDone()
    assert.deepEqual(inodes(), was)
    back(commitment.prepared)
    assert.deepEqual(describeTree(readTree(libc, bench.root)), before)
    assert.deepEqual(inodes(), was)
  })

test('a file with several names is replaced: the others keep their rights', () => {
  using bench = openBench()
  sh('ln changed elsewhere', bench.root)
  const { prepared } = commitOf(bench, 'cp -a elsewhere own; mv own changed; chmod 600 changed', '/changed')
  assert.deepEqual(
    prepared.journal.steps.map(({ kind }) => kind),
    ['replace'],
  )
  commit(plain, prepared)
  assert.equal(lstatSync(join(bench.root, 'elsewhere')).mode & 0o777, 0o644)
})

for (const { way, back } of ways)
  test(`rights that somebody gave since stay when the commit is taken back by ${way}`, () => {
    using bench = openBench()
    const { prepared } = commitOf(
      bench,
      'chmod 600 changed; setfattr -n user.a -v 1 changed; chmod 640 rights',
    )
    commit(plain, prepared)
    sh('chmod 604 changed', bench.root)
    back(prepared)
    assert.equal(lstatSync(join(bench.root, 'changed')).mode & 0o777, 0o604)
    assert.equal(lstatSync(join(bench.root, 'rights')).mode & 0o7777, 0o4755)
  })

test('rights that somebody gave since are told by the take-back, and end no commit that was cut off', () => {
  using bench = openBench()
  const { prepared } = commitOf(bench, 'chmod 600 changed; chmod 640 rights')
  const disk = watchedDisk(plain, (call, [path]) => {
    if (call === 'setMode' || String(path).endsWith('/state.TAKING-BACK')) throw new Error('Killed')
  })
  assert.throws(() => commit(disk, prepared))
  sh('chmod 604 changed', bench.root)
  const { status, stderr } = spawnSync('sh', [`${prepared.journal.folder}/recover.sh`], { encoding: 'utf8' })
  assert.equal(status, 1)
  assert.match(stderr, /changed" got other rights, or another owner, since; nothing is lost: --backward/)
  const { did, cause, left } = recover(plain, prepared.journal.folder)
  assert.deepEqual({ did, left }, { did: 'taken back', left: [{ path: '/changed' }] })
  assert.ok(isFailure(cause, 'conflict'))
})

test('what a program writes while the rights of its file are set is no conflict', () => {
  using bench = openBench()
  const { prepared } = commitOf(bench, 'chmod 600 changed')
  const disk = watchedDisk(plain, (call) => {
    if (call === 'setMode') appendFileSync(join(bench.root, 'changed'), 'since\n')
  })
  commit(disk, prepared)
  assert.equal(readFileSync(join(bench.root, 'changed'), 'utf8'), 'old\nsince\n')
  assert.equal(lstatSync(join(bench.root, 'changed')).mode & 0o777, 0o600)
})

test('a step that was cut off has the rights of one side, with or without the bits that a new owner takes', () => {
  const state = (mode: number) => ({ mode, uid: 0, gid: 0 })
  assert.deepEqual(new Set(ownModes(state(0o4755), state(0o750))), new Set([0o750, 0o755, 0o4750, 0o4755]))
  assert.deepEqual(ownModes(state(0o644), state(0o600)), [0o644, 0o600])
})
