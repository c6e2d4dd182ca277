// How the data of a service goes from one version of its package to another, where each has a form of its own (C05, C06).
import { isAbsolutePlain } from './plain-path.ts'
import {
  type Check,
  convert,
  count,
  flag,
  isMisfit,
  listOf,
  type Misfit,
  misfit,
  objectOf,
  oneOf,
  optional,
  suchThat,
  textOf,
} from './field-check.ts'

export interface StateHook {
  /** Of its file, or of those that VML brings. */
  readonly name: string
  /** Of packages, with at most one `*`. */
  readonly package: string
  /** The first group of what it finds in a version names the form of the data; where that stays the same there is nothing to do. Without it each version has a form of its own. */
  readonly format?: RegExp | undefined
  /** Folders with the data; a `*` stands for what that of `package` stands for. They are empty when `import` begins. */
  readonly data: readonly string[]
  /** Units of systemd that use it, besides those of which files change: they stand still meanwhile. */
  readonly units: readonly string[]
  /** When `export` runs: `stopped`, after those were stopped; `running`, before. */
  readonly service: 'stopped' | 'running'
  /** A line of shell: writes the state to its standard output, with the version that goes. */
  readonly export: string
  /** A line of shell: makes the data of what it reads from standard input, with the version that comes. */
  readonly import: string
  readonly exportSeconds: number
  readonly importSeconds: number
  /** What a person types to bring the data of one package to another one that the pattern names, where that has data of its own. */
  readonly byHand?: ((packages: { readonly from: string; readonly to: string }) => string) | undefined
}

const lineCharactersMax = 64 * 1024
const foldersMax = 100
const unitsMax = 100
/** Two days: large databases take hours. */
const secondsMax = 172_800
const secondsDefault = 3600

const seconds = suchThat(count, (value) => value > 0 && value <= secondsMax, `not from 1 to ${secondsMax}`)
const command = textOf({ charactersMax: lineCharactersMax, pattern: /^[^\0]*[^\0\s][^\0]*$/ })
const expression: Check<RegExp> = convert(textOf({ charactersMax: 200 }), (source) => {
  try {
    return new RegExp(source)
  } catch {
    return misfit('no regular expression')
  }
})

const fields = {
  package: textOf({ pattern: /^[a-z0-9+.-]*\*?[a-z0-9+.-]*$/, charactersMax: 200 }),
  format: optional(expression),
  data: suchThat(
    listOf(suchThat(textOf({}), isAbsolutePlain, 'no absolute path of a folder'), foldersMax),
    (list) => list.length > 0,
    'empty',
  ),
  units: optional(listOf(textOf({ pattern: /^[A-Za-z0-9:_.@\\-]{1,200}\.(?:service|socket)$/ }), unitsMax)),
  service: optional(oneOf('stopped', 'running')),
  export: command,
  import: command,
  export_seconds: optional(seconds),
  import_seconds: optional(seconds),
  by_hand: optional(textOf({ charactersMax: 1000 })),
  enabled: optional(flag),
}
const check = objectOf(fields)

/** As it stands in a file. What a field of the name is already known for may be left out. */
export type StateHookFields = Readonly<Record<string, unknown>>

/** Undefined where it is switched off. A field that nobody knows is a mistake: it would have been meant to do something. */
export function parseStateHook(name: string, given: StateHookFields): StateHook | undefined | Misfit {
  for (const field of Object.keys(given))
    if (!Object.hasOwn(fields, field)) return misfit('no such field', [field])
  const read = check(given)
  if (isMisfit(read)) return read
  if (read.enabled === false) return undefined
  const stars = read.package.includes('*')
  const loose = read.data.findIndex((folder) => folder.includes('*') && !stars)
  if (loose !== -1) return misfit('a * where "package" has none', ['data', loose])
  return {
    name,
    package: read.package,
    format: read.format,
    data: read.data,
    units: read.units ?? [],
    service: read.service ?? 'stopped',
    export: read.export,
    import: read.import,
    exportSeconds: read.export_seconds ?? secondsDefault,
    importSeconds: read.import_seconds ?? secondsDefault,
    byHand: byHandOf(read.package, read.by_hand),
  }
}

/** `{from}` and `{to}` stand for what the pattern's star stands for. */
function byHandOf(pattern: string, line: string | undefined): StateHook['byHand'] {
  if (line === undefined) return undefined
  return ({ from, to }) =>
    line
      .replaceAll('{from}', () => starOf(pattern, from) ?? from)
      .replaceAll('{to}', () => starOf(pattern, to) ?? to)
}

/** The folders that a package of that name has its data in; undefined where the hook is not about it. */
export function dataOf({ package: pattern, data }: StateHook, name: string): readonly string[] | undefined {
  if (!pattern.includes('*')) return name === pattern ? data : undefined
  const star = starOf(pattern, name)
  // No name of a package has a slash; these two would be other folders.
  if (star === undefined || star === '.' || star === '..') return undefined
  return data.map((folder) => folder.replaceAll('*', star))
}

/** What the pattern's `*` stands for in a name; undefined where it does not fit, or has none. */
function starOf(pattern: string, name: string): string | undefined {
  const [head = '', tail] = pattern.split('*')
  const fits = tail !== undefined && name.length >= head.length + tail.length
  return fits && name.startsWith(head) && name.endsWith(tail)
    ? name.slice(head.length, name.length - tail.length)
    : undefined
}

/** Whether data of the one version has another form than that of the other. */
export function changesForm({ format }: StateHook, from: string, to: string): boolean {
  return formOf(format, from) !== formOf(format, to)
}

function formOf(format: RegExp | undefined, version: string): string {
  const found = format?.exec(version)
  return found ? (found[1] ?? found[0]) : version
}
