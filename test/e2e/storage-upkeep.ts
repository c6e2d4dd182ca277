// What keeps a logbook in order, on a storage elsewhere: copied there, thinned, pruned in two runs, damaged and repaired. After each, stock restic finds it sound.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { openBackend } from '../../src/backend/all.ts'
import type { FileRef } from '../../src/backend/backend.ts'
import { openTestHome } from '../cli.ts'
import { addEntry } from '../entries.ts'
import { resticProgram } from '../restic-peer.ts'
import { noise } from '../store-fixture.ts'

export interface Upkeep {
  /** Of an empty place, as both programs take it. */
  readonly location: string
  /** Secrets and settings, as both programs take them. */
  readonly environment?: Readonly<Record<string, string>>
  /** Of an ssh of the test's own. */
  readonly sshConfig?: string
  readonly resticOptions?: readonly string[]
  /** The storage keeps what a repair moves aside; elsewhere a damaged pack stays until a prune. */
  readonly setsAside: boolean
}

const runFile = promisify(execFile)

export async function assertUpkeep(upkeep: Upkeep): Promise<void> {
  const { location, environment = {}, sshConfig, resticOptions = [] } = upkeep
  await using home = await openTestHome()
  const run = async (...args: readonly string[]) =>
    await home.run(args, { env: { ...environment, ...(sshConfig && { VML_SSH_CONFIG: sshConfig }) } })
  const vml = async (...args: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await run(...args)
    assert.equal(status, 0, `vml ${args.join(' ')}: ${stderr}`)
    return stdout
  }
  const resticCheck = async () => {
    const { stdout } = await runFile(
      resticProgram('0.19'),
      ['-r', location, '--no-cache', ...resticOptions, 'check', '--read-data'],
      {
        env: {
          PATH: process.env['PATH'],
          HOME: home.home,
          ...environment,
          RESTIC_PASSWORD_FILE: home.passwordFile,
        },
      },
    )
    assert.match(stdout, /no errors were found/)
  }
  await using storage = await openBackend(location, {
    environment,
    ...(sshConfig === undefined ? {} : { sshConfig }),
  })
  const packs = async () => await Array.fromAsync(storage.list('pack'))
  for (const day of [1, 2, 3])
    await addEntry(home, {
      title: `day ${day}`,
      at: `2026-11-0${day}T10:00:00Z`,
      files: {
        '/home/lab/large.bin': noise(600_000, `large ${day}`).toString('latin1'),
        '/home/lab/small.txt': `day ${day}\n`,
      },
    })

  await vml('init', location, '--like', home.logbook, '--password-file', home.passwordFile)
  const there = ['--logbook', location]
  await vml('copy', '--all', '--from', home.logbook, '--to', location)
  assert.equal(await vml('cat', '2:/home/lab/small.txt', ...there), 'day 2\n')
  assert.match(
    await vml('copy', '--all', '--from', home.logbook, '--to', location),
    /^(#\d  is there already .*\n){3}$/,
  )
  await resticCheck()

  // The first run rewrites and marks, the second deletes.
  await vml('rm', '1', '2', '--yes', ...there)
  await vml('prune', '--max-unused', '0%', ...there)
  await resticCheck()
  const marked = await packs()
  await vml('prune', ...there)
  const left = await packs()
  assert.ok(left.length < marked.length)
  assert.ok(left.reduce((sum, { size }) => sum + size, 0) < 800_000)
  await resticCheck()

  const [largest] = left.sort((one, two) => two.size - one.size)
  const pack: FileRef = { kind: 'pack', name: largest?.name ?? '' }
  const content = await storage.get(pack)
  content[3000] = (content[3000] ?? 0) ^ 1
  await storage.remove(pack)
  await storage.put(pack, content)
  assert.equal((await run('check', '--read-data', ...there)).status, 20)
  assert.equal((await run('check', '--repair', '--yes', ...there)).status, 3)
  assert.equal(
    (await packs()).some(({ name }) => name === pack.name),
    !upkeep.setsAside,
  )
  await resticCheck()
  assert.equal(await vml('cat', '3:/home/lab/small.txt', ...there), 'day 3\n')
  await vml('prune', '--now', ...there)
  await vml('check', '--read-data', ...there)
  assert.ok((await packs()).every(({ name }) => name !== pack.name))
  assert.deepEqual(await Array.fromAsync(storage.list('lock')), [])
}
