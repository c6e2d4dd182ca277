// A restore of an entry whose own document is damaged: its files come back all the same, and nothing is called whole.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome, type TestHome } from '../../test/cli.ts'
import { openTestLogbook } from '../../test/entries.ts'
import { listEntries } from '../engine/entries.ts'
import { openTreeReader } from '../engine/tree-reader.ts'
import type { RawPath } from '../model/raw-path.ts'

/** One bit of `/.vml/entry.json` of the only entry; what this computer holds of it goes. */
async function damageDocument(home: TestHome): Promise<void> {
  await using logbook = await openTestLogbook(home)
  const { repository } = logbook
  const [entry] = await listEntries(logbook)
  assert.ok(entry)
  const node = await openTreeReader(repository, entry.snapshot.tree).node('/.vml/entry.json' as RawPath)
  const contents = await repository.openContents()
  const plan = contents.plan()
  await plan.add(node?.content ?? assert.fail())
  const [piece] = plan.pieces()
  const pack = (piece && contents.packPath(piece)) ?? assert.fail()
  const bytes = readFileSync(pack)
  const at = (piece?.offset ?? 0) + (piece?.blobs[0]?.start ?? 0) + 20
  bytes[at] = (bytes[at] ?? 0) ^ 1
  writeFileSync(pack, bytes)
  rmSync(join(home.home, '.cache'), { recursive: true, force: true })
}

async function openWithoutDocument(): Promise<TestHome & { readonly work: string }> {
  const home = await openTestHome()
  const work = join(home.home, 'work')
  mkdirSync(join(work, 'sub'), { recursive: true })
  writeFileSync(join(work, 'a'), 'a\n')
  writeFileSync(join(work, 'sub', 'b'), 'b\n')
  assert.equal((await home.run(['machine', 'add', 'here', 'local:'])).status, 0)
  assert.equal((await home.run(['save', 'here', '--only', work])).status, 0)
  await damageDocument(home)
  return { ...home, work }
}

test('an entry whose document is damaged gives its files back, says what cannot be read and ends as damage does (G6)', async () => {
  await using home = await openWithoutDocument()
  const { work } = home
  const to = join(home.home, 'to')
  const folder = await home.run(['restore', '1', '--to', to])
  assert.equal(folder.status, 20, folder.stderr)
  assert.match(folder.stderr, /document of #1, \/\.vml\/entry\.json.*going on with what its snapshot says/)
  assert.match(folder.stderr, /Not written[^\n]*:\n +\/\.vml\/entry\.json/)
  assert.equal(readFileSync(join(to, work, 'sub', 'b'), 'utf8'), 'b\n')

  writeFileSync(join(work, 'a'), 'changed\n')
  rmSync(join(work, 'sub'), { recursive: true })
  writeFileSync(join(work, 'new'), 'new\n')
  const planned = await home.run(['restore', '1', '--dry-run'])
  assert.equal(planned.status, 20)
  assert.equal(readFileSync(join(work, 'a'), 'utf8'), 'changed\n')
  const back = await home.run(['restore', '1', '--json'])
  assert.equal(back.status, 20, back.stderr)
  const told = JSON.parse(back.stdout.trim().split('\n').at(-1) ?? '') as { damaged: { path: string }[] }
  assert.deepEqual(
    told.damaged.map(({ path }) => path),
    ['/.vml/entry.json'],
  )
  assert.equal(readFileSync(join(work, 'a'), 'utf8'), 'a\n')
  assert.equal(readFileSync(join(work, 'sub', 'b'), 'utf8'), 'b\n')
  assert.equal(readFileSync(join(work, 'new'), 'utf8'), 'new\n')
  // What a restore changed is kept as ever, and one path of the entry comes alone.
  assert.equal((await home.run(['restore', '2'])).status, 0)
  assert.equal(readFileSync(join(work, 'a'), 'utf8'), 'changed\n')
  assert.equal((await home.run(['restore', `1:${work}/a`])).status, 20)
  assert.equal(readFileSync(join(work, 'a'), 'utf8'), 'a\n')

  const archive = join(home.home, 'it.tar')
  const packed = await home.run(['restore', '1', '--to', archive])
  assert.equal(packed.status, 20)
  assert.equal(packed.stderr.match(/^ +\/\.vml\/entry\.json/gm)?.length, 1)
  assert.ok(existsSync(archive))
})

test('without the document of an entry nothing is done that only it can tell: no deletion, no choice of cache parts, no other home', async () => {
  await using home = await openWithoutDocument()
  const { work } = home
  assert.equal((await home.run(['machine', 'add', 'there', 'local:'])).status, 0)
  writeFileSync(join(work, 'a'), 'changed\n')
  writeFileSync(join(work, 'new'), 'new\n')
  for (const args of [['--delete'], ['--without-cache'], ['--cache', 'pip'], ['there']]) {
    const refused = await home.run(['restore', '1', ...args])
    assert.equal(refused.status, 20, `${args.join(' ')}: ${refused.stderr}`)
    assert.match(refused.stderr, /document of #1 says how, and cannot be read[^]*Nothing was changed/)
  }
  assert.equal(readFileSync(join(work, 'a'), 'utf8'), 'changed\n')
  assert.ok(existsSync(join(work, 'new')))
})
