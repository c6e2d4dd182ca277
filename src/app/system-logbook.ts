// The logbook of this machine's own transactions: root's alone, always local, made when transactions are first recorded.
import { accessSync, constants, lstatSync, readlinkSync, statSync } from 'node:fs'
import { mkdir, readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import { rawFromBytes } from '../base/raw-text.ts'
import type { Config } from './config.ts'
import type { Logbook, OpenOptions } from './open.ts'

/** What VML keeps for the machine, not for one of its users. */
export const systemFolder = '/var/lib/vml'
export const systemLogbook = join(systemFolder, 'logbook')
/** Settings of the machine: extra checks, paths to watch, sources that do not forget. */
export const systemSettingsFolder = '/etc/vml'
export const machineSettingsFile = join(systemSettingsFolder, 'config.toml')
/** Opens the logbook with stock restic: `--password-file`. */
const recoveryKeyFile = join(systemFolder, 'recovery-key')
/** None of them is written before a logbook is there: beside none they tell that it is gone, not that there never was one. */
const tracesOfLogbook = ['keys/index.json', 'index', 'baseline'].map((name) => join(systemFolder, name))

/** The same program, with keys, caches and state of the machine instead of a user's. */
export function systemConfig(config: Config): Config {
  return {
    ...config,
    folders: {
      config: systemSettingsFolder,
      data: systemFolder,
      cache: join(systemFolder, 'cache'),
      state: join(systemFolder, 'state'),
    },
    logbook: { value: systemLogbook, from: 'the logbook of this machine' },
    passwordFile: undefined,
    passwordCommand: undefined,
  }
}

/** Whoever names the machine's logbook means it with the machine's keys. */
export function withSystemKeys(config: Config, location: string): Config {
  return location === systemLogbook ? { ...config, folders: systemConfig(config).folders } : config
}

/** By whatever name the place was given. */
export function isSystemLogbook(location: string): boolean {
  if (location === systemLogbook) return true
  const [one, other] = [location, systemLogbook].map((path) => {
    try {
      return statSync(path, { bigint: true })
    } catch {
      return undefined
    }
  })
  return one !== undefined && one.ino === other?.ino && one.dev === other.dev
}

/** `store.missing` where nothing was ever recorded here; `failed` for anybody but root. */
export async function openSystemLogbook(config: Config, options: OpenOptions): Promise<Logbook> {
  requireOwn(config)
  requireRoot('look at the transactions of this machine', 'Repeat it with sudo')
  await requireNoStage()
  if (!(await hasSystemLogbook())) {
    await requireNeverMade()
    throw new VmlError('store.missing', 'Cannot find transactions of this machine: none were recorded', {
      details: { location: systemLogbook },
      hint: 'vml tx enable records what apt, dpkg, dnf and rpm do from now on; vml tx run -- COMMAND makes a transaction of any command',
    })
  }
  const { openLogbook } = await import('./open.ts')
  return await openLogbook(systemConfig(config), options)
}

/** Opens it, or makes it first. */
export async function requireSystemLogbook(
  config: Config,
  clock: Clock,
  options: OpenOptions,
): Promise<Logbook> {
  requireOwn(config)
  requireRoot('record transactions of this machine')
  requireNoLink()
  await requireNoStage()
  if (!(await hasSystemLogbook())) {
    await requireNeverMade()
    await makePrivateFolder(systemFolder)
    const { withFileLock } = await import('./file-lock.ts')
    // Two at once would each write a recovery key, and one of them would open nothing.
    await withFileLock(join(systemFolder, 'logbook.lock'), clock, async () => {
      if (!(await hasSystemLogbook())) await makeSystemLogbook(config, clock, options)
    })
  }
  return await openSystemLogbook(config, options)
}

async function makeSystemLogbook(config: Config, clock: Clock, options: OpenOptions): Promise<void> {
  const own = systemConfig(config)
  await mkdir(own.folders.cache, { recursive: true, mode: 0o700 })
  const { generateRecoveryKey, makeLogbook } = await import('./init.ts')
  // One that is there already is of a making that was cut off, and whatever it opens, it goes on opening.
  let recovery = await readRecoveryKey()
  if (recovery === undefined) {
    recovery = generateRecoveryKey()
    // The key before what it opens: a logbook without its recovery key is never there.
    await writeFileDurable(recoveryKeyFile, `${recovery}\n`)
  }
  await makeLogbook(own, clock, systemLogbook, Buffer.from(recovery), { ...options, isDefault: false })
}

/** As `generateRecoveryKey` makes it; one that is cut off is not there, since it is written whole. */
async function readRecoveryKey(): Promise<string | undefined> {
  return (await readTextIfThere(recoveryKeyFile))?.replace(/\n$/, '')
}

/** A logbook that is not there once, such as one on a disk that is not mounted, is not to be begun anew: the new one would hide the old one. */
async function requireNeverMade(): Promise<void> {
  const away = await missingMount()
  if (away !== undefined)
    throw new VmlError(
      'store.missing',
      `Cannot find the logbook of this machine: /etc/fstab has a file system for "${away}", which is not mounted`,
      {
        details: { location: systemLogbook, mount: away },
        hint: `Nothing was changed. mount ${away}, and repeat`,
      },
    )
  for (const trace of tracesOfLogbook)
    if (await isThere(trace))
      throw new VmlError(
        'store.missing',
        `Cannot find the logbook of this machine: "${systemLogbook}" is gone`,
        {
          details: { location: systemLogbook, trace },
          hint: `Nothing was changed. Mount it, or put it back at its place. Where it is lost for good, mv ${systemFolder} ${systemFolder}.lost has the next transaction begin a new one`,
        },
      )
}

/** A folder with, or for, the logbook that is to be mounted (fstab(5)), and is not: an empty one there says nothing. */
async function missingMount(): Promise<string | undefined> {
  const { parseMountInfo } = await import('../wire/mount-table.ts')
  const table = (await readTextIfThere('/etc/fstab')) ?? ''
  const named = table.split('\n').flatMap((line) => {
    const [source = '#', folder = ''] = line.trim().split(/\s+/)
    return source.startsWith('#') ? [] : [folder.replace(/\/+$/, '')]
  })
  const wanted = [systemFolder, systemLogbook].filter((folder) => named.includes(folder))
  if (wanted.length === 0) return undefined
  const mounted = parseMountInfo(rawFromBytes(await readFile('/proc/self/mountinfo')))
  return wanted.find((folder) => mounted.every(({ path }) => path !== folder))
}

async function readTextIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The same number is another transaction in another logbook. */
function requireOwn({ logbook }: Config): void {
  if (logbook?.from !== '--logbook' || logbook.value === systemLogbook) return
  throw new VmlError('usage', `Cannot use --logbook here: this command is about ${systemLogbook}`, {
    hint: 'Nothing was changed. vml tx list and vml tx show look into another logbook',
  })
}

/** In a stage a small folder of its own hides this one: what is recorded there would be gone with the stage, and nothing be known of it. */
async function requireNoStage(): Promise<void> {
  if (!(await isThere(join(systemFolder, 'inside')))) return
  throw new VmlError('unsupported', 'Cannot make, list or take back transactions inside of a stage', {
    hint: 'Nothing was changed by this. What is done here is recorded by the transaction that it is part of',
  })
}

async function hasSystemLogbook(): Promise<boolean> {
  return await isThere(join(systemLogbook, 'config'))
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}

/**
 * Mounts of a stage would follow a link on the way out of the stage, and all that knows a folder by its path, such as dpkg's database, would not be found
 * where the link leads.
 */
export function requireNoLink(): void {
  const link = ['/var', '/var/lib', systemFolder].find((path) =>
    lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink(),
  )
  if (link === undefined) return
  const leadsTo = resolve(dirname(link), readlinkSync(link))
  throw new VmlError(
    'unsupported',
    `Cannot record or take back transactions of this machine: "${link}" is a link, to "${leadsTo}"`,
    {
      details: { path: link, leads_to: leadsTo },
      hint: `Nothing was changed by this. ${
        link === systemFolder
          ? `A mount serves instead: an empty folder ${link}, and mount --bind ${leadsTo} ${link}, which /etc/fstab is to have, too`
          : 'Have the folder itself there, or a file system or a subvolume of its own'
      }`,
    },
  )
}

/** Every part of a transaction needs it: mounts, locks of the package manager, files of all users. */
export function requireRoot(what: string, hint = 'Nothing was changed. Repeat it with sudo'): void {
  if (process.getuid?.() === 0) return
  throw new VmlError('failed', `Cannot ${what}: only root may`, {
    details: { code: 'EPERM' },
    hint,
  })
}

/** Asked before anything runs: what was changed could not be recorded afterwards. */
export function requireRecording({ storage }: Pick<Config, 'storage'>, what: string): void {
  if (!storage.readOnly) return
  throw new VmlError(
    'unsupported',
    `Cannot ${what}: it could not be recorded, since the logbook is read only`,
    {
      hint: 'Nothing was changed. Leave --read-only, VML_READ_ONLY or read_only of config.toml out',
    },
  )
}

/** What follows would end in the middle of its preparations. */
export function requireWritable(what: string): void {
  try {
    accessSync(systemFolder, constants.W_OK)
  } catch (cause) {
    if (systemErrorCode(cause) !== 'EROFS') return
    throw new VmlError(
      'failed',
      `Cannot ${what}: "${systemFolder}" is on a file system that is mounted read-only`,
      {
        cause,
        details: { code: 'EROFS', folder: systemFolder },
        hint: 'Nothing was changed. See with findmnt why it is; mount -o remount,rw makes it writable',
      },
    )
  }
}
