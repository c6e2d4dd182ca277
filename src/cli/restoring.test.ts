// What a restore says of the paths that it leaves alone.
import assert from 'node:assert/strict'
import { mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { openTestHome, type TestHome } from '../../test/cli.ts'

let home: TestHome
let file: string

before(async () => {
  home = await openTestHome()
  const folder = join(home.home, 'work')
  file = join(folder, 'notes')
  await mkdir(folder)
  await writeFile(file, 'before\n')
  assert.equal((await home.run(['machine', 'add', 'here', 'local:'])).status, 0)
  const saved = await home.run(['save', 'here', '--only', folder])
  assert.equal(saved.status, 0, saved.stderr)
  await writeFile(file, 'after!\n')
  await utimes(file, 0, 0)
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

test('a file of equal size and other time is not said to differ in time alone', async () => {
  const { stdout } = await home.run(['restore', '1', '--dry-run'])
  assert.match(stdout, /^M .*\/work\/notes \(time, maybe content\)$/m)
})

test('what --overwrite never leaves is named after a real restore, and it is not called equal', async () => {
  const { status, stdout, stderr } = await home.run(['restore', '1', '--overwrite', 'never'])
  assert.equal(status, 0, stderr)
  assert.match(stderr, /1 left as it is because of --overwrite never\n.*\/work\/notes\n/)
  assert.match(stdout, /1 path differs and stays/)
  assert.equal(await readFile(file, 'utf8'), 'after!\n')
  const json = await home.run(['restore', '1', '--overwrite', 'never', '--json'])
  const summary: unknown = JSON.parse(json.stdout.trim().split('\n').at(-1) ?? '')
  assert.ok(typeof summary === 'object' && summary !== null && 'left' in summary && 'kept' in summary)
  assert.deepEqual(summary.left, [{ path: file, why: 'exists' }])
  assert.deepEqual(summary.kept, [])
})

test('a place that cannot be written to is refused with its cause, by a dry run too, and nothing is made', async () => {
  const there = join(home.home, 'there.tar')
  await writeFile(there, 'mine\n')
  for (const [to, status, told] of [
    [there, 5, /it is there/],
    [join(home.home, 'old.tar.gz'), 2, /\.tar only[^]*old\.tar and/],
    [file, 2, /it is a file/],
  ] as const) {
    const refused = await home.run(['restore', '1', '--to', to, '--dry-run'])
    assert.equal(refused.status, status, refused.stderr)
    assert.match(refused.stderr, told)
  }
  assert.equal(await readFile(there, 'utf8'), 'mine\n')
})

test('a misspelt cache part is refused, and nothing of the rest is restored', async () => {
  const { status, stderr } = await home.run(['restore', '1', '--cache', 'downlods'])
  assert.equal(status, 4, stderr)
  assert.match(stderr, /downlods/)
  assert.equal(await readFile(file, 'utf8'), 'after!\n')
})

test("an entry of somebody else's machine goes to no machine of the same name unless that is said", async () => {
  const share = join(home.home, 'entry.vml')
  const shared = await home.run(['share', '1', '-o', share, '--with-secrets'])
  assert.equal(shared.status, 0, shared.stderr)
  await using receiver = await openTestHome()
  assert.equal((await receiver.run(['machine', 'add', 'here', 'local:'])).status, 0)
  assert.equal((await receiver.run(['import', share, '--yes'])).status, 0)
  const { status, stderr } = await receiver.run(['restore', '1'])
  assert.equal(status, 2, stderr)
  assert.equal(await readFile(file, 'utf8'), 'after!\n')
  assert.match((await receiver.run(['log'])).stdout, /\[imported\]/)
})

test('where two folders of an entry would come to one place both are named, and nothing is changed', async () => {
  await using own = await openTestHome()
  const env = { VML_LOGBOOK: own.logbook, VML_PASSWORD_FILE: own.passwordFile }
  const [one, other] = [join(own.home, 'one'), join(own.home, 'other')]
  for (const folder of [one, other]) {
    await mkdir(folder)
    await writeFile(join(folder, 'conf'), `of ${folder}\n`)
    await utimes(join(folder, 'conf'), 1, 1)
    await utimes(folder, 1, 1)
    const added = await own.run(['machine', 'add', 'here', 'local:'], { env: { ...env, HOME: folder } })
    assert.equal(added.status, 0, added.stderr)
  }
  const saved = await own.run(['save', 'here', '--include', other], { env: { ...env, HOME: one } })
  assert.equal(saved.status, 0, saved.stderr)
  await writeFile(join(other, 'notes'), 'a week of work\n')
  // The home of the entry comes to the home of whoever restores, where the entry has an included folder.
  const asOther = { env: { ...env, HOME: other } }
  for (const more of [[], ['--delete'], ['--dry-run']]) {
    const { status, stderr } = await own.run(['restore', '1', ...more], asOther)
    assert.equal(status, 14, stderr)
    assert.match(
      stderr,
      new RegExp(`"${one}" and "${other}" of it come to "${other}"\\n.*Nothing was changed`),
    )
  }
  assert.equal(await readFile(join(other, 'conf'), 'utf8'), `of ${other}\n`)
  const alone = await own.run(['restore', `1:${one}`], asOther)
  assert.equal(alone.status, 0, alone.stderr)
  assert.equal(await readFile(join(other, 'conf'), 'utf8'), `of ${one}\n`)
  assert.equal(await readFile(join(other, 'notes'), 'utf8'), 'a week of work\n')
  assert.match(alone.stderr, /kept in #2/)
})

test('where a folder comes in the place of a file, the way back that is told brings the file back', async () => {
  const own = await openTestHome()
  await using _closing = own
  const folder = join(own.home, 'work')
  await mkdir(join(folder, 'place'), { recursive: true })
  await writeFile(join(folder, 'place/in'), 'of the folder\n')
  await own.run(['machine', 'add', 'here', 'local:'])
  assert.equal((await own.run(['save', 'here', '--only', folder])).status, 0)
  await rm(join(folder, 'place'), { recursive: true })
  await writeFile(join(folder, 'place'), 'a file\n')
  const restored = await own.run(['restore', '1'])
  assert.equal(restored.status, 0, restored.stderr)
  const [, words = ''] = /is kept in #2: vml (restore 2[^:;]*?) brings it back/.exec(restored.stderr) ?? []
  const back = await own.run([...words.split(' '), '--yes'])
  assert.equal(back.status, 0, `${words}: ${back.stderr}`)
  assert.equal(await readFile(join(folder, 'place'), 'utf8'), 'a file\n')
})
