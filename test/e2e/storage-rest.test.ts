import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome } from '../cli.ts'
import { startRclone } from '../rclone.ts'
import { assertJourney } from './storage-journey.ts'

test('a logbook on a REST server is one for stock restic, too, and one of restic is one for us', async () => {
  const credentials = { user: 'lab', password: 'pa/ss:word' }
  await using rclone = await startRclone({ credentials })
  await assertJourney({
    location: `rest:${rclone.url}/ours/`,
    other: `rest:${rclone.url}/theirs/`,
    environment: { RESTIC_REST_USERNAME: credentials.user, RESTIC_REST_PASSWORD: credentials.password },
  })
})

test('a logbook by way of rclone is one for stock restic, too, and no rclone stays behind', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vml-rclone-'))
  try {
    await assertJourney({
      location: `rclone:${join(folder, 'ours')}`,
      other: `rclone:${join(folder, 'theirs')}`,
      environment: { RCLONE_CONFIG: '/dev/null' },
    })
    assert.deepEqual(await programsNaming(folder), [])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('the password in the address of a REST server is in nothing that is said', async () => {
  await using rclone = await startRclone({ credentials: { user: 'lab', password: 'hushhush' } })
  await using home = await openTestHome({ logbook: false })
  const location = `rest:${rclone.url.replace('//', '//lab:hushhush@')}/book/`
  const said: string[] = []
  const vml = async (...args: readonly string[]) => {
    const { stdout, stderr, status } = await home.run(args)
    said.push(stdout, stderr)
    return status
  }
  const key = ['--password-file', home.passwordFile]
  assert.equal(await vml('init', location, ...key), 0)
  assert.equal(await vml('status'), 0)
  assert.equal(await vml('log'), 0)
  assert.equal(await vml('init', location, ...key), 5)
  assert.equal(await vml('log', '--logbook', location.replace('/book/', '/none/'), ...key), 10)
  await rclone[Symbol.asyncDispose]()
  assert.equal(await vml('check', '--logbook', location.replace('lab:', 'lab:not'), ...key), 30)
  assert.ok(!/hushhush/.test(said.join('\n')), said.join('\n'))
})

/** Command lines of running programs that have this text in them. */
async function programsNaming(text: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const lines = await Promise.all(
    pids.map(async (pid) => await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  )
  return lines.filter((line) => line.includes(text))
}
