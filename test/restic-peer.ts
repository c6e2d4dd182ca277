// Stock restic on a repository of its own in a temporary folder: the oracle for what the store reads and writes.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runFolderVariable } from '../tools/test-processes.ts'
import { lightenKey } from './light-key.ts'

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
  const model = join(process.env[runFolderVariable] ?? folder, `restic-${version}`)
  if (existsSync(model)) cpSync(model, repository, { recursive: true })
  else {
    run('init')
    await lightenKey(repository, Buffer.from(password))
    keepModel(repository, model)
  }
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

/** It appears whole; of those made at the same time all are as good. */
function keepModel(repository: string, model: string): void {
  const copy = mkdtempSync(`${model}-`)
  cpSync(repository, copy, { recursive: true })
  try {
    renameSync(copy, model)
  } catch {
    rmSync(copy, { recursive: true })
  }
}
