// One logbook on a storage, used by the real program and by stock restic in turns: each reads what the other wrote.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openTestHome, type VmlOutcome } from '../cli.ts'
import { resticProgram } from '../restic-peer.ts'

export interface Storage {
  /** Of an empty place, as both programs take it. */
  readonly location: string
  /** Of another one. */
  readonly other: string
  /** Secrets and settings, as both programs take them. */
  readonly environment: Readonly<Record<string, string>>
}

const runFile = promisify(execFile)

export async function assertJourney({ location, other, environment }: Storage): Promise<void> {
  await using home = await openTestHome({ logbook: false })
  const env = environment
  const vml = async (...args: readonly string[]): Promise<VmlOutcome> => {
    const outcome = await home.run(args, { env })
    assert.equal(outcome.status, 0, `vml ${args.join(' ')}: ${outcome.stderr}`)
    return outcome
  }
  // It runs asynchronously: the storage may be served by this very process.
  const restic = async (repository: string, ...args: readonly string[]): Promise<string> => {
    const { stdout } = await runFile(resticProgram('0.19'), [...args], {
      cwd: home.home,
      env: {
        PATH: process.env['PATH'],
        HOME: home.home,
        TZ: 'UTC',
        ...env,
        RESTIC_REPOSITORY: repository,
        RESTIC_PASSWORD_FILE: home.passwordFile,
      },
      maxBuffer: 2 ** 26,
    })
    return stdout
  }
  const work = join(home.home, 'work')
  await mkdir(join(work, 'deep'), { recursive: true })
  const big = randomBytes(3_000_000)
  await writeFile(join(work, 'big.bin'), big)
  await writeFile(join(work, 'deep', 'note.txt'), 'of ours\n')

  // Ours, read by both.
  await vml('init', location, '--password-file', home.passwordFile)
  await vml('machine', 'add', 'here', 'local:')
  await vml('save', 'here', '-m', 'one', '--only', work)
  assert.match((await vml('ls', `1:${work}`)).stdout, /big\.bin/)
  await vml('restore', '1', '--to', join(home.home, 'out'))
  assert.deepEqual(await readFile(join(home.home, 'out', work, 'big.bin')), big)
  await vml('check', '--read-data')
  await restic(location, 'check', '--read-data')
  await restic(location, 'restore', 'latest', '--target', join(home.home, 'by-restic'))
  assert.deepEqual(await readFile(join(home.home, 'by-restic', work, 'big.bin')), big)

  // restic adds to ours.
  await writeFile(join(work, 'deep', 'note.txt'), "of restic's\n")
  await restic(location, 'backup', '--host', 'here', work)
  assert.equal((await vml('cat', `@latest:${work}/deep/note.txt`)).stdout, "of restic's\n")

  // restic's own, read and added to by us.
  await restic(other, 'init')
  await restic(other, 'backup', '--host', 'here', work)
  const theirs = ['--logbook', other, '--password-file', home.passwordFile]
  assert.equal((await vml('cat', `@latest:${work}/deep/note.txt`, ...theirs)).stdout, "of restic's\n")
  await vml('save', 'here', '-m', 'ours', '--only', work, ...theirs)
  await restic(other, 'check', '--read-data')
  const snapshots: unknown = JSON.parse(await restic(other, 'snapshots', '--json'))
  assert.ok(Array.isArray(snapshots))
  assert.equal(snapshots.length, 2)

  // No lock stays behind.
  assert.equal(await restic(location, 'list', 'locks', '--no-lock'), '')
  assert.equal(await restic(other, 'list', 'locks', '--no-lock'), '')
}
