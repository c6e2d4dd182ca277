// What the undo of transactions makes of rpm's database: headers come and go one by one, all later ones stay, and rpm judges the result.
import { readFileSync } from 'node:fs'
import { openRpmHeader } from '../wire/rpm-header.ts'
import { readListedFiles } from '../wire/rpm-listed-files.ts'
import { readRelations } from '../wire/rpm-relations.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { BrokenDependency } from './broken-dependency.ts'
import type { PackageHost, PlannedPackages, UndoOfPackages } from './package-system.ts'
import { copyRpmDatabase, sealRpmDatabase, writeRpmDatabase } from './rpm-database.ts'
import { planRpmUndo, type RpmDatabasePlan, type RpmListed } from './rpm-database-change.ts'
import type { RpmEntry } from './rpm-headers.ts'
import { type BrokenRelation, brokenRelations, newlyBroken } from './rpm-oracle.ts'
import { decodeRpmChange, rpmTransitions } from './rpm-records.ts'
import { below, type RpmPackages, withScratch } from './rpm-state.ts'

/** `folder` is the database's, from the root. The caller holds rpm's lock, or only looks. */
export async function planUndoOfRpm(
  host: PackageHost,
  { now, folder }: { readonly now: RpmPackages; readonly folder: RawPath },
  { records, staying }: UndoOfPackages,
): Promise<PlannedPackages> {
  const after = new Map(now.listed)
  const headers = new Map<string, RpmEntry>()
  const changedSince: string[] = []
  for (const record of records) {
    const change = await decodeRpmChange(record)
    if (change === undefined) continue
    const isGoing = ({ name }: RpmListed) => !staying.has(name)
    const [removed, added] = [change.removed.filter(isGoing), change.added.filter(isGoing)]
    for (const entry of [...removed, ...added]) headers.set(entry.id, entry)
    const plan = await planRpmUndo({ ...change, removed, added }, after.values())
    changedSince.push(...plan.conflicts.map(({ name }) => name))
    for (const { id } of plan.drop) after.delete(id)
    for (const { header: _, ...entry } of plan.put) after.set(entry.id, entry)
  }
  const plan: RpmDatabasePlan = {
    drop: [...now.listed.keys()].filter((id) => !after.has(id)).flatMap((id) => headers.get(id) ?? []),
    put: [...after.keys()].filter((id) => !now.listed.has(id)).flatMap((id) => headers.get(id) ?? []),
    conflicts: [],
  }
  const listed = () => Promise.resolve(listedThen(plan.put))
  const nothing = {
    ...{ changedSince, broken: [], sentences: [], listed },
    files: new Map<RawPath, Buffer | 'gone'>(),
  }
  if (changedSince.length > 0 || plan.drop.length + plan.put.length === 0)
    return { ...nothing, transitions: [] }
  return await withScratch(host, async (scratch) => {
    const { shell, signal } = host
    const [from, to] = [`${scratch}/now`, `${scratch}/planned`]
    await copyRpmDatabase(shell, { from: now.source, to: from, signal })
    await writeRpmDatabase(shell, { from, to, plan, signal })
    const broken = newlyBroken(
      await brokenRelations(shell, from, { signal }),
      await brokenRelations(shell, to, { signal }),
    )
    const { put, remove } = await sealRpmDatabase(shell, { planned: to, inUse: now.source, signal })
    return {
      ...nothing,
      transitions: rpmTransitions(now.listed, after),
      broken: broken.map((each) => asDependency(each, plan.drop)),
      files: new Map<RawPath, Buffer | 'gone'>([
        ...put.map((name) => [below(folder, name), readFileSync(`${to}/${name}`)] as const),
        ...remove.map((name) => [below(folder, name), 'gone'] as const),
      ]),
    }
  })
}

function listedThen(put: readonly RpmEntry[]): ReadonlyMap<RawPath, string> {
  const found = new Map<RawPath, string>()
  for (const { name, header } of put)
    for (const { path, type, isConfiguration, isGhost } of readListedFiles(
      openRpmHeader(header, 'a header of the database'),
    ))
      if (type !== 'dir' && !isConfiguration && !isGhost) found.set(path, name)
  return found
}

/** In the words of both systems; what a package that goes provides names that package, too. */
function asDependency(
  { package: label, relation, needs, installed }: BrokenRelation,
  going: readonly RpmEntry[],
): BrokenDependency {
  const [, name = needs, constraint] = /^(\S+) ([<>=]+ .*)$/.exec(needs) ?? []
  const providedBy = going.filter((entry) => provides(entry, name)).map((entry) => entry.name as string)
  return {
    package: /^(.+)-[^-]+-[^-]+$/.exec(label)?.[1] ?? label,
    relation,
    alternatives: [
      {
        name,
        ...(constraint === undefined ? {} : { constraint }),
        ...(installed === undefined ? {} : { installed }),
        ...(providedBy.length === 0 ? {} : { providedBy }),
      },
    ],
  }
}

function provides({ header }: RpmEntry, name: string): boolean {
  const opened = openRpmHeader(header, 'a header of the database')
  return name.startsWith('/')
    ? readListedFiles(opened).some(({ path }) => path === name)
    : readRelations(opened).provides.some((relation) => relation.name === name)
}
