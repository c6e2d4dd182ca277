// What can be asked quickly: a cache of the snapshots of one repository, so that looking at the log decrypts nothing
// that was seen before. It may be deleted at any time; a damaged or outdated one is dropped and fills again.
import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { CaptureMode, EntryKind, EntryStatistics, Snapshot } from '../model/entry.ts'
import type { SnapshotId } from '../model/ids.ts'

/** What the log needs of `/.vml/entry.json`. */
export interface EntryFacts {
  readonly kind: EntryKind
  readonly title: string
  readonly note: string
  readonly machine: string
  readonly project?: string
  readonly number: number
  readonly mode: CaptureMode
  readonly outcome: 'complete' | 'partial'
  readonly image?: string
  readonly statistics: EntryStatistics
}

export interface CatalogRow {
  readonly snapshot: Snapshot
  /** Undefined for a snapshot of another program. */
  readonly facts: EntryFacts | undefined
}

export interface Catalog extends Disposable {
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
const schemaVersion = 1
const busyMs = 5000

/** A file in the cache folder; where it cannot be written, the same in memory. */
export function openCatalog(path: string): Catalog {
  for (let attempt = 0; attempt < busyTriesMax; attempt++) {
    try {
      return wrap(openDatabase(path))
    } catch (error) {
      // Another process makes it at this moment: what that one writes must not be taken for damage.
      if (!isBusy(error)) break
      Atomics.wait(pause, 0, 0, busyPauseMs)
    }
  }
  // Damaged or unwritable: what it holds can be read again from the repository.
  try {
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true })
    return wrap(openDatabase(path))
  } catch {
    return wrap(openDatabase(':memory:'))
  }
}

const busyTriesMax = 50
const busyPauseMs = 50
const pause = new Int32Array(new SharedArrayBuffer(4))

/** SQLITE_BUSY and SQLITE_LOCKED (sqlite.org/rescode.html), with their extended codes; some of them do not wait for the time-out. */
function isBusy(error: unknown): boolean {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return false
  const primary = error.errcode & 0xff
  return primary === 5 || primary === 6
}

function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyMs })
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    if (userVersion(database) !== schemaVersion) makeTables(database)
    // Reads the pages that every query starts from: a damaged file fails here and not in the middle of work.
    database.prepare('SELECT count(*) FROM snapshots').get()
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function makeTables(database: DatabaseSync): void {
  database.exec('BEGIN IMMEDIATE')
  try {
    // Another process may have made them since.
    if (userVersion(database) !== schemaVersion) {
      database.exec(`
        DROP TABLE IF EXISTS snapshots;
        CREATE TABLE snapshots (id TEXT PRIMARY KEY, snapshot TEXT NOT NULL, facts TEXT) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        PRAGMA user_version = ${schemaVersion};
      `)
    }
    database.exec('COMMIT')
  } catch (error) {
    database.exec('ROLLBACK')
    throw error
  }
}

function userVersion(database: DatabaseSync): unknown {
  return database.prepare('PRAGMA user_version').get()?.['user_version']
}

function wrap(database: DatabaseSync): Catalog {
  const inTransaction = (work: () => void) => {
    database.exec('BEGIN IMMEDIATE')
    try {
      work()
      database.exec('COMMIT')
    } catch (error) {
      database.exec('ROLLBACK')
      throw error
    }
  }
  return {
    rows: () => {
      const rows = new Map<SnapshotId, CatalogRow>()
      for (const row of database.prepare('SELECT snapshot, facts FROM snapshots').iterate()) {
        // What stands here was written by `put` from checked values.
        const snapshot = JSON.parse(String(row['snapshot'])) as Snapshot
        const facts = typeof row['facts'] === 'string' ? (JSON.parse(row['facts']) as EntryFacts) : undefined
        rows.set(snapshot.id, { snapshot, facts })
      }
      return rows
    },
    put: (rows) => {
      const insert = database.prepare(
        'INSERT OR REPLACE INTO snapshots (id, snapshot, facts) VALUES (?, ?, ?)',
      )
      inTransaction(() => {
        for (const { snapshot, facts } of rows)
          insert.run(snapshot.id, JSON.stringify(snapshot), facts ? JSON.stringify(facts) : null)
      })
    },
    remove: (ids) => {
      const remove = database.prepare('DELETE FROM snapshots WHERE id = ?')
      inTransaction(() => {
        for (const id of ids) remove.run(id)
      })
    },
    clear: () => database.exec('DELETE FROM snapshots'),
    get highestNumber() {
      const row = database.prepare("SELECT value FROM numbers WHERE name = 'highest'").get()
      return typeof row?.['value'] === 'number' ? row['value'] : 0
    },
    raiseNumber: (to) => {
      database
        .prepare(
          `INSERT INTO numbers (name, value) VALUES ('highest', ?)
           ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`,
        )
        .run(to)
    },
    takeNumber: () => {
      const row = database
        .prepare(
          `INSERT INTO numbers (name, value) VALUES ('highest', 1)
           ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value`,
        )
        .get()
      if (typeof row?.['value'] !== 'number') throw new TypeError('The catalogue gave no number')
      return row['value']
    },
    [Symbol.dispose]: () => database.close(),
  }
}
