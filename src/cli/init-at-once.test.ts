// Several `vml init` for one place at the same moment, as programs of different people: one has a logbook then, the others are told and left with nothing of it.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome, type RunOptions, type TestHome } from '../../test/cli.ts'
import { startSshd } from '../../test/sshd.ts'

const inits = 3

/** Each from a home of its own. Returns the one that has made it. */
async function initAtOnce(
  homes: readonly TestHome[],
  location: string,
  options: Omit<RunOptions, 'home'> = {},
): Promise<TestHome> {
  const outcomes = await Promise.all(
    homes.map(
      async (home) => await home.run(['init', location, '--password-file', home.passwordFile], options),
    ),
  )
  const [winner, ...others] = homes.filter((_, at) => outcomes[at]?.status === 0)
  assert.ok(winner && others.length === 0, outcomes.map(({ stderr }) => stderr).join('\n'))
  for (const [at, { status, stderr }] of outcomes.entries()) {
    if (status === 0) continue
    assert.equal(status, 5, stderr)
    assert.match(stderr, /another program has made one there meanwhile|there is one|one is there/)
    const own = join(homes[at]?.home ?? '', '.local/share/vml/keys')
    assert.deepEqual(existsSync(own) ? readdirSync(own) : [], [])
    // Nothing of the other one's becomes theirs.
    assert.ok(!readConfig(homes[at]).includes(location))
  }
  assert.ok(readConfig(winner).includes(location))
  const looked = await winner.run(['check'], options)
  assert.equal(looked.status, 0, looked.stderr)
  const keys = JSON.parse((await winner.run(['key', 'list', '--json'], options)).stdout) as {
    keys: unknown[]
  }
  assert.equal(keys.keys.length, 2)
  return winner
}

function readConfig(home: TestHome | undefined): string {
  const path = join(home?.home ?? '', '.config/vml/config.toml')
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

async function openHomes(resources: AsyncDisposableStack): Promise<TestHome[]> {
  const homes: TestHome[] = []
  for (let count = 0; count < inits; count++)
    homes.push(resources.use(await openTestHome({ logbook: false })))
  return homes
}

test('of several inits of one folder at once, one has a logbook that opens by its two keys, and the others have nothing', async () => {
  await using resources = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'vml-init-'))
  resources.defer(() => rmSync(folder, { recursive: true }))
  for (const round of ['1', '2', '3']) await initAtOnce(await openHomes(resources), join(folder, round))
})

test('of several inits over sftp at once, one has a logbook that opens by its two keys, and the others have nothing', async () => {
  await using resources = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'vml-init-'))
  resources.defer(() => rmSync(folder, { recursive: true }))
  // As OpenSSH has it, and as servers that know no links.
  for (const [name, more] of [
    ['plain', ''],
    ['bare', ' -P hardlink,fsync,limits,statvfs,posix-rename'],
  ] as const) {
    const sshd = resources.use(await startSshd({ config: [`Subsystem sftp internal-sftp${more}`] }))
    const { user, port, sshConfigFile } = sshd
    const location = `sftp://${user}@127.0.0.1:${port}/${join(folder, name)}`
    await initAtOnce(await openHomes(resources), location, { env: { VML_SSH_CONFIG: sshConfigFile } })
  }
})
