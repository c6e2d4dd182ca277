// What a configuration file may say, checked key by key: zod would cost more at start-up than the rest of this folder.
import { parse } from './toml.ts'
import { messageOf, VmlError } from '../base/failure.ts'
import { isMachineName, parseImageReference, parseMachineAddress, type Machine } from '../model/machine.ts'
import type { Policy } from '../model/policy.ts'
import { type Budget, parseBudget } from '../model/span.ts'
import { parsePolicies } from './policy-settings.ts'

export interface Settings {
  readonly logbook?: string
  readonly project?: string
  readonly machine?: string
  readonly passwordFile?: string
  readonly passwordCommand?: string
  readonly sshConfig?: string
  /** KiB a second, to and from a logbook on another computer. */
  readonly limitUpload?: number
  readonly limitDownload?: number
  readonly readOnly?: boolean
  readonly machines: ReadonlyMap<string, Machine>
  readonly policies: readonly Policy[]
  readonly catalogues: readonly string[]
  readonly accelerator?: 'auto' | 'kvm' | 'tcg'
  readonly memoryMiB?: number
  readonly transactions: TransactionSettings
}

/** Of the machine itself, and of nobody who uses it. */
export interface TransactionSettings {
  /** Folders of .deb files that somebody keeps. */
  readonly pools: readonly string[]
  /** Addresses of services that keep every version of an archive. */
  readonly snapshots: readonly string[]
  readonly budget?: Budget
}

interface Place {
  readonly path: string
  readonly whose: 'user' | 'project' | 'machine'
}

/** Keys that any ./.vml.toml may hold; everything else counts only in the user's own file. */
const projectKeys: readonly string[] = ['logbook', 'project', 'machine']
const userKeys: readonly string[] = [
  ...projectKeys,
  'password_file',
  'password_command',
  'ssh_config',
  'limit_upload',
  'limit_download',
  'read_only',
  'machines',
  'policies',
  'images',
  'open',
]
/** What /etc/vml/config.toml may hold. */
const machineKeys: readonly string[] = ['transactions']
const transactionKeys: readonly string[] = ['budget', 'pools', 'snapshots']
const keysOf = { user: userKeys, project: projectKeys, machine: machineKeys }
const accelerators = ['auto', 'kvm', 'tcg'] as const

export function parseSettings(text: string, place: Place): { values: Settings; warnings: readonly string[] } {
  const table = parseToml(text, place)
  const warnings: string[] = []
  const allowed = keysOf[place.whose]
  for (const key of Object.keys(table)) {
    if (allowed.includes(key)) continue
    warnings.push(
      userKeys.includes(key)
        ? `Not taken over: ${JSON.stringify(key)} in ${place.path} counts only in your own config.toml`
        : machineKeys.includes(key)
          ? `Not taken over: ${JSON.stringify(key)} in ${place.path} counts only in /etc/vml/config.toml`
          : `Not taken over: ${JSON.stringify(key)} in ${place.path} is no setting of VML`,
    )
  }
  const transactions = allowed.includes('transactions') ? tableAt(table, 'transactions', place) : {}
  for (const key of Object.keys(transactions))
    if (!transactionKeys.includes(key))
      warnings.push(
        `Not taken over: ${JSON.stringify(`transactions.${key}`)} in ${place.path} is no setting of VML`,
      )
  const own: Record<string, unknown> = Object.fromEntries(
    Object.entries(table).filter(([key]) => allowed.includes(key)),
  )
  const images = tableAt(own, 'images', place)
  const open = tableAt(own, 'open', place)
  const accelerator = textAt(open, 'accelerator', place, 'open')
  const known = accelerators.find((name) => name === accelerator)
  if (accelerator !== undefined && known === undefined)
    throw badSetting(place, 'open.accelerator', `"auto", "kvm" or "tcg"`)
  const readOnly = own['read_only']
  if (readOnly !== undefined && typeof readOnly !== 'boolean')
    throw badSetting(place, 'read_only', 'true or false')
  return {
    values: {
      ...optional('logbook', textAt(own, 'logbook', place)),
      ...optional('project', textAt(own, 'project', place)),
      ...optional('machine', textAt(own, 'machine', place)),
      ...optional('passwordFile', textAt(own, 'password_file', place)),
      ...optional('passwordCommand', textAt(own, 'password_command', place)),
      ...optional('sshConfig', textAt(own, 'ssh_config', place)),
      machines: parseMachines(tableAt(own, 'machines', place), place),
      policies: parsePolicies(tableAt(own, 'policies', place), (key, wanted) =>
        badSetting(place, key, wanted),
      ),
      catalogues: textsAt(images, 'catalogues', place, 'images'),
      ...optional('accelerator', known),
      ...optional(
        'memoryMiB',
        numberAt(open, 'memory_mib', place, { above: 'open', what: 'a number of MiB' }),
      ),
      ...optional('limitUpload', numberAt(own, 'limit_upload', place, { what: perSecond })),
      ...optional('limitDownload', numberAt(own, 'limit_download', place, { what: perSecond })),
      ...optional('readOnly', readOnly),
      transactions: parseTransactionSettings(tableAt(own, 'transactions', place), place),
    },
    warnings,
  }
}

