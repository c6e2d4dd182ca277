// Whose a path is, by dpkg's own database: packages, the paths that they list, checksums, conffiles, diversions.
import { VmlError } from '../base/failure.ts'
import { rawToBytes } from '../base/raw-text.ts'
import { baseName, entryPathsMax, parentPath, type RawPath } from '../model/raw-path.ts'
import {
  type DpkgDatabase,
  type DpkgPackage,
  type DpkgRecord,
  pathsOf,
  readDpkgDatabase,
  underRoot,
} from './dpkg-database.ts'
import { readDiversions, type Diversion } from './dpkg-diversions.ts'
import { readAliases, underAliases, withoutUsr } from './merged-folders.ts'

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
  /** Where what packages list at that path lies elsewhere. */
  diversionOf(path: RawPath): Diversion | undefined
  /** All paths of a package where they lie on the machine, with their checksums: for a verification. */
  filesOf(key: string): Iterable<PackagedFile & { readonly path: RawPath }>
}

interface Owning {
  readonly record: DpkgRecord
  readonly inside: RawPath
}

/** `root` is a folder of this host, `/` or a chroot. `not-found` where it has no database. Lists are read now, checksums when asked for. */
export function readDpkgFiles(root: RawPath): DpkgFiles {
  return dpkgFilesOf(
    readDpkgDatabase(root),
    readAliases((path) => rawToBytes(underRoot(root, path))),
  )
}

/** `aliases` are folders of the root that are links to those of the same name below /usr. */
export function dpkgFilesOf(database: DpkgDatabase, aliases: ReadonlySet<string>): DpkgFiles {
  const { records } = database
  const placeOf = (path: RawPath) => underAliases(path, aliases)
  const diversions = readDiversions(database.diversions, placeOf)
  // Of packages before a change, only what goes is asked for.
  let known: ReturnType<typeof readOwners> | undefined
  const owners = () => (known ??= readOwners(records, placeOf))
  const byKey = new Map(records.map((record) => [record.package.key, record]))

  function listing(place: RawPath): Owning[] {
    const found = owners().get(place)
    if (found === undefined) return []
    return (typeof found === 'number' ? [found] : found).flatMap((code) => {
      const record = records[code >> 1]
      // The low bit says that the package lists it by the folder's old name.
      return record === undefined ? [] : [{ record, inside: (code & 1) === 1 ? withoutUsr(place) : place }]
    })
  }
  function owning(path: RawPath): Owning[] {
    const place = placeOf(path)
    const diverted = diversions.byTarget.get(place)
    // What lies at a diversion's target is the file of everybody else who lists the diverted path, or who lists the target itself.
    const moved =
      diverted === undefined
        ? []
        : listing(diverted.path).filter(({ record }) => !isDiverter(diverted, record))
    const own = diversions.byPath.get(place)
    const plain =
      own === undefined ? listing(place) : listing(place).filter(({ record }) => isDiverter(own, record))
    return [...moved, ...plain]
  }
  function describe({ record, inside }: Owning): PackagedFile {
    const md5 = database.sumsOf(record).get(inside)
    const isConffile = record.conffiles.has(inside)
    return { package: record.package, inside, ...(md5 === undefined ? {} : { md5 }), isConffile }
  }
  return {
    packages: records.map((record) => record.package),
    ownersOf: (path) => owning(path).map(({ record, inside }) => ({ package: record.package, inside })),
    fileOf(path) {
      const [first, ...others] = owning(path).map(describe)
      if (first === undefined) return controlFileOf(path, byKey)
      // Files that packages of several architectures share are the same in all of them.
      const isOne = others.every(
        ({ md5, package: { name } }) => md5 === first.md5 && name === first.package.name,
      )
      return isOne ? first : undefined
    },
    diversionOf: (path) => diversions.byPath.get(placeOf(path)),
    *filesOf(key) {
      const record = byKey.get(key)
      if (record === undefined) return
      for (const inside of pathsOf(record.list)) {
        const place = placeOf(inside)
        const diversion = diversions.byPath.get(place)
        const path = diversion === undefined || isDiverter(diversion, record) ? place : diversion.target
        yield { ...describe({ record, inside }), path }
      }
    },
  }
}

function isDiverter({ package: name }: Diversion, record: DpkgRecord): boolean {
  return name !== undefined && record.package.name === name
}

/** By place: `index * 2`, and 1 more where the package lists it by the old name; several in a list. */
function readOwners(
  records: readonly DpkgRecord[],
  place: (path: RawPath) => RawPath,
): ReadonlyMap<RawPath, number | number[]> {
  const owners = new Map<RawPath, number | number[]>()
  for (const [index, { list }] of records.entries())
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

const infoFolder = '/var/lib/dpkg/info' as RawPath
/** Made by dpkg itself, not taken from the package. */
const madeByDpkg = new Set(['list'])

/** The control archive's own files lie in `info/`; within the package they are told as `/DEBIAN/NAME`, as dpkg-deb does. */
function controlFileOf(path: RawPath, byKey: ReadonlyMap<string, DpkgRecord>): PackagedFile | undefined {
  if (parentPath(path) !== infoFolder) return undefined
  const name = baseName(path)
  const dot = name.lastIndexOf('.')
  const ending = name.slice(dot + 1)
  const owner = dot <= 0 || madeByDpkg.has(ending) ? undefined : byKey.get(name.slice(0, dot))
  return owner && { package: owner.package, inside: `/DEBIAN/${ending}` as RawPath, isConffile: false }
}
