// Whose a path is, by dpkg's own database: packages, the paths that they list, checksums, conffiles, diversions.
import { readdirSync, readFileSync } from 'node:fs'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { printable, rawFromBytes, rawFromString, rawToBytes, type RawText } from '../base/raw-text.ts'
import { controlParagraphs } from '../model/control-paragraph.ts'
import { parseMd5sums } from '../model/md5sums.ts'
import {
  baseName,
  entryPathsMax,
  isWithin,
  parentPath,
  parseRawPath,
  type RawPath,
} from '../model/raw-path.ts'
import { readDiversions, type Diversion } from './dpkg-diversions.ts'
import { readAliases, underAliases } from './merged-folders.ts'

export interface DpkgPackage {
  readonly name: string
  readonly version: string
  readonly architecture: string
  /** `installed`, `config-files`, … (dpkg(1), "Package states"). */
  readonly state: string
  /** Under which its files lie in `info/`: the name, with the architecture where several may be installed. */
  readonly key: string
}

/** A path as one package has it. */
export interface PackagedPath {
  readonly package: DpkgPackage
  /** As the package names it: before diversions, and before `/bin` became a link. */
  readonly inside: RawPath
}

/** A path with what dpkg knows of the content that the package brought. */
export interface PackagedFile extends PackagedPath {
  /** Of the content in the package. Absent for folders, links and what the package has no checksum of. */
  readonly md5?: string
  readonly isConffile: boolean
}

export interface DpkgFiles {
  readonly packages: readonly DpkgPackage[]
  /** Several for folders and for what packages share; none where no package has it. */
  ownersOf(path: RawPath): readonly PackagedPath[]
  /** The file that lies there, where exactly one package says that it brought it. */
  fileOf(path: RawPath): PackagedFile | undefined
  /** All paths of a package where they lie on the machine, with their checksums: for a verification. */
  filesOf(key: string): Iterable<PackagedFile & { readonly path: RawPath }>
}

/** dpkg's database of the largest of machines is some 100 MB; a single list of linux-headers has 2 MB. */
const fileBytesMax = 256 * 1024 * 1024
const packagesMax = 200_000

const statusKeys = new Set(['package', 'version', 'architecture', 'multi-arch', 'status', 'conffiles'])

/** `root` is a folder of this host, `/` or a chroot. `not-found` where it has no database; lists are read now, checksums when asked for. */
export function readDpkgFiles(root: RawPath): DpkgFiles {
  const database = under(root, '/var/lib/dpkg')
  const status = readText(`${database}/status`)
  if (status === undefined)
    throw new VmlError(
      'not-found',
      `Cannot read the packages of "${printable(root)}": it has no database of dpkg`,
    )
  const aliases = readAliases((path) => rawToBytes(under(root, path)))
  const diversions = readDiversions(readText(`${database}/diversions`) ?? rawFromString(''), (path) =>
    underAliases(path, aliases),
  )
  const infoNames = new Set(readdirSync(rawToBytes(`${database}/info` as RawText), 'latin1'))
  const read = readPackages(status, infoNames)
  const lists = read.map(({ package: { key } }) =>
    infoNames.has(`${key}.list`) ? (readText(`${database}/info/${key}.list`) ?? '') : '',
  )
  const owners = readOwners(lists, (path) => underAliases(path, aliases))
  const indexByKey = new Map(read.map(({ package: { key } }, index) => [key, index]))
  const sums = new Map<number, ReadonlyMap<RawPath, string>>()

  function sumsOf(index: number): ReadonlyMap<RawPath, string> {
    let found = sums.get(index)
    if (found === undefined) {
      const key = read[index]?.package.key ?? ''
      const name = `${key}.md5sums`
      const text = infoNames.has(name) ? readText(`${database}/info/${name}`) : undefined
      const all = parseMd5sums(text ?? rawFromString(''))
      for (const [path, md5] of read[index]?.conffiles ?? []) if (md5 !== undefined) all.set(path, md5)
      found = all
      sums.set(index, found)
    }
    return found
  }
  function listing(place: RawPath): { index: number; inside: RawPath }[] {
    const found = owners.get(place)
    if (found === undefined) return []
    return (typeof found === 'number' ? [found] : found).map((code) => ({
      index: code >> 1,
      // The low bit says that the package lists it by the folder's old name.
      inside: (code & 1) === 1 ? withoutUsr(place) : place,
    }))
  }
  function owning(path: RawPath): { index: number; inside: RawPath }[] {
    const place = underAliases(path, aliases)
    const diverted = diversions.byTarget.get(place)
    // What lies at a diversion's target is the file of everybody else who lists the diverted path, or who lists the target itself.
    const moved =
      diverted === undefined ? [] : listing(diverted.path).filter(({ index }) => !isOwner(diverted, index))
    const own = diversions.byPath.get(place)
    const plain =
      own === undefined ? listing(place) : listing(place).filter(({ index }) => isOwner(own, index))
    return [...moved, ...plain]
  }
  function isOwner({ package: name }: Diversion, index: number): boolean {
    return name !== undefined && read[index]?.package.name === name
  }
  function describe({ index, inside }: { index: number; inside: RawPath }): PackagedFile[] {
    const found = read[index]
    if (found === undefined) return []
    const md5 = sumsOf(index).get(inside)
    return [
      {
        package: found.package,
        inside,
        ...(md5 === undefined ? {} : { md5 }),
        isConffile: found.conffiles.has(inside),
      },
    ]
  }
  return {
    packages: read.map(({ package: one }) => one),
    ownersOf: (path) =>
      owning(path).flatMap(({ index, inside }) => {
        const found = read[index]
        return found === undefined ? [] : [{ package: found.package, inside }]
      }),
    fileOf(path) {
      const owned = owning(path)
      const control =
        owned.length === 0
          ? controlFileOf(
              path,
              read.map(({ package: one }) => one),
            )
          : undefined
      if (control !== undefined) return control
      const files = owned.flatMap(describe)
      // Files that packages of several architectures share are the same in all of them.
      const [first, ...others] = files
      return others.every(({ md5, package: { name } }) => md5 === first?.md5 && name === first?.package.name)
        ? first
        : undefined
    },
    *filesOf(key) {
      const index = indexByKey.get(key)
      if (index === undefined) return
      for (const inside of pathsOf(lists[index] ?? '')) {
        const place = underAliases(inside, aliases)
        const diversion = diversions.byPath.get(place)
        const path = diversion === undefined || isOwner(diversion, index) ? place : diversion.target
        for (const file of describe({ index, inside })) yield { ...file, path }
      }
    },
  }
}

