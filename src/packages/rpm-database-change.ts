// What a transaction changed in rpm's database, and how to take just that back while what came later stays.
import { compareRaw } from '../model/raw-path.ts'
import type { RpmEntry } from './rpm-headers.ts'

/** An entry without its header. */
export type RpmListed = Omit<RpmEntry, 'header'>

/** Small: a header of each package that came or went. */
export interface RpmDatabaseChange {
  readonly removed: readonly RpmEntry[]
  readonly added: readonly RpmEntry[]
  /** Ids of what stood beside them under the same name and architecture, and stayed: kernels, for instance. */
  readonly beside: readonly string[]
}

/** A package that was changed again since: it stays as it is now. */
export interface RpmDatabaseConflict {
  readonly name: string
  readonly architecture: string
  readonly now: readonly RpmListed[]
  readonly before: readonly RpmEntry[]
}

export interface RpmDatabasePlan {
  readonly drop: readonly RpmEntry[]
  readonly put: readonly RpmEntry[]
  readonly conflicts: readonly RpmDatabaseConflict[]
}

type Entries = AsyncIterable<RpmEntry> | Iterable<RpmEntry>

/** `before` is gone through twice, so that no more than what differs is in memory. */
export async function compareRpmDatabases(
  before: () => Entries,
  after: () => Entries,
): Promise<RpmDatabaseChange> {
  const [was, is] = [await slotsById(before()), await slotsById(after())]
  const removed: RpmEntry[] = []
  const added: RpmEntry[] = []
  for await (const entry of before()) if (!is.has(entry.id)) removed.push(entry)
  for await (const entry of after()) if (!was.has(entry.id)) added.push(entry)
  const touched = new Set([...removed, ...added].map(slot))
  const beside = [...was].filter(([id, place]) => is.has(id) && touched.has(place)).map(([id]) => id)
  return { removed, added, beside: beside.sort(compareRaw) }
}

async function slotsById(entries: Entries): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for await (const entry of entries) found.set(entry.id, slot(entry))
  return found
}

/** What takes back an undo. */
export function reversed({ removed, added, beside }: RpmDatabaseChange): RpmDatabaseChange {
  return { removed: added, added: removed, beside }
}

/**
 * Package by package: as the transaction left it, back to what it was before; changed since, a conflict. `now` is the whole database;
 * of its headers nothing is kept.
 */
export async function planRpmUndo(
  change: RpmDatabaseChange,
  now: AsyncIterable<RpmListed> | Iterable<RpmListed>,
): Promise<RpmDatabasePlan> {
  const slots = new Map<string, { added: RpmEntry[]; removed: RpmEntry[]; now: RpmListed[] }>()
  const at = (entry: RpmListed) => {
    const found = slots.get(slot(entry)) ?? { added: [], removed: [], now: [] }
    slots.set(slot(entry), found)
    return found
  }
  for (const entry of change.added) at(entry).added.push(entry)
  for (const entry of change.removed) at(entry).removed.push(entry)
  const beside = new Set(change.beside)
  for await (const entry of now)
    if (slots.has(slot(entry)) && !beside.has(entry.id)) at(entry).now.push(entry)
  const drop: RpmEntry[] = []
  const put: RpmEntry[] = []
  const conflicts: RpmDatabaseConflict[] = []
  for (const { added, removed, now: present } of slots.values()) {
    const [first] = [...added, ...removed]
    if (first === undefined || sameIds(present, removed)) continue
    if (sameIds(present, added)) {
      drop.push(...added)
      put.push(...removed)
    } else
      conflicts.push({ name: first.name, architecture: first.architecture, now: present, before: removed })
  }
  return { drop, put, conflicts }
}

/** Packages of one name and architecture: most are there once. */
function slot({ name, architecture }: RpmListed): string {
  return `${name}.${architecture}`
}

function sameIds(one: readonly RpmListed[], other: readonly RpmListed[]): boolean {
  const ids = new Set(one.map(({ id }) => id))
  return ids.size === other.length && other.every(({ id }) => ids.has(id))
}
