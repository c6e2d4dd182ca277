// Databases of SQLite: a file, its log and the log's index are of one moment together, and none of them may be put back alone.
import { asRaw } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { type Fingerprint, type RecordedChange, sameState } from '../model/transaction.ts'

/** https://sqlite.org/tempfiles.html: write-ahead log, shared memory, rollback journal. */
const beside = ['-wal', '-shm', '-journal'] as const
const besidePattern = /-(?:wal|shm|journal)$/
const namePattern = /\.(?:sqlite3?|db3?)$/
/** What dnf did and when: as a log, it tells of the past, and goes on. */
const historyPattern =
  /^\/var\/lib\/dnf\/history\.sqlite$|^\/usr\/lib\/sysimage\/libdnf5\/transaction_history\.sqlite$/

/** The database that a path is a part of: itself, where it is none. */
export function databaseFileOf(path: RawPath): RawPath {
  return path.replace(besidePattern, '') as RawPath
}

export function isHistory(path: RawPath): boolean {
  return historyPattern.test(databaseFileOf(path))
}

/** Databases of which any file is another one than the transaction left. */
export function movedDatabases(
  changes: readonly RecordedChange[],
  now: (path: RawPath) => Fingerprint | undefined,
): ReadonlySet<RawPath> {
  const known = new Map(changes.map((change) => [change.path, change]))
  const files = new Set<RawPath>()
  for (const { path, before, after } of changes)
    if ((after ?? before)?.type === 'file' && (besidePattern.test(path) || namePattern.test(path)))
      files.add(databaseFileOf(path))
  const isMoved = (path: RawPath): boolean => {
    const change = known.get(path)
    if (change) return !sameState(now(path), change.after)
    // What it did not touch belongs to it all the same; an empty log says nothing.
    return path.endsWith('-shm') || path === databaseFileOf(path) ? false : (now(path)?.size ?? 0) > 0
  }
  const moved = new Set<RawPath>()
  for (const file of files) {
    const others = beside.map((ending) => asRaw(file + ending) as RawPath)
    const isAlone = others.every((path) => !known.has(path) && now(path) === undefined)
    // One that has nothing beside it is a file as any other, whatever its name says; a history is none.
    if ((!isAlone || isHistory(file)) && [file, ...others].some(isMoved)) moved.add(file)
  }
  return moved
}
