// Stock restic on a repository of its own in a temporary folder: the oracle for what the store reads and writes.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestHome } from './cli.ts'
import { lightenKey } from './light-key.ts'
import { runModel } from './run-model.ts'

export interface ResticPeer extends Disposable {
  /** For files to back up, and whatever a test needs beside them. */
  readonly folder: string
  readonly repository: string
  readonly password: string
  /** Runs in `folder`. Standard output; throws with restic's own message when it fails. */
  run(...args: readonly string[]): Buffer
}

/** Where tools/setup has put it. */
export function resticProgram(version: '0.14' | '0.19'): string {
  const setup = join(import.meta.dirname, '../tools/setup')
  const places: unknown = JSON.parse(execFileSync(setup, ['--print'], { encoding: 'utf8' }))
  const place = (places as Record<string, unknown>)[`restic${version.replace('.', '')}`]
  if (typeof place !== 'string') throw new Error(`tools/setup does not say where restic ${version} is`)
  return place
}

/** A repository of the newest format that this version makes. All of a run are copies of one, since restic takes seconds to make it. */
export async function openResticPeer(version: '0.14' | '0.19'): Promise<ResticPeer> {
  const program = resticProgram(version)
  const folder = mkdtempSync(join(tmpdir(), 'vml-restic-'))
  const repository = join(folder, 'repository')
  const env = {
    ...process.env,
    RESTIC_REPOSITORY: repository,
    RESTIC_PASSWORD: password,
    RESTIC_CACHE_DIR: join(folder, 'cache'),
    // It writes times in the zone where it runs.
    TZ: 'UTC',
  }
  const run = (...args: readonly string[]) =>
    execFileSync(program, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 30 })
  const model = await runModel(`restic-${version}`, async (aside) => {
    run('init', '--repo', aside)
    await lightenKey(aside, Buffer.from(password))
  })
  cpSync(model, repository, { recursive: true })
  return {
    folder,
    repository,
    password,
    run,
    [Symbol.dispose]: () => {
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const password = 'of a test'

/** On a logbook of a test in `place`, which the password of its home opens. Standard output. */
export function execRestic(home: TestHome, place: string, ...args: readonly string[]): string {
  return execFileSync(resticProgram('0.19'), [...args, '--no-cache', '-r', place], {
    env: { ...process.env, RESTIC_PASSWORD_FILE: home.passwordFile },
    stdio: ['ignore', 'pipe', 'pipe'],
  }).toString()
}
