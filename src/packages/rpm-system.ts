// rpm and dnf as a package system: one database of headers, merged header by header and never as bytes; rpm itself judges what a merge gives.
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { printable, rawFromString, type RawText, rawToBytes } from '../base/raw-text.ts'
import { parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'
import { underRoot } from './dpkg-database.ts'
import {
  type DifferingFile,
  type PackageHost,
  type PackageProof,
  type PackageSystem,
  verifiedOf,
} from './package-system.ts'
import { copyRpmDatabase, readRpmDatabaseChange } from './rpm-database.ts'
import { rpmDatabaseFolder } from './rpm-headers.ts'
import { takeRpmLock } from './rpm-lock.ts'
import { type RpmVerifiedFile, verifyRpmFiles } from './rpm-proof.ts'
import { encodeRpmChange, rpmTransitions } from './rpm-records.ts'
import {
  below,
  databaseFileNames,
  readRpmPackages,
  rpmDatabaseMark,
  rpmFolderOf,
  rpmFolders,
  type RpmPackages,
  withScratch,
} from './rpm-state.ts'
import { planUndoOfRpm } from './rpm-undo.ts'

/** What was read is kept as long as the database is the same: a transaction asks for it many times, and 2000 packages take a second. */
export function openRpmSystem(): PackageSystem<RpmPackages> {
  const known = new Map<string, RpmPackages>()
  let canBeRead: boolean | undefined
  const system: PackageSystem<RpmPackages> = {
    ...withoutMemory,
    async preview(host, placeOf) {
      const folder = rpmFolderOf(host.root)
      const now = await system.read(host)
      if (folder === undefined || now === undefined) return []
      const planned = await readPlanned(host, folder, placeOf)
      return planned ? rpmTransitions(now.listed, planned.listed) : []
    },
    async read(host) {
      const folder = rpmFolderOf(host.root)
      if (folder === undefined || !(canBeRead ??= await canExport(host))) return undefined
      const source = underRoot(host.root, folder)
      const mark = rpmDatabaseMark(source)
      const before = known.get(mark)
      if (before) return before
      const read = await readRpmPackages(host, source)
      if (known.size >= knownMax) known.clear()
      // One that was written to meanwhile is read again the next time.
      if (rpmDatabaseMark(source) === mark) known.set(mark, read)
      return read
    },
  }
  return system
}

/** Undefined where nothing of the database would be another. */
async function readPlanned(
  host: PackageHost,
  folder: RawPath,
  placeOf: (path: RawPath) => RawText | undefined,
): Promise<RpmPackages | undefined> {
  return await withScratch(host, async (scratch) => {
    const together = below(parseRawPath(rawFromString(scratch)) ?? rootPath, 'planned')
    mkdirSync(rawToBytes(together), { mode: 0o700 })
    let isOther = false
    for (const name of databaseFileNames) {
      const path = below(folder, name)
      const place = placeOf(path)
      if (place === undefined) continue
      isOther ||= place !== underRoot(host.root, path)
      copyFileSync(rawToBytes(place), rawToBytes(below(together, name)))
    }
    return isOther ? await readRpmPackages(host, together) : undefined
  })
}

/** Before and after a transaction. */
const knownMax = 2

const withoutMemory: Omit<PackageSystem<RpmPackages>, 'read' | 'preview'> = {
  manager: 'rpm',
  databases: rpmFolders,
  isThere: (root) => rpmFolderOf(root) !== undefined,
  async keep(host, state, folder) {
    const source = below(folder, 'rpm')
    await copyRpmDatabase(host.shell, { from: state.source, to: source, signal: host.signal })
    return { ...state, source }
  },
  async readKept(host, folder) {
    const source = below(folder, 'rpm')
    return isFilled(source) ? await readRpmPackages(host, source) : undefined
  },
  transitions: (before, after) => rpmTransitions(before.listed, after.listed),
  async record(host, { before, after }) {
    const isSame =
      before.listed.size === after.listed.size &&
      [...before.listed.keys()].every((id) => after.listed.has(id))
    if (isSame) return new Map()
    return await withScratch(host, async (scratch) => {
      const { shell, signal } = host
      const change = { before: before.source, after: after.source, scratch, signal }
      return encodeRpmChange(await readRpmDatabaseChange(shell, change))
    })
  },
  async planUndo(host, now, undo) {
    const folder = rpmFolderOf(host.root)
    if (folder === undefined) throw new TypeError('A machine without a database of rpm has no packages of it')
    return await planUndoOfRpm(host, { now, folder }, undo)
  },
  prove: async (host, proof) => await prove(host, proof),
  async verify({ shell, signal }, installed) {
    const packages = installed.flatMap(({ name, version, architecture }) =>
      architecture === '(none)' ? [] : [`${name}-${version}.${architecture}`],
    )
    return (await verifyRpmFiles(shell, { packages, signal }))
      .filter(({ differs }) => contentDifferences.some((each) => differs.includes(each)))
      .map(asDiffering)
  },
  async lock(request) {
    const folder = rpmFolderOf(rootPath)
    if (folder === undefined)
      throw new VmlError('unsupported', 'Cannot change packages: there is no database of rpm')
    return await takeRpmLock(folder, request)
  },
}

/** Before 4.13 it cannot: then the database is a file as any other. */
async function canExport({ shell, signal }: PackageHost): Promise<boolean> {
  try {
    await rpmDatabaseFolder(shell, { signal })
    return true
  } catch (error) {
    if (error instanceof VmlError && error.code === 'unsupported') return false
    throw error
  }
}

function isFilled(folder: RawPath): boolean {
  try {
    return readdirSync(rawToBytes(folder)).length > 0
  } catch {
    return false
  }
}

const contentDifferences = ['missing', 'digest', 'link'] as const

function asDiffering({ path, isConfiguration, differs }: RpmVerifiedFile): DifferingFile {
  return { path, configuration: isConfiguration, missing: differs.includes('missing') }
}

async function prove(
  { shell, signal }: PackageHost,
  { transitions, isExpected }: Parameters<PackageSystem['prove']>[1],
): Promise<PackageProof> {
  const there = transitions.flatMap(({ name, to, architecture }) =>
    // Keys of signers have no files.
    to === undefined || architecture === '(none)' ? [] : [`${name}-${to}.${architecture}`],
  )
  const found = (await verifyRpmFiles(shell, { packages: there, signal }))
    .filter(({ differs }) => differs.length > 0)
    .map((file) => ({ ...file, ...asDiffering(file) }))
  const wrong = found.find((file) => !isExpected(file))
  if (wrong)
    return {
      validations: [],
      failure: {
        sentence: `"${printable(wrong.path)}" is not its package's`,
        details: { path: printable(wrong.path), differs: wrong.differs },
      },
    }
  return {
    validations: [{ name: 'rpm relations', outcome: 'passed' }, ...verifiedOf('rpm -V', there.length, found)],
  }
}