function parseTransactionSettings(table: Record<string, unknown>, place: Place): TransactionSettings {
  const above = 'transactions'
  const pools = textsAt(table, 'pools', place, above)
  if (pools.some((pool) => !pool.startsWith('/')))
    throw badSetting(place, `${above}.pools`, 'a list of absolute paths')
  const snapshots = textsAt(table, 'snapshots', place, above)
  if (snapshots.some((address) => !/^https?:\/\//.test(address)))
    throw badSetting(place, `${above}.snapshots`, 'a list of http addresses')
  const text = textAt(table, 'budget', place, above)
  const budget = text === undefined ? undefined : parseBudget(text)
  if (text !== undefined && budget === undefined)
    throw badSetting(place, `${above}.budget`, 'a share such as "8%" or a size such as "20G"')
  return { pools, snapshots, ...optional('budget', budget) }
}

function parseToml(text: string, place: Place): Record<string, unknown> {
  try {
    return parse(text)
  } catch (error) {
    const [what = ''] = messageOf(error).split('\n', 1)
    const line =
      error instanceof Error && 'line' in error && typeof error.line === 'number' ? error.line : undefined
    const where = line === undefined ? place.path : `${place.path}, line ${line}`
    throw new VmlError('usage', `Cannot read ${where}: ${what}`, {
      details: { path: place.path, ...(line === undefined ? {} : { line }) },
      hint: 'Correct the file; docs/guide/configuration.md has every setting',
      cause: error,
    })
  }
}

function parseMachines(table: Record<string, unknown>, place: Place): ReadonlyMap<string, Machine> {
  const machines = new Map<string, Machine>()
  for (const name of Object.keys(table)) {
    const key = `machines.${name}`
    if (!isMachineName(name)) throw badSetting(place, key, 'named by letters, digits, ".", "_" and "-"')
    const entry = tableAt(table, name, place, 'machines')
    const addressText = textAt(entry, 'address', place, key) ?? ''
    const address = parseMachineAddress(addressText)
    if (!address) throw badSetting(place, `${key}.address`, '"ssh://USER@HOST:PORT" or "local:"')
    const imageText = textAt(entry, 'image', place, key)
    const image = imageText === undefined ? undefined : parseImageReference(imageText)
    if (imageText !== undefined && !image) throw badSetting(place, `${key}.image`, '"NAME@VERSION"')
    machines.set(name, { name, address, ...(image ? { image } : {}) })
  }
  return machines
}

function tableAt(
  table: Record<string, unknown>,
  key: string,
  place: Place,
  above?: string,
): Record<string, unknown> {
  const value = table[key]
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date)
    throw badSetting(place, above === undefined ? key : `${above}.${key}`, 'a table')
  return Object.fromEntries(Object.entries(value))
}

function textAt(
  table: Record<string, unknown>,
  key: string,
  place: Place,
  above?: string,
): string | undefined {
  const value = table[key]
  if (value === undefined || (typeof value === 'string' && value !== '' && !value.includes('\0')))
    return value
  throw badSetting(place, above === undefined ? key : `${above}.${key}`, 'a text that is not empty')
}

const perSecond = 'a whole number of KiB a second, above 0'

/** Whole and above 0. */
function numberAt(
  table: Record<string, unknown>,
  key: string,
  place: Place,
  { above, what }: { readonly above?: string; readonly what: string },
): number | undefined {
  const value = table[key]
  if (value === undefined || (typeof value === 'number' && Number.isSafeInteger(value) && value > 0))
    return value
  throw badSetting(place, above === undefined ? key : `${above}.${key}`, what)
}

function textsAt(
  table: Record<string, unknown>,
  key: string,
  place: Place,
  above: string,
): readonly string[] {
  const value: unknown = table[key] ?? []
  if (Array.isArray(value)) {
    const texts = value.filter((item) => typeof item === 'string')
    if (texts.length === value.length) return texts
  }
  throw badSetting(place, `${above}.${key}`, 'a list of texts')
}

function badSetting(place: Place, key: string, wanted: string): VmlError {
  return new VmlError('usage', `Cannot use ${JSON.stringify(key)} in ${place.path}: it must be ${wanted}`, {
    details: { path: place.path, key },
  })
}

function optional<Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } {
  return value === undefined ? {} : ({ [key]: value } as { [K in Key]?: Value })
}
