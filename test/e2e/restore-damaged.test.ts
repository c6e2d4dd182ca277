// A restore over ssh out of a logbook that is damaged: into the machine's own tar goes nothing that is not whole.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome } from '../cli.ts'
import { startSshd } from '../sshd.ts'

test('over ssh a file whose content cannot be read stays as it was and is named, and the rest is restored', async () => {
  await using sshd = await startSshd()
  await using home = await openTestHome()
  const work = join(home.home, 'work')
  mkdirSync(work)
  writeFileSync(join(work, 'big'), randomBytes(3_000_000))
  for (const name of ['a', 'z']) writeFileSync(join(work, name), `${name}\n`)
  const run = async (...args: string[]) =>
    await home.run(args, { env: { VML_SSH_CONFIG: sshd.sshConfigFile } })
  const added = await run('machine', 'add', 'lab', `ssh://${sshd.user}@127.0.0.1:${sshd.port}`)
  assert.equal(added.status, 0, added.stderr)
  const saved = await run('save', 'lab', '--only', work)
  assert.equal(saved.status, 0, saved.stderr)

  const data = join(home.logbook, 'data')
  const [pack = ''] = readdirSync(data, { recursive: true, encoding: 'utf8' })
    .map((name) => join(data, name))
    .filter((path) => statSync(path).size > 2_000_000 && statSync(path).isFile())
  const bytes = readFileSync(pack)
  bytes[1_500_000] = (bytes[1_500_000] ?? 0) ^ 1
  writeFileSync(pack, bytes)
  rmSync(join(home.home, '.cache'), { recursive: true, force: true })

  writeFileSync(join(work, 'big'), 'mine\n')
  writeFileSync(join(work, 'a'), 'changed\n')
  rmSync(join(work, 'z'))
  const restored = await run('restore', '1', '--delete')
  assert.equal(restored.status, 20, restored.stdout + restored.stderr)
  assert.match(restored.stderr, /\/work\/big \([^]*check --read-data/)
  assert.match(restored.stdout, /all equal/)
  const contents = ['big', 'a', 'z'].map((name) => readFileSync(join(work, name), 'utf8'))
  assert.deepEqual(contents, ['mine\n', 'a\n', 'z\n'])
  rmSync(join(work, 'big'))
  // Nothing is there that a preview would look at: it is found while the stream runs.
  assert.equal((await run('restore', '1')).status, 20)
  assert.deepEqual(readdirSync(work), ['a', 'z'])
})
