// A SQLite file that may be lost at any time: whatever is wrong with it, the work goes on, with a new file or in memory.
import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

export interface CacheDatabase extends Disposable {
  /** Work that may be done twice: again on an empty database, where the first one fails in the middle of it. */
  run<T>(work: (database: DatabaseSync) => T): T
}

/**
 * A damaged file is thrown away. One that another process keeps locked, or that a full disk takes nothing for, stays as it is, and
 * what is noted here lives in memory. `prepare` makes the tables, and may be called on a file that has them.
 */
export function openCacheDatabase(
  path: string,
  prepare: (database: DatabaseSync) => void,
  /** Fills one that takes the place of another, with what must not be forgotten meanwhile. */
  carryOver: (database: DatabaseSync) => void,
): CacheDatabase {
  let database = openPatiently(path, prepare)
  const replace = (by: string) => {
    close(database)
    database = by === inMemory ? open(inMemory, prepare) : renew(by, prepare)
    carryOver(database)
  }
  return {
    run: (work) => {
      try {
        return work(database)
      } catch (error) {
        try {
          replace(isKept(error) ? inMemory : path)
          return work(database)
        } catch {
          replace(inMemory)
          return work(database)
        }
      }
    },
    [Symbol.dispose]: () => close(database),
  }
}

/** Whole, or not at all. */
export function inTransaction(database: DatabaseSync, work: () => void): void {
  database.exec('BEGIN IMMEDIATE')
  try {
    work()
    database.exec('COMMIT')
  } catch (error) {
    // SQLite itself ends a transaction that met damage or a full disk.
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

const inMemory = ':memory:'
const busyMs = 5000
const busyTriesMax = 50
const busyTryMs = 50
const busyPauseMs = 50
const pause = new Int32Array(new SharedArrayBuffer(4))

function openPatiently(path: string, prepare: (database: DatabaseSync) => void): DatabaseSync {
  for (let attempt = 0; attempt < busyTriesMax; attempt++) {
    try {
      return open(path, prepare)
    } catch (error) {
      // Another process makes it at this moment: what that one writes must not be taken for damage.
      if (!isKept(error)) return renew(path, prepare)
      if (!isBusy(error)) break
      Atomics.wait(pause, 0, 0, busyPauseMs)
    }
  }
  return open(inMemory, prepare)
}

/** Whoever has the old file open goes on with it, and what that one notes is lost: it is read again from the repository. */
function renew(path: string, prepare: (database: DatabaseSync) => void): DatabaseSync {
  try {
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true })
    return open(path, prepare)
  } catch {
    return open(inMemory, prepare)
  }
}

function open(path: string, prepare: (database: DatabaseSync) => void): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyTryMs })
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    prepare(database)
    database.exec(`PRAGMA busy_timeout = ${busyMs}`)
    return database
  } catch (error) {
    close(database)
    throw error
  }
}

function close(database: DatabaseSync): void {
  try {
    database.close()
  } catch {
    // It is given up either way.
  }
}

/** The file is as it should be, and cannot be used now. */
function isKept(error: unknown): boolean {
  const code = codeOf(error)
  // SQLITE_FULL, and SQLITE_IOERR_SHMSIZE, which is how WAL meets a full disk.
  return isBusy(error) || code === 13 || code === 4874
}

/** SQLITE_BUSY and SQLITE_LOCKED (sqlite.org/rescode.html), with their extended codes; some of them do not wait for the time-out. */
function isBusy(error: unknown): boolean {
  const primary = codeOf(error) & 0xff
  return primary === 5 || primary === 6
}

function codeOf(error: unknown): number {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : 0
}
