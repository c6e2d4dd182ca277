// Everything that Unix has goes into an entry and comes out of it, by our hands and by restic's.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { installBusybox } from '../../src/source/userlands.fixture.ts'
import { openTestHome, type TestHome, type VmlOutcome } from '../cli.ts'
import { resticProgram } from '../restic-peer.ts'
import { assertSameTree, blocksOf, describeTree, type Described, makeNastyTree, sh } from './nasty-tree.ts'

let bench: string
let home: TestHome
let tree: string
let saved: Described

before(async () => {
  bench = await realpath(await mkdtemp(join(tmpdir(), 'vml-fidelity-')))
  makeNastyTree(bench)
  tree = join(bench, 'tree')
  home = await openTestHome()
  saved = describeTree(tree)
  ok(await home.run(['machine', 'add', 'here', 'local:']))
  ok(await home.run(['save', 'here', '-m', 'nasty', '--only', tree]))
})
after(async () => {
  await home[Symbol.asyncDispose]()
  await rm(bench, { recursive: true, force: true })
})

function ok(outcome: VmlOutcome): VmlOutcome {
  assert.equal(outcome.status, 0, outcome.stderr)
  return outcome
}

function restic(version: '0.14' | '0.19', ...args: string[]): Buffer {
  return execFileSync(resticProgram(version), [...args, '--no-cache'], {
    env: { ...process.env, RESTIC_REPOSITORY: home.logbook, RESTIC_PASSWORD_FILE: home.passwordFile },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

test('saving only looks: nothing of the tree has changed', () => {
  assertSameTree(describeTree(tree), saved)
})

test('restic 0.19 reads every byte of the logbook and restores every attribute of the tree', async () => {
  restic('0.19', 'check', '--read-data')
  const target = join(bench, 'by-restic-0.19')
  restic('0.19', 'restore', 'latest', '--sparse', '--target', target, '--include', tree)
  // It gives links and FIFOs with several names to each name anew.
  const links = saved.links.filter((names) => names.includes('plain'))
  assertSameTree(describeTree(join(target, tree)), { ...saved, links })
  // 100 MiB with one word in the middle: its two chunks that are not all zeros are written whole.
  assert.ok(blocksOf(join(target, tree, 'sparse')) * 512 < 20 * 1024 * 1024)
  await rm(target, { recursive: true })
})

test('Debian 12 restic 0.14 restores it too, but for what that version cannot', async () => {
  restic('0.14', 'check', '--read-data')
  const target = join(bench, 'by-restic-0.14')
  restic('0.14', 'restore', 'latest', '--target', target, '--include', tree)
  const restored = new Map(describeTree(join(target, tree)).facts)
  const wanted = new Map(saved.facts)
  // It reads a link target as UTF-8: linktarget_raw came with 0.16.
  for (const facts of [restored, wanted]) facts.delete('./rawlink')
  assert.deepEqual(restored, wanted)
  await rm(target, { recursive: true })
})

test('vml restores it below a folder, holes as holes, and says so only after reading it back', async () => {
  const target = join(bench, 'by-vml')
  const { stdout } = ok(await home.run(['restore', '1', '--to', target]))
  assert.match(stdout, /all equal/)
  assertSameTree(describeTree(join(target, tree)), saved)
  assert.ok(blocksOf(join(target, tree, 'sparse')) < 1000)
  assert.match(ok(await home.run(['restore', '1', '--to', target, '--delete'])).stdout, /nothing to do/)
  await rm(target, { recursive: true })
})

test('an archive of the entry, unpacked by tar, is the tree', async () => {
  const file = join(bench, 'out.tar')
  ok(await home.run(['restore', '1', '--to', file]))
  const target = join(bench, 'unpacked')
  await mkdir(target)
  sh(target, "tar -xpf ../out.tar --xattrs --xattrs-include='*' --acls --numeric-owner 2>/dev/null")
  assertSameTree(describeTree(join(target, tree)), saved)
  assert.equal((await home.run(['restore', '1', '--to', file])).status, 5)
  assert.equal((await home.run(['restore', '1:/nowhere', '--to', join(bench, 'no.tar')])).status, 4)
  await rm(target, { recursive: true })
  await rm(file)
})

test('whatever was changed, restore --delete makes the tree exactly what it was', async () => {
  sh(
    tree,
    String.raw`
    chmod 755 shut shut/in; rm -r shut; ln -s "$1" shut
    echo more >> plain; rm fifo; mkdir fifo; echo x > fifo/x
    rm dangling; ln -s elsewhere dangling; rm -r d/e; echo file > d/e
    chmod 777 @list; setfattr -x user.vml @list; setfattr -n user.new -v y big
    setfattr -n user.new -v y '[a]*?'; setfacl -m u:daemon:rwx empty
    chown 5:5 d; setfacl -m u:daemon:rwx d; rm null; mknod null c 1 5
    rm hard; cp -p plain hard; mkdir new; echo n > $'new/\xff'; touch -h -d @1 rootlink
    printf X | dd of=big bs=1 seek=1000 conv=notrunc status=none; touch -d @7 nothing
    rm zeros; ln big zeros; mv ./-rf moved
  `,
    bench,
  )
  const outside = describeTree(bench, { without: ['ownTime'] }).facts.size
  assert.ok(outside > 0)
  ok(await home.run(['restore', '1', '--delete']))
  assertSameTree(describeTree(tree), saved)
})

test('with busybox alone the same tree is kept as far as its tools tell, and the entry says what they do not', async () => {
  const path = join(bench, 'bin')
  await mkdir(path)
  installBusybox(path)
  const options = { env: { PATH: path } }
  const { stderr } = ok(await home.run(['save', 'here', '--full', '-m', 'busybox', '--only', tree], options))
  assert.match(stderr, /xtended attributes/)
  const target = join(bench, 'by-busybox')
  ok(await home.run(['restore', '@latest', '--to', target], options))
  const limits = { without: ['xattrs', 'linkTime'], resolutionNs: 1_000_000_000n } as const
  assertSameTree(describeTree(join(target, tree), limits), describeTree(tree, limits))
  // What GNU's tools can keep is read again with them.
  ok(await home.run(['save', 'here', '-m', 'gnu again', '--only', tree]))
  ok(await home.run(['restore', '@latest', '--to', join(bench, 'again')]))
  assertSameTree(describeTree(join(bench, 'again', tree)), saved)
})
