// dpkg's database of a root, as it lies in /var/lib/dpkg: packages, what they list, checksums, conffiles.
import { readdirSync, readFileSync } from 'node:fs'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { printable, rawFromBytes, rawFromString, rawToBytes, type RawText } from '../base/raw-text.ts'
import { controlParagraphs } from '../model/control-paragraph.ts'
import { parseMd5sums } from '../model/md5sums.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'

export interface DpkgPackage {
  readonly name: string
  readonly version: string
  readonly architecture: string
  /** `installed`, `config-files`, … (dpkg(1), "Package states"). */
  readonly state: string
  /** Under which its files lie in `info/`: the name, with the architecture where several may be installed. */
  readonly key: string
}

/** Of one package, in the order of the database. */
export interface DpkgRecord {
  readonly package: DpkgPackage
  /** Checksums of the conffiles as this version brought them; undefined for those that it no longer brings. */
  readonly conffiles: ReadonlyMap<RawPath, string | undefined>
  /** The paths that it lists, one line each. */
  readonly list: string
}

export interface DpkgDatabase {
  readonly records: readonly DpkgRecord[]
  /** The text of diversions; empty where there are none. */
  readonly diversions: RawText
  /** By the path that the package lists: of files, conffiles too. Read when asked for. */
  sumsOf(record: DpkgRecord): ReadonlyMap<RawPath, string>
}

/** dpkg's database of the largest of machines is some 100 MB; a single list of linux-headers has 2 MB. */
const fileBytesMax = 256 * 1024 * 1024
const packagesMax = 200_000

const statusKeys = new Set(['package', 'version', 'architecture', 'multi-arch', 'status', 'conffiles'])

/** `root` is a folder of this host, `/` or a chroot. `not-found` where it has no database. */
export function readDpkgDatabase(root: RawPath): DpkgDatabase {
  const folder = underRoot(root, '/var/lib/dpkg' as RawPath)
  const status = readText(`${folder}/status`)
  if (status === undefined)
    throw new VmlError(
      'not-found',
      `Cannot read the packages of "${printable(root)}": it has no database of dpkg`,
    )
  return dpkgDatabaseOf({
    status,
    diversions: readText(`${folder}/diversions`),
    infoNames: new Set(readdirSync(rawToBytes(`${folder}/info` as RawText), 'latin1')),
    readInfo: (name) => readText(`${folder}/info/${name}`),
  })
}

/** The files of a database, wherever they lie. */
export interface DpkgDatabaseFiles {
  readonly status: RawText
  readonly diversions: RawText | undefined
  /** What lies in `info/`. */
  readonly infoNames: ReadonlySet<string>
  readInfo(name: string): RawText | undefined
}

export function dpkgDatabaseOf(files: DpkgDatabaseFiles): DpkgDatabase {
  const { status, infoNames: names } = files
  const readInfo = (name: string): RawText =>
    (names.has(name) ? files.readInfo(name) : undefined) ?? rawFromString('')
  const sums = new Map<DpkgRecord, ReadonlyMap<RawPath, string>>()
  return {
    records: readStatus(status, names).map((record) => ({
      ...record,
      list: readInfo(`${record.package.key}.list`),
    })),
    diversions: files.diversions ?? rawFromString(''),
    sumsOf(record) {
      const known = sums.get(record)
      if (known !== undefined) return known
      const found = parseMd5sums(readInfo(`${record.package.key}.md5sums`))
      for (const [path, md5] of record.conffiles) if (md5 !== undefined) found.set(path, md5)
      sums.set(record, found)
      return found
    },
  }
}

/** `root` and an absolute path below it, as one path of this host. */
export function underRoot(root: RawPath, path: RawPath): RawPath {
  return (root === '/' ? path : `${root}${path}`) as RawPath
}

function readText(path: RawText | string): RawText | undefined {
  try {
    const bytes = readFileSync(Buffer.from(path, 'latin1'))
    if (bytes.length > fileBytesMax)
      throw new VmlError(
        'integrity.format',
        `Cannot read "${printable(path as RawText)}": it has more than ${fileBytesMax} bytes`,
      )
    return rawFromBytes(bytes)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function readStatus(status: RawText, infoNames: ReadonlySet<string>): Omit<DpkgRecord, 'list'>[] {
  const found: Omit<DpkgRecord, 'list'>[] = []
  for (const fields of controlParagraphs(status, { keys: statusKeys, what: 'the database of dpkg' })) {
    const name = fields.get('package') ?? ''
    const version = fields.get('version') ?? ''
    const architecture = fields.get('architecture') ?? ''
    const state = fields.get('status')?.split(/\s+/)[2] ?? ''
    if (state === 'not-installed' || version === '') continue
    if (
      !/^[a-z0-9][a-z0-9+.-]*$/i.test(name) ||
      !/^[a-z0-9-]+$/i.test(architecture) ||
      found.length === packagesMax
    )
      throw new VmlError(
        'integrity.format',
        'Cannot read the database of dpkg: a package has no sensible name, or there are too many',
      )
    const both = `${name}:${architecture}`
    const key = infoNames.has(`${both}.list`) ? both : name
    found.push({
      package: { name, version, architecture, state, key },
      conffiles: parseConffiles(fields.get('conffiles') ?? ''),
    })
  }
  return found
}

/**
 * ` /path md5 [obsolete] [remove-on-upgrade]`. `newconffile` stands where the file is not there yet, `obsolete` where the package no
 * longer brings it: then the checksum is an older version's, and none of this one's.
 */
function parseConffiles(value: string): Map<RawPath, string | undefined> {
  const found = new Map<RawPath, string | undefined>()
  for (const line of value.split('\n')) {
    const [, path = '', md5, flags = ''] =
      /^(\/.*?) ([0-9a-f]{32}|newconffile)((?: obsolete| remove-on-upgrade)*)$/.exec(line) ?? []
    const place = parseRawPath(path as RawText)
    if (place !== undefined) found.set(place, flags === '' && md5 !== 'newconffile' ? md5 : undefined)
  }
  return found
}

/** The paths of a package's list, in their one form. */
export function* pathsOf(list: string): Iterable<RawPath> {
  for (const line of list.split('\n')) {
    // dpkg writes paths in their one form already, but for the root.
    const path =
      line === '/.' ? ('/' as RawPath) : isPlain(line) ? (line as RawPath) : parseRawPath(line as RawText)
    if (path !== undefined) yield path
  }
}

function isPlain(line: string): boolean {
  return (
    line.startsWith('/') &&
    line.length > 1 &&
    !line.endsWith('/') &&
    !line.includes('//') &&
    !line.includes('/.')
  )
}
