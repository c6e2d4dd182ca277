// Shares and entries made to harm: nothing of them is taken in unless it is sound, and nothing lands outside of the target.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { copyFile, cp, lstat, mkdir, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openLocal } from '../../src/backend/local.ts'
import { writeShareFile } from '../../src/backend/share-file.ts'
import { initRepository } from '../../src/store/repository.ts'
import { openTestHome, type TestHome, type VmlOutcome } from '../cli.ts'
import { cheapKey, password } from '../store-fixture.ts'
import { type ForgedNode, forgeEntry } from './forged-entry.ts'
import { vaultOf } from './open-vault.ts'
import { assertPrintable, assertRefused, digestOf } from './refusals.ts'

let home: TestHome
let work: string
/** A good share of entry #1. */
let share: string
/** What nothing may touch; targets of hostile links and names. */
let outside: string

before(async () => {
  home = await openTestHome()
  work = join(home.home, 'work')
  outside = join(home.home, 'outside')
  share = join(home.home, 'good.vml')
  await mkdir(join(work, 'sub'), { recursive: true })
  await mkdir(outside)
  writeFileSync(join(outside, 'evil'), 'what was there\n')
  writeFileSync(join(work, 'sub', 'file'), 'content\n')
  ok(await home.run(['machine', 'add', 'here', 'local:']))
  ok(await home.run(['save', 'here', '-m', 'one', '--only', work]))
  ok(await home.run(['share', '1', '-o', share]))
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

function ok(outcome: VmlOutcome): VmlOutcome {
  assert.equal(outcome.status, 0, outcome.stderr)
  return outcome
}

/** Refused with and without --dry-run, and the logbook has not changed. */
async function assertNotTakenIn(file: string, status: number, saying: RegExp): Promise<void> {
  const before = digestOf(home.logbook, outside)
  for (const more of [['--dry-run'], ['--yes']]) {
    const outcome = await home.run(['import', file, ...more])
    assertRefused(outcome, { status, saying })
  }
  assert.equal(digestOf(home.logbook, outside), before)
}

test('a file that is no share, whatever else it is, is named as such', async () => {
  const at = (name: string) => join(home.home, name)
  writeFileSync(at('text'), 'hello\n'.repeat(1000))
  writeFileSync(at('empty'), '')
  writeFileSync(at('zeros'), Buffer.alloc(1 << 20))
  execFileSync('tar', ['-cf', at('other.tar'), '-C', work, 'sub/file'])
  execFileSync('mkfifo', [at('fifo')])
  await mkdir(at('folder'))
  for (const name of ['text', 'empty', 'zeros', 'other.tar', 'folder', 'fifo'])
    await assertNotTakenIn(at(name), 20, /Cannot read ".*" as a share/)
  await assertNotTakenIn('/dev/zero', 20, /Cannot read "\/dev\/zero" as a share/)
  await assertNotTakenIn(at('nowhere'), 4, /no such file/)
})

test('a share that is cut off anywhere is not taken in', async () => {
  const cut = join(home.home, 'cut.vml')
  const { length } = readFileSync(share)
  for (const at of [100, 512, 5000, length >> 1, length - 1024, length - 1]) {
    await copyFile(share, cut)
    truncateSync(cut, at)
    await assertNotTakenIn(cut, 20, /as a share: it is (cut off|too short)[^]*Nothing was taken in/)
  }
})

test('a share whose bytes were changed anywhere is refused, or is the same share', async () => {
  const changed = join(home.home, 'changed.vml')
  const good = readFileSync(share)
  const logbook = `${home.logbook}-before`
  await cp(home.logbook, logbook, { recursive: true })
  for (let at = 700; at < good.length; at += Math.ceil(good.length / 12)) {
    const bytes = Buffer.from(good)
    bytes[at] = (bytes[at] ?? 0) ^ 0x55
    writeFileSync(changed, bytes)
    const before = digestOf(home.logbook)
    const outcome = await home.run(['import', changed, '--yes'])
    assertPrintable(outcome)
    assert.ok([0, 12, 20].includes(outcome.status), `${at}: ${outcome.stderr}`)
    assert.equal(digestOf(home.logbook), before, `byte ${at}`)
  }
})

test('an archive with a path that leaves it, a link or a device in it is no share', async () => {
  const folder = join(home.home, 'members')
  for (const member of ['../evil', 'link', 'null', '/tmp/vml-evil']) {
    await rm(folder, { recursive: true, force: true })
    await mkdir(join(folder, 'in'), { recursive: true })
    execFileSync('tar', ['-xf', share, '-C', join(folder, 'in')])
    writeFileSync(join(folder, 'evil'), 'x')
    await symlink(outside, join(folder, 'in/link'))
    execFileSync('mknod', [join(folder, 'in/null'), 'c', '1', '3'])
    if (member.startsWith('/')) writeFileSync(member, 'x')
    const forged = join(home.home, 'forged.vml')
    await rm(forged, { force: true })
    const names = ['vml-share.json', 'key', 'logbook', member]
    execFileSync('tar', [
      '-cPf',
      forged,
      '--no-recursion',
      '--format=gnu',
      '-C',
      join(folder, 'in'),
      ...names,
    ])
    await assertNotTakenIn(forged, 20, /as a share: /)
    if (member.startsWith('/')) await rm(member)
  }
})

const text = (name: string, content = 'evil\n'): ForgedNode => ({ name, type: 'file', text: content })
const folder = (name: string, ...children: readonly ForgedNode[]): ForgedNode => ({
  name,
  type: 'dir',
  children,
})
const link = (name: string, linktarget: string): ForgedNode => ({
  name,
  type: 'symlink',
  fields: { linktarget },
})

/** Trees that would lead out of the target. */
const leadingOut: readonly (readonly [string, readonly ForgedNode[]])[] = [
  ['a name ..', [folder('..', text('evil'))]],
  ['a name that leads out', [text('../outside/evil')]],
  ['a quoted slash', [text(String.raw`..\x2foutside\x2fevil`)]],
  ['two nodes of one name', [link('a', '../../outside'), folder('a', text('evil'))]],
]

/** Trees that no folder can be. */
const impossible: readonly (readonly ForgedNode[])[] = [
  [text('a/b')],
  [text('/etc/evil')],
  [text(String.raw`\x2e\x2e`)],
  [folder('.', text('evil'))],
  [text('')],
  [text(String.raw`a\x00b`)],
  [text('b'), link('a', '/etc'), folder('a', text('evil'))],
  [{ name: 'a', type: 'dir' }],
  [{ name: 'a', type: 'symlink' }],
  [text('x'.repeat(256))],
]

test('an entry with names that lead out is neither imported nor restored', async () => {
  const snapshots = join(home.logbook, 'snapshots')
  for (const [at, [what, nodes]] of leadingOut.entries()) {
    const tree = [folder('work', ...nodes)]
    const before = digestOf(snapshots, outside)
    const refusal = { status: 20, saying: /Cannot read a tree/ }
    assertRefused(await home.run(['import', await forgeShare(tree, what), '--yes']), refusal)
    assert.equal(digestOf(snapshots, outside), before, what)
    // The same in the own logbook, as if somebody with its key had put it there.
    const number = 100 + at
    await forgeEntry(await vaultOf(home), { nodes: tree, title: what, number })
    const target = join(home.home, 'target')
    const beside = digestOf(outside)
    for (const to of [target, `${target}.tar`])
      assertRefused(await home.run(['restore', String(number), '--to', to]), refusal)
    assert.equal(digestOf(outside), beside, what)
    // What can be read of the entry is there, and nothing else.
    assert.doesNotMatch(execFileSync('tar', ['-tf', `${target}.tar`], { encoding: 'utf8' }), /evil|\.\./)
    await rm(target, { recursive: true, force: true })
    await rm(`${target}.tar`, { force: true })
  }
})

test('a check names every tree that no folder can be', async () => {
  const vault = await vaultOf(home)
  for (const [at, nodes] of impossible.entries())
    await forgeEntry(vault, { nodes: [folder('work', ...nodes)], title: 'impossible', number: 120 + at })
  const check = await home.run(['check'])
  assertRefused(check, { status: 20, saying: /Cannot read a tree/ })
  for (const at of impossible.keys())
    assert.match(check.stdout, new RegExp(`damaged .*tree .*\\n +affects #${120 + at}: /work`))
  assert.match(ok(await home.run(['log'])).stdout, /#1 .*one/)
})

test('links of an entry are written as links, and nothing is written through one', async () => {
  const vault = await vaultOf(home)
  const hostile = [folder('trap', link('abs', outside), link('rel', '../../outside'), link('up', '..'))]
  await forgeEntry(vault, { nodes: hostile, title: 'links', number: 201 })
  const through = [
    folder(
      'trap',
      folder('abs', text('evil')),
      folder('rel', text('evil')),
      folder('up', folder('outside', text('evil'))),
    ),
  ]
  await forgeEntry(vault, { nodes: through, title: 'through', number: 202 })
  const target = join(home.home, 'target')
  const before = digestOf(outside)
  ok(await home.run(['restore', '201', '--to', target]))
  assert.ok((await lstat(join(target, 'trap/abs'))).isSymbolicLink())
  assert.equal(digestOf(outside), before)
  // The second entry has folders where the first one has put links.
  for (const what of [
    ['202'],
    ['202:/trap/abs/evil'],
    ['202:/trap/rel'],
    ['202', '--delete'],
    ['202', '--overwrite', 'never'],
  ]) {
    const outcome = await home.run(['restore', ...what, '--to', target])
    assertPrintable(outcome)
    assert.ok([0, 3, 14].includes(outcome.status), `${what.join(' ')}: ${outcome.stderr}`)
    assert.equal(digestOf(outside), before, what.join(' '))
  }
  // A target that is itself below a link was chosen by the user; what lies in it was not.
  await rm(target, { recursive: true })
  await mkdir(target)
  await symlink(outside, join(target, 'trap'))
  const outcome = await home.run(['restore', '202:/trap/abs/evil', '--to', target])
  assertPrintable(outcome)
  assert.equal(digestOf(outside), before)
  await rm(target, { recursive: true })
})

test('an entry whose own document is hostile is shown without obeying it', async () => {
  const documents = [
    'no json',
    '{"schema":99}',
    JSON.stringify({
      schema: 1,
      kind: 'environment',
      title: '\u001b]0;owned\u0007',
      user: { home: '/../../etc' },
    }),
    '['.repeat(100_000),
  ]
  for (const document of documents) {
    const nodes = [folder('.vml', text('entry.json', document)), folder('work', text('evil'))]
    const forged = await forgeShare(nodes, '\u001b[31mtitle\u202e')
    const outcome = await home.run(['import', forged, '--yes'])
    assertPrintable(outcome)
    assert.ok([0, 17, 20].includes(outcome.status), `${document.slice(0, 50)}: ${outcome.stderr}`)
    for (const args of [['log'], ['show', '@latest'], ['status', 'here'], ['save', 'here', '--only', work]]) {
      const outcome = await home.run(args)
      assertPrintable(outcome)
      assert.ok([0, 17, 20].includes(outcome.status), `${args.join(' ')}: ${outcome.stderr}`)
    }
  }
})

/** A share that holds these nodes, with its key inside as `vml share` writes it. */
async function forgeShare(nodes: readonly ForgedNode[], title: string): Promise<string> {
  const place = join(home.home, 'forged-logbook')
  const file = join(home.home, 'forged-entry.vml')
  await rm(place, { recursive: true, force: true })
  await rm(file, { force: true })
  const repository = await initRepository({ backend: openLocal(place), keys: [cheapKey] })
  await repository[Symbol.asyncDispose]()
  const passwordFile = join(home.home, 'forged-password')
  writeFileSync(passwordFile, password)
  await forgeEntry(await vaultOf({ logbook: place, passwordFile }), { nodes, title, number: 50 })
  const manifest = Buffer.from(JSON.stringify({ format: 'vml-share', schema: 1, key: 'inside' }))
  await writeShareFile(file, {
    manifest,
    key: password,
    repository: openLocal(place, { readOnly: true }),
    images: [],
  })
  return file
}
