// Configuration: flag > VML_* > ./.vml.toml > the user's config.toml. The only place that reads the environment.
//
// ./.vml.toml may come with a folder from somebody else: it may name a logbook, a project and a machine, nothing that
// runs and no secret, and it counts only when it belongs to the user (or to root).
import { readFileSync, statSync } from 'node:fs'
import { homedir, hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import { schemeOf } from '../backend/location.ts'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { describeSystemError } from '../base/system-error.ts'
import type { Machine } from '../model/machine.ts'
import type { Policy } from '../model/policy.ts'
import { parseSettings, type Settings, type TransactionSettings } from './settings.ts'
import { typedPath } from './working-folder.ts'

export interface Folders {
  /** `config.toml`. */
  readonly config: string
  /** Keys, virtual machines, images: what cannot be made again. */
  readonly data: string
  /** The catalogue and compiled code: may be deleted at any time. */
  readonly cache: string
  /** Logs and what one run leaves for the next. */
  readonly state: string
}

/** Which place a setting came from, as a person would look for it: `--logbook`, `VML_LOGBOOK`, `./.vml.toml`, a path. */
export interface Setting<Value> {
  readonly value: Value
  readonly from: string
}

export interface Config {
  readonly folders: Folders
  readonly home: string
  readonly userName: string
  readonly hostName: string
  /** Undefined where it was removed: see working-folder.ts. */
  readonly workingFolder: string | undefined
  /** An absolute path, or a URL of another backend. */
  readonly logbook: Setting<string> | undefined
  readonly passwordFile: Setting<string> | undefined
  /** A line for the shell; never from ./.vml.toml. */
  readonly passwordCommand: Setting<string> | undefined
  /** VML_TO_PASSWORD_FILE: for the logbook that `vml copy` writes to. */
  readonly toPasswordFile: Setting<string> | undefined
  readonly project: Setting<string> | undefined
  readonly machine: Setting<string> | undefined
  readonly machines: ReadonlyMap<string, Machine>
  readonly policies: readonly Policy[]
  /** Instead of ~/.ssh/config, which ssh finds by the account and not by HOME; never from ./.vml.toml, since it can name commands. */
  readonly sshConfig: Setting<string> | undefined
  /** How a logbook on another computer is used; `readOnly` holds for any. */
  readonly storage: StorageSettings
  readonly images: { readonly catalogues: readonly string[] }
  readonly open: { readonly accelerator: 'auto' | 'kvm' | 'tcg'; readonly memoryMiB: number | undefined }
  readonly terminal: { readonly noColor: boolean; readonly dumb: boolean }
  /** Sentences on settings that were not taken over. */
  readonly warnings: readonly string[]
  /** For what takes its secrets and settings from there, as other programs for the same storage do; never printed. */
  readonly environment: Environment
}

export interface StorageSettings {
  /** Undefined is without a limit. */
  readonly uploadKiBPerSecond: number | undefined
  readonly downloadKiBPerSecond: number | undefined
  readonly readOnly: boolean
}

export interface ConfigFlags {
  readonly logbook?: string | undefined
  readonly passwordFile?: string | undefined
  /** True where `--read-only` was given. */
  readonly readOnly?: boolean | undefined
}

type Environment = Readonly<Record<string, string | undefined>>

const configBytesMax = 1024 * 1024

export function readConfig(
  flags: ConfigFlags,
  options: { environment?: Environment; workingFolder?: string } = {},
): Config {
  const environment = options.environment ?? process.env
  const workingFolder = options.workingFolder ?? currentFolder()
  const home = environment['HOME'] || homedir()
  const folders = findFolders(environment, home)
  const userFile = join(folders.config, 'config.toml')
  const user = readSettings(userFile, 'user') ?? emptySettings
  const project =
    (workingFolder === undefined ? undefined : readSettings(join(workingFolder, '.vml.toml'), 'project')) ??
    emptySettings

  const pick = (
    key: 'logbook' | 'passwordFile' | 'passwordCommand' | 'project' | 'machine' | 'sshConfig',
    flag?: { name: string; value: string | undefined },
  ): Setting<string> | undefined => {
    const variable = `VML_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
    if (flag?.value !== undefined) return { value: flag.value, from: flag.name }
    if (environment[variable]) return { value: environment[variable], from: variable }
    if (project.values[key] !== undefined) return { value: project.values[key], from: './.vml.toml' }
    if (user.values[key] !== undefined) return { value: user.values[key], from: userFile }
    return undefined
  }
  const logbook = pick('logbook', { name: '--logbook', value: flags.logbook })
  if (logbook?.from === './.vml.toml' && schemeOf(logbook.value) !== 'local')
    throw new VmlError(
      'usage',
      'Cannot use "logbook" of ./.vml.toml: it names another computer, and the file may have come with this folder',
      { hint: 'Name it in your own config.toml, with VML_LOGBOOK or with --logbook' },
    )
  const passwordFile = pick('passwordFile', { name: '--password-file', value: flags.passwordFile })
  const place = (setting: Setting<string> | undefined) =>
    setting && {
      ...setting,
      value: absoluteLocation(setting.value, {
        home,
        base: setting.from === userFile ? folders.config : workingFolder,
      }),
    }
  return {
    folders,
    home,
    userName: environment['USER'] || environment['LOGNAME'] || userName(),
    hostName: hostname(),
    workingFolder,
    logbook: place(logbook),
    passwordFile: place(passwordFile),
    passwordCommand: pick('passwordCommand'),
    toPasswordFile: place(
      environment['VML_TO_PASSWORD_FILE']
        ? { value: environment['VML_TO_PASSWORD_FILE'], from: 'VML_TO_PASSWORD_FILE' }
        : undefined,
    ),
    project: pick('project'),
    machine: pick('machine'),
    machines: user.values.machines,
    policies: user.values.policies,
    sshConfig: place(pick('sshConfig')),
    storage: {
      uploadKiBPerSecond: numberIn(environment, 'VML_LIMIT_UPLOAD') ?? user.values.limitUpload,
      downloadKiBPerSecond: numberIn(environment, 'VML_LIMIT_DOWNLOAD') ?? user.values.limitDownload,
      readOnly:
        flags.readOnly === true || (truthIn(environment, 'VML_READ_ONLY') ?? user.values.readOnly ?? false),
    },
    images: { catalogues: user.values.catalogues },
    environment,
    open: { accelerator: user.values.accelerator ?? 'auto', memoryMiB: user.values.memoryMiB },
    terminal: { noColor: Boolean(environment['NO_COLOR']), dumb: environment['TERM'] === 'dumb' },
    warnings: [...user.warnings, ...project.warnings],
  }
}

export function userConfigFile(config: Config): string {
  return join(config.folders.config, 'config.toml')
}

/** A machine by its name; `not-found` with what is there. `instead` is a sentence on what needs no machine. */
export function findMachine(config: Config, name: string, instead?: string): Machine {
  const machine = config.machines.get(name)
  if (machine) return machine
  const known = [...config.machines.keys()].toSorted()
  throw new VmlError('not-found', `Cannot find machine "${name}" in ${userConfigFile(config)}`, {
    details: { machine: name, known },
    hint: [
      ...(instead === undefined ? [] : [instead]),
      ...(known.length === 0 ? [] : [`Known machines: ${known.join(', ')}`]),
      `Add it: ${waysToAdd(name)}`,
    ].join('. '),
  })
}

/** How a machine becomes known: what an entry came from may be this host as well as another. */
export function waysToAdd(name?: string): string {
  return `vml machine add ${name ?? 'here'} local: for this host, vml machine add ${name ?? 'NAME'} ssh://USER@HOST for another`
}

/** Paths become absolute and `~/` the home; `scheme:` locations of other backends stay as they are. */
export function absoluteLocation(
  given: string,
  { home, base }: { home: string; base: string | undefined },
): string {
  if (schemeOf(given) !== 'local') return given
  const text = given.replace(/^local:/, '')
  if (text === '~') return home
  return text.startsWith('~/') ? join(home, text.slice(2)) : typedPath({ workingFolder: base }, text)
}

function currentFolder(): string | undefined {
  try {
    return process.cwd()
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Whole and above 0; empty is not given. */
function numberIn(environment: Environment, variable: string): number | undefined {
  const text = environment[variable]
  if (!text) return undefined
  if (/^[1-9]\d{0,11}$/.test(text)) return Number(text)
  throw new VmlError('usage', `Cannot use ${variable}: it must be a whole number of KiB a second, above 0`)
}

function truthIn(environment: Environment, variable: string): boolean | undefined {
  const text = environment[variable]
  if (!text) return undefined
  if (['1', 'true', 'yes'].includes(text)) return true
  if (['0', 'false', 'no'].includes(text)) return false
  throw new VmlError('usage', `Cannot use ${variable}: it must be 1 or 0`)
}

/** XDG Base Directory Specification: a relative path in a variable is to be ignored. */
function findFolders(environment: Environment, home: string): Folders {
  const folder = (variable: string, fallback: string) => {
    const value = environment[variable]
    return join(value?.startsWith('/') ? value : join(home, fallback), 'vml')
  }
  return {
    config: folder('XDG_CONFIG_HOME', '.config'),
    data: folder('XDG_DATA_HOME', '.local/share'),
    cache: folder('XDG_CACHE_HOME', '.cache'),
    state: folder('XDG_STATE_HOME', '.local/state'),
  }
}

const emptySettings: { values: Settings; warnings: readonly string[] } = {
  values: {
    machines: new Map(),
    policies: [],
    catalogues: [],
    transactions: { pools: [], snapshots: [] },
  },
  warnings: [],
}

/** Of a machine's own file; what it says beside that is told as warnings. */
export function readMachineSettings(path: string): {
  readonly transactions: TransactionSettings
  readonly warnings: readonly string[]
} {
  const { values, warnings } = readSettings(path, 'machine') ?? emptySettings
  return { transactions: values.transactions, warnings }
}

function readSettings(
  path: string,
  whose: 'user' | 'project' | 'machine',
): { values: Settings; warnings: readonly string[] } | undefined {
  let text: string
  try {
    const info = statSync(path)
    if (whose !== 'user' && !isTrustedOwner(info.uid))
      return { ...emptySettings, warnings: [`Not read: ${path} belongs to another user`] }
    if (!info.isFile() || info.size > configBytesMax)
      throw new VmlError('usage', `Cannot read ${path}: it is no file of at most 1 MiB`)
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (error instanceof VmlError) throw error
    throw new VmlError(
      'usage',
      `Cannot read ${path}: ${code === undefined ? 'unknown failure' : describeSystemError(code)}`,
      { cause: error },
    )
  }
  return parseSettings(text, { path, whose })
}

function isTrustedOwner(uid: number): boolean {
  return process.getuid === undefined || uid === 0 || uid === process.getuid()
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    return 'unknown' // A uid without an account, as in containers.
  }
}