/** `root` and an absolute path below it, as one path of this host. */
function under(root: RawPath, path: RawText | '/var/lib/dpkg'): RawText {
  return (root === '/' ? path : `${root}${path}`) as RawText
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

interface ReadPackage {
  readonly package: DpkgPackage
  /** Checksums of the conffiles as the package brought them last. */
  readonly conffiles: ReadonlyMap<RawPath, string | undefined>
}

function readPackages(status: RawText, infoNames: ReadonlySet<string>): ReadPackage[] {
  const found: ReadPackage[] = []
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

function* pathsOf(list: string): Iterable<RawPath> {
  for (let start = 0; start < list.length;) {
    const newline = list.indexOf('\n', start)
    const end = newline === -1 ? list.length : newline
    const line = list.slice(start, end)
    start = end + 1
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

/** By place: `index * 2`, and 1 more where the package lists it by the old name; several in a list. */
function readOwners(
  lists: readonly string[],
  place: (path: RawPath) => RawPath,
): ReadonlyMap<RawPath, number | number[]> {
  const owners = new Map<RawPath, number | number[]>()
  for (const [index, list] of lists.entries())
    for (const inside of pathsOf(list)) {
      const path = place(inside)
      const code = index * 2 + (path === inside ? 0 : 1)
      const there = owners.get(path)
      if (there === undefined) owners.set(path, code)
      else if (typeof there === 'number') owners.set(path, [there, code])
      else there.push(code)
      if (owners.size > entryPathsMax)
        throw new VmlError(
          'integrity.format',
          `Cannot read the database of dpkg: it lists more than ${entryPathsMax} paths`,
        )
    }
  return owners
}

function withoutUsr(path: RawPath): RawPath {
  return path.slice('/usr'.length) as RawPath
}

const infoFolder = '/var/lib/dpkg/info' as RawPath
/** Made by dpkg itself, not taken from the package. */
const madeByDpkg = new Set(['list'])

/** The control archive's own files lie in `info/`; within the package they are told as `/DEBIAN/NAME`, as dpkg-deb does. */
function controlFileOf(path: RawPath, packages: readonly DpkgPackage[]): PackagedFile | undefined {
  if (!isWithin(path, infoFolder) || parentPath(path) !== infoFolder) return undefined
  const name = baseName(path)
  const dot = name.lastIndexOf('.')
  const ending = name.slice(dot + 1)
  const owner =
    dot <= 0 || madeByDpkg.has(ending) ? undefined : packages.find(({ key }) => key === name.slice(0, dot))
  return owner && { package: owner, inside: `/DEBIAN/${ending}` as RawPath, isConffile: false }
}
