// What rpm's database says of all packages at one moment: which there are, and whose each path is.
import { lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { asRaw, rawFromString, rawToBytes } from '../base/raw-text.ts'
import type { InstalledPackage } from '../model/packages.ts'
import { joinPath, parseRawPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import { openRpmHeader } from '../wire/rpm-header.ts'
import { readListedFiles } from '../wire/rpm-listed-files.ts'
import { rpmVersion } from '../wire/rpm-package.ts'
import { underRoot } from './dpkg-database.ts'
import { readAliases, underAliases, withoutUsr } from './merged-folders.ts'
import type { PackageHost, PackageState } from './package-system.ts'
import { copyRpmDatabase } from './rpm-database.ts'
import type { RpmListed } from './rpm-database-change.ts'
import { exportRpmDatabase } from './rpm-headers.ts'

export interface RpmPackages extends PackageState {
  readonly manager: 'rpm'
  /** By id. */
  readonly listed: ReadonlyMap<string, RpmListed>
  /** Where the database lies on this host, for who needs more of it. */
  readonly source: RawPath
}

/** Where distributions have it: Fedora and SUSE of today in the first, others in the second, which may be a link to the first. */
export const rpmFolders: readonly RawPath[] = ['usr/lib/sysimage/rpm', 'var/lib/rpm'].map(
  (name) => parseRawPath(rawFromString(`/${name}`)) ?? rootPath,
)
/** SQLite's, ndb's, Berkeley's (rpm, docs/man/rpm.8: "Database"). */
const databaseNames = ['rpmdb.sqlite', 'Packages.db', 'Packages']

/** All that one of them consists of. */
export const databaseFileNames = [...databaseNames, 'rpmdb.sqlite-wal', 'Index.db']

/** The folder from the root; undefined where there is no database. */
export function rpmFolderOf(root: RawPath): RawPath | undefined {
  return rpmFolders.find(
    (folder) =>
      lstatSync(rawToBytes(underRoot(root, folder)), { throwIfNoEntry: false })?.isDirectory() === true &&
      databaseNames.some((name) => isFile(below(underRoot(root, folder), name))),
  )
}

function isFile(path: RawPath): boolean {
  return lstatSync(rawToBytes(path), { throwIfNoEntry: false })?.isFile() === true
}

/** Another one whenever the database was written to: readers only touch its lock and the index of its log. */
export function rpmDatabaseMark(source: RawPath): string {
  const marks = readdirSync(rawToBytes(source), 'latin1')
    .filter((name) => name !== '.rpm.lock' && !name.endsWith('-shm'))
    .toSorted()
    .map((name) => {
      const path = Buffer.from(`${source}/${name}`, 'latin1')
      const status = lstatSync(path, { bigint: true, throwIfNoEntry: false })
      return status && [name, status.dev, status.ino, status.size, status.mtimeNs, status.ctimeNs].join(' ')
    })
  return [source, ...marks].join('\n')
}

export function below(folder: RawPath, name: string): RawPath {
  return joinPath(folder, rawFromString(name) as string as RawName)
}

/** A private folder that is gone when `work` has ended. */
export async function withScratch<Result>(
  { state }: PackageHost,
  work: (folder: string) => Promise<Result>,
): Promise<Result> {
  const folder = mkdtempSync(`${state}/rpm-`)
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Of a copy: rpm writes into a folder that it reads. */
export async function readRpmPackages(host: PackageHost, source: RawPath): Promise<RpmPackages> {
  const { shell, signal, root } = host
  const aliases = readAliases((path) => rawToBytes(asRaw(underRoot(root, path))))
  const listed = new Map<string, RpmListed>()
  const entries: RpmListed[] = []
  const owners = new Map<RawPath, number | number[]>()
  await withScratch(host, async (scratch) => {
    const copy = `${scratch}/database`
    await copyRpmDatabase(shell, { from: source, to: copy, signal })
    for await (const { header, ...entry } of exportRpmDatabase(shell, copy, { signal })) {
      listed.set(entry.id, entry)
      const at = entries.push(entry) - 1
      for (const { path, isConfiguration } of readListedFiles(
        openRpmHeader(header, 'a header of the database'),
      )) {
        const place = underAliases(path, aliases)
        addOwner(
          owners,
          place,
          at * flags + (isConfiguration ? configurationFlag : 0) + (place === path ? 0 : oldNameFlag),
        )
      }
    }
  })
  const codesOf = (path: RawPath): readonly number[] => {
    const found = owners.get(underAliases(path, aliases))
    return found === undefined ? [] : typeof found === 'number' ? [found] : found
  }
  const entryOf = (code: number) => entries[Math.floor(code / flags)]
  const ownersOf = (path: RawPath) => codesOf(path).flatMap((code) => entryOf(code)?.name ?? [])
  return {
    manager: 'rpm',
    listed,
    source,
    packages: installedOf(listed),
    // Each package is in the database, or it is not.
    unfinished: [],
    ownersOf,
    packageOf: (path) => ownersOf(path)[0],
    isConfiguration: (path) => codesOf(path).some((code) => (code & configurationFlag) !== 0),
    files: {
      // Of those that share a file each has the same.
      fileOf(path) {
        const [code] = codesOf(path)
        const entry = code === undefined ? undefined : entryOf(code)
        if (code === undefined || entry === undefined) return undefined
        const place = underAliases(path, aliases)
        return {
          package: packageOf(entry),
          inside: (code & oldNameFlag) === 0 ? place : withoutUsr(place),
        }
      },
    },
  }
}

/** An owner is the place of its package in the list, and two bits: it calls the path configuration; it lists it by the folder's old name. */
const [flags, configurationFlag, oldNameFlag] = [4, 1, 2]

function addOwner(owners: Map<RawPath, number | number[]>, path: RawPath, code: number): void {
  const there = owners.get(path)
  if (there === undefined) owners.set(path, code)
  else if (typeof there === 'number') owners.set(path, [there, code])
  else there.push(code)
}

function packageOf(entry: RpmListed): InstalledPackage {
  return { name: entry.name, version: rpmVersion(entry), architecture: entry.architecture }
}

function installedOf(listed: ReadonlyMap<string, RpmListed>): InstalledPackage[] {
  return [...listed.values()]
    .map(packageOf)
    .toSorted(
      (one, other) =>
        compare(one.name, other.name) ||
        compare(one.architecture, other.architecture) ||
        compare(one.version, other.version),
    )
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}
