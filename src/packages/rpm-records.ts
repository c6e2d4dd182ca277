// What the record of a transaction keeps of rpm's database: the headers of packages that came and went, as rpm exports and imports them.
import type { PackageTransition } from '../model/transaction-record.ts'
import { compareRpmVersions } from '../model/version-rpm.ts'
import { rpmVersion } from '../wire/rpm-package.ts'
import type { PackageRecords } from './package-system.ts'
import type { RpmDatabaseChange, RpmListed } from './rpm-database-change.ts'
import { readRpmHeaders, type RpmEntry } from './rpm-headers.ts'

const names = { removed: 'rpm-removed', added: 'rpm-added', beside: 'rpm-beside' } as const
const idPattern = /^[0-9a-f]{64}$/

/** Empty where nothing came or went. */
export function encodeRpmChange({ removed, added, beside }: RpmDatabaseChange): PackageRecords {
  if (removed.length === 0 && added.length === 0) return new Map()
  const headers = (entries: readonly RpmEntry[]) => Buffer.concat(entries.map(({ header }) => header))
  return new Map([
    [names.removed, headers(removed)],
    [names.added, headers(added)],
    [names.beside, Buffer.from(beside.map((id) => `${id}\n`).join(''), 'latin1')],
  ])
}

/** Undefined where the record tells of no change. `integrity.format` where it is damaged. */
export async function decodeRpmChange(records: PackageRecords): Promise<RpmDatabaseChange | undefined> {
  const [removed, added] = [records.get(names.removed), records.get(names.added)]
  if (removed === undefined && added === undefined) return undefined
  const beside = Buffer.from(records.get(names.beside) ?? [])
    .toString('latin1')
    .split('\n')
    .filter((line) => idPattern.test(line))
  return { removed: await entriesOf(removed), added: await entriesOf(added), beside }
}

async function entriesOf(bytes: Uint8Array | undefined): Promise<RpmEntry[]> {
  return await Array.fromAsync(readRpmHeaders(onePiece(bytes)))
}

async function* onePiece(bytes: Uint8Array | undefined): AsyncGenerator<Uint8Array, void> {
  if (bytes !== undefined && bytes.length > 0) yield bytes
}

/** Package by package, of one name and architecture: what stands in several versions comes and goes, and is not changed. */
export function rpmTransitions(
  before: ReadonlyMap<string, RpmListed>,
  after: ReadonlyMap<string, RpmListed>,
): PackageTransition[] {
  const places = new Map<string, { went: RpmListed[]; came: RpmListed[] }>()
  const at = (entry: RpmListed) => {
    const key = `${entry.name}.${entry.architecture}`
    const found = places.get(key) ?? { went: [], came: [] }
    places.set(key, found)
    return found
  }
  for (const [id, entry] of before) if (!after.has(id)) at(entry).went.push(entry)
  for (const [id, entry] of after) if (!before.has(id)) at(entry).came.push(entry)
  const sorted = [...places].toSorted(([one], [other]) => (one < other ? -1 : 1))
  return sorted.flatMap(([, { went, came }]) => {
    const [was, is] = [went[0], came[0]]
    if (was && is && went.length === 1 && came.length === 1) return [changed(was, is)]
    return [
      ...went.map((entry) => ({ ...named(entry), fate: 'removed' as const, from: rpmVersion(entry) })),
      ...came.map((entry) => ({ ...named(entry), fate: 'installed' as const, to: rpmVersion(entry) })),
    ]
  })
}

function named({ name, architecture }: RpmListed): Pick<PackageTransition, 'name' | 'architecture'> {
  return { name, architecture }
}

function changed(was: RpmListed, is: RpmListed): PackageTransition {
  const [from, to] = [rpmVersion(was), rpmVersion(is)]
  const order = compareRpmVersions(from, to)
  const fate = order < 0 ? 'upgraded' : order > 0 ? 'downgraded' : 'reconfigured'
  return { ...named(is), fate, from, to }
}
