// What an undo means for the packages, as each package system of the machine plans and judges it.
import type { RawPath } from '../model/raw-path.ts'
import { asSegments, type Segment } from '../model/tree.ts'
import type { BrokenDependency } from '../packages/broken-dependency.ts'
import type { PlannedPackages } from '../packages/package-system.ts'
import type { OpenLogbook } from '../engine/entries.ts'
import { fingerprintOf } from './end-stage.ts'
import { packageHostOf, type PackagesNow, systemOf, type SystemTransitions } from './packages-now.ts'
import type { TransactionContents } from './transaction-contents.ts'
import { readPackageRecords, type ReadTransaction, sha256Of } from './transaction-entry.ts'
import type { PlannedContent, PlannedPath, UndoPaths } from './undo-plan.ts'
import type { Workplace } from './workplace.ts'

export interface PackageUndo {
  readonly systems: readonly SystemTransitions[]
  /** With the files of databases that are written as a whole. */
  readonly paths: UndoPaths
  /** Names of packages that were changed again since. */
  readonly changedSince: readonly string[]
  readonly broken: readonly BrokenDependency[]
  readonly sentences: readonly string[]
  /** Of all systems: paths of packages that come back, or get another version, with how the package is had again by itself. */
  listed(): Promise<ReadonlyMap<RawPath, PackageRepair>>
}

/** Reads only. */
export async function planPackages(
  parts: {
    readonly place: Workplace
    readonly logbook: OpenLogbook
    readonly contents: TransactionContents
  },
  undo: {
    /** Newest first. */
    readonly transactions: readonly ReadTransaction[]
    readonly paths: UndoPaths
    readonly packages: PackagesNow
    readonly staying: ReadonlySet<string>
  },
): Promise<PackageUndo> {
  const { place, logbook, contents } = parts
  const { packages, staying } = undo
  const records = []
  for (const { entry } of undo.transactions)
    records.push(await readPackageRecords(logbook.repository, entry, { signal: place.signal }))
  const systems: SystemTransitions[] = []
  const found: { changedSince: string[]; broken: BrokenDependency[]; sentences: string[] } = {
    changedSince: [],
    broken: [],
    sentences: [],
  }
  const lists: (() => Promise<ReadonlyMap<RawPath, PackageRepair>>)[] = []
  let { paths } = undo
  for (const state of packages) {
    const system = systemOf(place, state)
    const plan = await system.planUndo(packageHostOf(place), state, {
      records,
      staying,
      async planned(path) {
        const own = undo.paths.paths.find((each) => each.path === path)
        if (own === undefined) return undefined
        if (own.wanted === undefined) return 'gone'
        return own.content && (await plannedBytes(contents, own.content))
      },
    })
    const { transitions, before, unfinished } = plan
    systems.push({ system, transitions, before, unfinished })
    lists.push(async () => await withInstallers(state, plan))
    found.changedSince.push(...plan.changedSince)
    found.broken.push(...plan.broken)
    found.sentences.push(...plan.sentences)
    paths = await withFiles(place, paths, plan.files)
  }
  const listed = async () => {
    const all = new Map<RawPath, PackageRepair>()
    for (const list of lists) for (const [path, repair] of await list()) all.set(path, repair)
    return all
  }
  return { ...found, systems, paths, listed }
}

/** What makes a package whole again, of which the undo would leave a part. */
export interface PackageRepair {
  readonly line: string
  /** Not installed now: once it is, by that line, it was changed since, and no undo brings it back. */
  readonly isGone: boolean
}

/** In the version that is there, or in any. */
async function withInstallers(
  { manager, packages }: PackagesNow[number],
  { listed }: Pick<PlannedPackages, 'listed'>,
): Promise<ReadonlyMap<RawPath, PackageRepair>> {
  const there = new Set(packages.map(({ name }) => name))
  const words = {
    dpkg: ['apt-get install --reinstall', 'apt-get install'],
    rpm: ['dnf reinstall', 'dnf install'],
  } as const
  const [again, anew] = words[manager]
  const repairOf = (name: string) =>
    there.has(name) ? { line: `${again} ${name}`, isGone: false } : { line: `${anew} ${name}`, isGone: true }
  return new Map([...(await listed())].map(([path, name]) => [path, repairOf(name)]))
}

export async function plannedBytes(contents: TransactionContents, content: PlannedContent): Promise<Buffer> {
  return content.kind === 'bytes' ? content.bytes : await contents.before(content.transaction, content.change)
}

/** The same in order, of any size: for whoever writes it. */
export async function* plannedSegments(
  contents: TransactionContents,
  content: PlannedContent,
): AsyncIterable<Segment> {
  if (content.kind === 'bytes') yield* asSegments(content.bytes)
  else yield* contents.segmentsBefore(content.transaction, content.change)
}

async function withFiles(
  place: Workplace,
  paths: UndoPaths,
  files: ReadonlyMap<RawPath, Buffer | 'gone'>,
): Promise<UndoPaths> {
  if (files.size === 0) return paths
  const own: PlannedPath[] = []
  for (const [path, content] of files) {
    const now = await fingerprintOf(place, path)
    if (content === 'gone') {
      if (now) own.push({ path, now, wanted: undefined, how: 'restored' })
      continue
    }
    const sha256 = sha256Of(content)
    if (now?.sha256 === sha256) continue
    const attributes = now ?? { type: 'file', mode: 0o644, uid: 0, gid: 0 }
    const wanted = { ...attributes, mtimeNs: nowNs(place), size: content.length, sha256 }
    own.push({ path, now, wanted, how: 'merged', content: { kind: 'bytes', bytes: content } })
  }
  const others = paths.paths.filter(({ path }) => !files.has(path))
  return {
    ...paths,
    paths: [...others, ...own].toSorted((one, other) => (one.path < other.path ? -1 : 1)),
    conflicts: paths.conflicts.filter(({ path }) => !files.has(path)),
    regenerated: paths.regenerated.filter((path) => !files.has(path)),
  }
}

function nowNs({ clock }: Workplace): bigint {
  return BigInt(clock.now()) * 1_000_000n
}
