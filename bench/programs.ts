// VML and its peers as what saves a folder and gives it back, each with a repository and a home of its own.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { vmlCommand, vmlEnvironment } from '../test/cli.ts'
import type { Bench, PeerName } from './case.ts'
import { run, type Work } from './measure.ts'

export interface Keeper {
  readonly name: 'vml' | PeerName
  /** All that it has: repository, caches, home. */
  readonly folder: string
  readonly repository: string
  save(folder: string): Work
  /** The last save into an empty folder, and where below it the saved folder comes to lie. */
  restore(folder: string, target: string): { readonly work: Work; readonly restored: string }
  /** Any other command of it. */
  command(...args: readonly string[]): Work
}

/** What VML saves. */
export interface SavedMachine {
  readonly name: string
  readonly address: string
  readonly env: Readonly<Record<string, string>>
}

const thisHost: SavedMachine = { name: 'here', address: 'local:', env: {} }

/** For VML the recovery key, which stock restic takes as its password. */
export const password = 'only for measurements'

export async function openKeeper(
  bench: Bench,
  name: 'vml' | PeerName,
  label: string,
  machine: SavedMachine = thisHost,
): Promise<Keeper> {
  const folder = join(bench.work, `${label}-${name}`)
  mkdirSync(folder)
  writeFileSync(join(folder, 'password'), `${password}\n`, { mode: 0o600 })
  if (name === 'vml') return await openVml(bench, folder, machine)
  return name === 'restic' ? await openRestic(bench, folder) : await openBorg(bench, folder)
}

async function openVml({ signal }: Bench, folder: string, machine: SavedMachine): Promise<Keeper> {
  const home = join(folder, 'home')
  const repository = join(folder, 'logbook')
  mkdirSync(home)
  const env = vmlEnvironment({ home, env: machine.env })
  const command = (...args: readonly string[]): Work => ({
    command: [...vmlCommand, ...args, '--quiet'],
    env,
    cwd: home,
  })
  await run(command('init', repository, '--password-file', passwordFile(folder)), signal)
  await run(command('machine', 'add', machine.name, machine.address), signal)
  return {
    name: 'vml',
    folder,
    repository,
    save: (saved) => command('save', machine.name, '--only', saved, '-m', 'bench'),
    restore: (saved, target) => ({
      work: command('restore', '@latest', '--to', target),
      restored: join(target, saved),
    }),
    command,
  }
}

async function openRestic(bench: Bench, folder: string): Promise<Keeper> {
  const repository = join(folder, 'repository')
  const command = resticOn(bench, { folder, repository })
  await run(command('init'), bench.signal)
  return {
    name: 'restic',
    folder,
    repository,
    save: (saved) => command('backup', '--quiet', saved),
    // VML reads back what it wrote and hashes it again: `--verify` does the same.
    restore: (saved, target) => ({
      work: command('restore', '--quiet', '--sparse', '--verify', 'latest', '--target', target),
      restored: join(target, saved),
    }),
    command,
  }
}

/** Its cache lies in `folder`. */
export function resticOn(
  { programs }: Bench,
  { folder, repository }: { readonly folder: string; readonly repository: string },
): Keeper['command'] {
  const env = {
    ...vmlEnvironment({ home: folder }),
    RESTIC_REPOSITORY: repository,
    RESTIC_PASSWORD_FILE: passwordFile(folder),
    RESTIC_CACHE_DIR: join(folder, 'restic-cache'),
  }
  return (...args) => ({ command: [programs.restic, ...args], env, cwd: folder })
}

/** Encrypted and compressed as the others are; `auto` leaves alone what cannot be compressed, as restic and VML do. */
async function openBorg({ programs, signal }: Bench, folder: string): Promise<Keeper> {
  const repository = join(folder, 'repository')
  const env = {
    ...vmlEnvironment({ home: folder }),
    BORG_REPO: repository,
    BORG_PASSPHRASE: password,
    BORG_BASE_DIR: folder,
  }
  const command = (...args: readonly string[]): Work => ({
    command: [programs.borg, ...args],
    env,
    cwd: folder,
  })
  await run(command('init', '--encryption', 'repokey-blake2'), signal)
  let saves = 0
  return {
    name: 'borg',
    folder,
    repository,
    save: (saved) => command('create', '--compression', 'auto,zstd,3', `::save-${++saves}`, saved),
    restore(saved, target) {
      // It extracts into the folder where it is started.
      mkdirSync(target)
      return {
        work: { ...command('extract', '--sparse', `::save-${saves}`), cwd: target },
        restored: join(target, saved),
      }
    },
    command,
  }
}

/** A quick save of something else is worth nothing: every byte of a logbook is read by the peer. */
export async function checkWithRestic(bench: Bench, { folder, repository }: Keeper): Promise<void> {
  await run(resticOn(bench, { folder, repository })('check', '--read-data', '--no-cache'), bench.signal)
}

function passwordFile(folder: string): string {
  return join(folder, 'password')
}
