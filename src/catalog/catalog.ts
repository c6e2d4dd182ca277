// What can be asked quickly: a cache of the snapshots of one repository, so that looking at the log decrypts nothing
// that was seen before. It may be deleted at any time; a damaged or outdated one is dropped and fills again.
//
// Nothing in it is believed without its sum: a row that a disk has changed would be another entry. The sum proves accidents,
// not malice; the folder is open to nobody else, and what acts on an entry reads the snapshot itself (`engine/proven-entries.ts`).
import { hash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import type { CaptureMode, EntryKind, EntryStatistics, Snapshot } from '../model/entry.ts'
import type { SnapshotId } from '../model/ids.ts'
import { inTransaction, openCacheDatabase } from './cache-database.ts'

/** What the log needs of `/.vml/entry.json`. */
export interface EntryFacts {
  readonly kind: EntryKind
  readonly title: string
  readonly note: string
  readonly machine: string
  /** What that computer calls itself: two of them may use one name for the machine. */
  readonly host?: string
  readonly project?: string
  readonly number: number
  readonly mode: CaptureMode
  readonly outcome: 'complete' | 'partial'
  readonly image?: string
  /** As it was saved, with what was lost since. */
  readonly statistics: EntryStatistics
  /** Only of an entry that a repair wrote anew. */
  readonly lost?: LostTotals
}

/** What damage took; of what lay in a lost folder nothing is known. */
export interface LostTotals {
  readonly files: number
  readonly folders: number
  /** Of the files. */
  readonly bytes: number
}

export interface CatalogRow {
  readonly snapshot: Snapshot
  /** Undefined for a snapshot of another program. */
  readonly facts: EntryFacts | undefined
}

export interface Catalog extends Disposable {
  /** Those whose sum is right; the others are forgotten. */
  rows(): ReadonlyMap<SnapshotId, CatalogRow>
  put(rows: readonly CatalogRow[]): void
  remove(ids: readonly SnapshotId[]): void
  /** Forgets everything but the highest number. */
  clear(): void
  /** The highest number of an entry that this computer has ever seen here: a removed one is not given again. */
  readonly highestNumber: number
  /** Raises the highest number; a lower one changes nothing. */
  raiseNumber(to: number): void
  /** Raises it by one and returns it: two programs of this computer at once get two numbers. */
  takeNumber(): number
}

/** Raise it with every change of the tables or of what stands in them. */
const schemaVersion = 3
/** As many digits as a tag of an entry's number may have. */
const numberMax = 999_999_999_999_999

/** A file in the cache folder; where it cannot be written, the same in memory. */
export function openCatalog(path: string): Catalog {
  // Known here even when the file is lost meanwhile: a number that was taken is not given again.
  let highest = 0
  const cache = openCacheDatabase(path, makeTables, (database) => {
    if (highest > 0) writeHighest(database, highest)
  })
  return {
    rows: () => cache.run(readRows),
    put: (rows) =>
      cache.run((database) =>
        inTransaction(database, () => {
          for (const { snapshot, facts } of rows)
            insertRow(database, {
              id: snapshot.id,
              snapshot: JSON.stringify(snapshot),
              facts: facts ? JSON.stringify(facts) : null,
            })
        }),
      ),
    remove: (ids) =>
      cache.run((database) => {
        const remove = database.prepare('DELETE FROM snapshots WHERE id = ?')
        inTransaction(database, () => {
          for (const id of ids) remove.run(id)
        })
      }),
    clear: () => cache.run((database) => database.exec('DELETE FROM snapshots')),
    get highestNumber() {
      highest = Math.max(highest, cache.run(readHighest))
      return highest
    },
    raiseNumber: (to) => {
      highest = Math.max(highest, to)
      cache.run((database) =>
        inTransaction(database, () => {
          if (readHighest(database) < to) writeHighest(database, to)
        }),
      )
    },
    takeNumber: () => {
      cache.run((database) =>
        inTransaction(database, () => {
          const next = Math.max(highest, readHighest(database)) + 1
          writeHighest(database, next)
          highest = next
        }),
      )
      return highest
    },
    [Symbol.dispose]: () => cache[Symbol.dispose](),
  }
}

function makeTables(database: DatabaseSync): void {
  if (userVersion(database) === schemaVersion) return
  inTransaction(database, () => {
    // Another process may have made them since.
    if (userVersion(database) === schemaVersion) return
    const highest = highestOfOutdated(database)
    database.exec(`
      DROP TABLE IF EXISTS snapshots;
      DROP TABLE IF EXISTS numbers;
      CREATE TABLE snapshots (id TEXT PRIMARY KEY, snapshot TEXT NOT NULL, facts TEXT, sum TEXT) WITHOUT ROWID;
      CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL, sum TEXT) WITHOUT ROWID;
      PRAGMA user_version = ${schemaVersion};
    `)
    if (highest > 0) writeHighest(database, highest)
  })
}

function userVersion(database: DatabaseSync): unknown {
  return database.prepare('PRAGMA user_version').get()?.['user_version']
}

interface StoredRow {
  readonly id: string
  readonly snapshot: string
  readonly facts: string | null
}

function readRows(database: DatabaseSync): ReadonlyMap<SnapshotId, CatalogRow> {
  const rows = new Map<SnapshotId, CatalogRow>()
  const whole: StoredRow[] = []
  const stored = database.prepare('SELECT id, snapshot, facts, sum FROM snapshots').all()
  for (const { id, snapshot, facts, sum } of stored) {
    if (typeof id !== 'string' || typeof snapshot !== 'string') continue
    if (facts !== null && typeof facts !== 'string') continue
    const row = { id, snapshot, facts }
    const parsed = sum === sumOf(row) ? parseRow(row) : undefined
    if (!parsed) continue
    whole.push(row)
    rows.set(parsed.snapshot.id, parsed)
  }
  // Where one row is damaged, the pages around it may be, too: all are written anew.
  if (whole.length < stored.length)
    inTransaction(database, () => {
      database.exec('DELETE FROM snapshots')
      for (const row of whole) insertRow(database, row)
    })
  return rows
}

/** What has its sum was written by `put` from checked values. */
function parseRow({ id, snapshot, facts }: StoredRow): CatalogRow | undefined {
  try {
    const row = {
      snapshot: JSON.parse(snapshot) as Snapshot,
      facts: facts === null ? undefined : (JSON.parse(facts) as EntryFacts),
    }
    return row.snapshot.id === id ? row : undefined
  } catch {
    return undefined
  }
}

function insertRow(database: DatabaseSync, row: StoredRow): void {
  database
    .prepare('INSERT OR REPLACE INTO snapshots (id, snapshot, facts, sum) VALUES (?, ?, ?, ?)')
    .run(row.id, row.snapshot, row.facts, sumOf(row))
}

/** JSON has no line break of its own, so that nothing can move from one column to the next. */
function sumOf({ id, snapshot, facts }: StoredRow): string {
  return hash('sha256', facts === null ? `${id}\n${snapshot}` : `${id}\n${snapshot}\n${facts}`)
}

function readHighest(database: DatabaseSync): number {
  const row = database.prepare("SELECT value, sum FROM numbers WHERE name = 'highest'").get()
  return row?.['sum'] === sumOfHighest(row?.['value']) ? numberIn(row?.['value']) : 0
}

function writeHighest(database: DatabaseSync, value: number): void {
  database
    .prepare("INSERT OR REPLACE INTO numbers (name, value, sum) VALUES ('highest', ?, ?)")
    .run(value, sumOfHighest(value))
}

function sumOfHighest(value: unknown): string {
  return hash('sha256', `highest\n${String(value)}`)
}

/** The first version had no sums. */
function highestOfOutdated(database: DatabaseSync): number {
  try {
    const row = database.prepare("SELECT * FROM numbers WHERE name = 'highest'").get()
    return row && 'sum' in row ? readHighest(database) : numberIn(row?.['value'])
  } catch {
    return 0
  }
}

function numberIn(value: unknown): number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= numberMax ? value : 0
}
