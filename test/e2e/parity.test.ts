import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome, type TestHome } from '../cli.ts'
import { cutHealing } from '../parity-cut.ts'
import { resticProgram } from '../restic-peer.ts'
import { startRclone } from '../rclone.ts'
import { startSshd } from '../sshd.ts'
import { noise } from '../store-fixture.ts'

async function filesIn(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true })
  return found.filter((each) => each.isFile()).map((each) => join(each.parentPath, each.name))
}

async function flip(path: string, at: number): Promise<void> {
  const data = await readFile(path)
  data[at] = (data[at] ?? 0) ^ 1
  await writeFile(path, data)
}

async function ok(home: TestHome, ...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await home.run(args)
  assert.equal(status, 0, `vml ${args.join(' ')}: ${stderr}`)
  return stdout
}

test('with recovery data, lost packs and flipped bits are healed byte for byte; restic neither sees nor harms it (G6)', async () => {
  await using home = await openTestHome({ logbook: false })
  const { logbook, passwordFile } = home
  await ok(home, 'init', logbook, '--password-file', passwordFile, '--parity', '5%')
  const folder = join(home.home, 'data')
  await mkdir(folder)
  for (const name of ['a', 'b', 'c', 'd', 'e']) await writeFile(join(folder, name), noise(9_000_000, name))
  await ok(home, 'machine', 'add', 'here', 'local')
  await ok(home, 'save', 'here', '--only', folder)
  assert.match(await ok(home, 'parity', 'show'), /^protected/m)
  assert.doesNotMatch(await ok(home, 'parity', 'show'), /not yet|missing|damaged/)
  const before = await filesIn(join(logbook, 'parity'))
  assert.ok(before.length > 2)

  const restic = (...args: readonly string[]) =>
    execFileSync(resticProgram('0.19'), ['-r', logbook, '--no-cache', ...args], {
      encoding: 'utf8',
      env: { ...process.env, RESTIC_PASSWORD_FILE: passwordFile },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  assert.match(restic('check', '--read-data'), /no errors were found/)
  await writeFile(join(home.home, 'another'), noise(3_000_000, 'another'))
  restic('backup', join(home.home, 'another'))
  restic('prune')
  assert.deepEqual(await filesIn(join(logbook, 'parity')), before)
  assert.match(await ok(home, 'parity', 'show'), /not yet/)
  await ok(home, 'parity', 'update')
  assert.doesNotMatch(await ok(home, 'parity', 'show'), /not yet/)

  const packs = await filesIn(join(logbook, 'data'))
  const sizes = new Map(
    await Promise.all(packs.map(async (path) => [path, (await stat(path)).size] as const)),
  )
  const [lost = '', flipped = ''] = packs.toSorted(
    (left, right) => (sizes.get(right) ?? 0) - (sizes.get(left) ?? 0),
  )
  const content = await readFile(lost)
  await rm(lost)
  await flip(flipped, 3000)
  const found = await home.run(['check', '--read-data'])
  assert.equal(found.status, 20)
  assert.match(found.stderr, /missing +1 pack/)
  const repaired = await home.run(['check', '--repair', '--yes'])
  assert.equal(repaired.status, 0, repaired.stderr)
  assert.match(repaired.stdout, /healed/)
  assert.deepEqual(await readFile(lost), content)
  await ok(home, 'check', '--read-data')
  assert.match(restic('check', '--read-data'), /no errors were found/)
  const target = join(home.home, 'restored')
  await ok(home, 'restore', '1', '--to', target)
  for (const name of ['a', 'b', 'c', 'd', 'e'])
    assert.deepEqual(await readFile(join(target, folder, name)), noise(9_000_000, name))

  const rows = await filesIn(join(logbook, 'parity'))
  await flip(rows[0] ?? '', 20)
  const damaged = await home.run(['check', '--read-data', '--json'])
  assert.equal(damaged.status, 20)
  assert.match(damaged.stdout, /"what":"parity"/)
  assert.equal((await home.run(['check', '--repair', '--yes'])).status, 0)
  await ok(home, 'check', '--read-data')

  assert.equal((await home.run(['parity', 'set', 'off'])).status, 2)
  await ok(home, 'parity', 'set', 'off', '--yes')
  assert.match(await ok(home, 'parity', 'show'), /off/)
  assert.equal((await filesIn(join(logbook, 'parity'))).length, 2)
})

test('over sftp recovery data lies beside the packs, and brings a lost one back', async () => {
  await using sshd = await startSshd({ config: ['Subsystem sftp internal-sftp'] })
  await using home = await openTestHome({ logbook: false })
  const location = `sftp://${sshd.user}@127.0.0.1:${sshd.port}/${home.logbook}`
  const run = async (...args: readonly string[]) => {
    const done = await home.run(args, { env: { VML_SSH_CONFIG: sshd.sshConfigFile } })
    assert.equal(done.status, 0, `vml ${args.join(' ')}: ${done.stderr}`)
    return done.stdout
  }
  await run('init', location, '--password-file', home.passwordFile, '--parity', '10%')
  const folder = join(home.home, 'data')
  await mkdir(folder)
  await writeFile(join(folder, 'file'), noise(2_000_000, 'file'))
  await run('machine', 'add', 'here', 'local')
  await run('save', 'here', '--only', folder)
  for (const lost of await filesIn(join(home.logbook, 'data'))) {
    const content = await readFile(lost)
    await rm(lost)
    assert.match(await run('check', '--repair', '--yes'), /healed/)
    assert.deepEqual(await readFile(lost), content)
  }
  await run('check', '--read-data')
})

test('storage that keeps only files of restic refuses recovery data with 17, and nothing is made', async () => {
  await using rclone = await startRclone()
  const folder = await mkdtemp(join(tmpdir(), 'vml-rclone-'))
  try {
    for (const location of [`rest:${rclone.url}/book/`, `rclone:${join(folder, 'book')}`]) {
      await using home = await openTestHome({ logbook: false })
      const init = ['init', location, '--password-file', home.passwordFile]
      const refused = await home.run([...init, '--parity', '5%'], { env: { RCLONE_CONFIG: '/dev/null' } })
      assert.equal(refused.status, 17, refused.stderr)
      const made = await home.run(init, { env: { RCLONE_CONFIG: '/dev/null' } })
      assert.equal(made.status, 0, made.stderr)
      const set = await home.run(['parity', 'set', '5%'], { env: { RCLONE_CONFIG: '/dev/null' } })
      assert.equal(set.status, 17, set.stderr)
      assert.equal((await home.run(['check'], { env: { RCLONE_CONFIG: '/dev/null' } })).status, 0)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('cut at some calls of the backend, healing loses nothing, and the next one ends it: all of them in test/long (G6)', async () => {
  assert.ok((await cutHealing(11)) > 10)
})
