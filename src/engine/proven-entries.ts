// Entries as the logbook itself has them, for what acts on one: the catalogue only says where to look. A snapshot file is named by
// its SHA-256, so that reading it proves it.
import { isDeepStrictEqual } from 'node:util'
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { mapOrdered } from '../base/pool.ts'
import type { CatalogRow } from '../catalog/catalog.ts'
import { isDamage } from '../store/damage.ts'
import {
  chooseEntry,
  type EntriesOptions,
  entryIdOf,
  entryName,
  hasOwnTags,
  listEntries,
  type LoggedEntry,
  type OpenLogbook,
  readRow,
  rebuildCatalog,
} from './entries.ts'

export interface ProofOptions extends EntriesOptions {
  /**
   * What a snapshot file that is damaged itself does: to `warn` goes on with what the catalogue remembers of it, which is for reading,
   * since that may be all there is.
   */
  readonly damaged: 'warn' | 'fail'
}

const readsAtOnce = 8

/**
 * Chooses, and once more after the catalogue was made anew, where it told something else of a chosen one than its snapshot does. The
 * other entries are not looked at: their rows have no more than their sums.
 */
export async function chooseProven<Choice>(
  logbook: OpenLogbook,
  choose: (entries: readonly LoggedEntry[]) => Choice,
  options: ProofOptions & { readonly entriesOf: (choice: Choice) => readonly LoggedEntry[] },
): Promise<Choice> {
  const look = async () => {
    let leftOut = 0
    const entries = await listEntries(logbook, { ...options, onLeftOut: () => void leftOut++ })
    return chooseAmong(() => choose(entries), leftOut)
  }
  const first = await look()
  if (!(await findUntrue(logbook, options.entriesOf(first), options))) return first
  await rebuildCatalog(logbook, options)
  const second = await look()
  await requireProven(logbook, options.entriesOf(second), options)
  return second
}

/** Where entries are left out since their snapshots are damaged, what is not found may be one of them: that is damage, and no `not-found`. */
export function chooseAmong<Choice>(choose: () => Choice, leftOut: number): Choice {
  try {
    return choose()
  } catch (error) {
    throw orLeftOut(error, leftOut)
  }
}

function orLeftOut(error: unknown, leftOut: number): unknown {
  if (leftOut === 0 || !isFailure(error, 'not-found')) return error
  const some =
    leftOut === 1
      ? '1 entry, whose snapshot is damaged, is'
      : `${leftOut} entries, whose snapshots are damaged, are`
  return new VmlError(
    'integrity.missing',
    `${error.message} among those that can be read: ${some} left out`,
    {
      cause: error,
      details: { ...error.details, left_out: leftOut },
      hint: `Nothing was changed. vml check --repair may find again what is left out; ${error.hint ?? 'vml log shows the others'}`,
    },
  )
}

/** Fails with `conflict` where the catalogue told something else of one of them than its snapshots do, and makes the catalogue anew. */
export async function requireProven(
  logbook: OpenLogbook,
  entries: readonly LoggedEntry[],
  options: ProofOptions,
): Promise<void> {
  const untrue = await findUntrue(logbook, entries, options)
  if (!untrue) return
  await rebuildCatalog(logbook, options)
  throw new VmlError(
    'conflict',
    `Cannot go on with ${entryName(untrue)}: the catalogue of this computer told something else of it than the logbook does`,
    {
      details: { entry: untrue.id },
      hint: 'Nothing was changed, and the catalogue was made again. Look with vml log, and run the command again',
    },
  )
}

async function findUntrue(
  logbook: OpenLogbook,
  entries: readonly LoggedEntry[],
  options: ProofOptions,
): Promise<LoggedEntry | undefined> {
  const told = await mapOrdered(entries, readsAtOnce, async (entry) => await isTrue(logbook, entry, options))
  return entries.find((_entry, position) => told[position] === false)
}

async function isTrue(logbook: OpenLogbook, entry: LoggedEntry, options: ProofOptions): Promise<boolean> {
  const rows: CatalogRow[] = []
  for (const id of [entry.snapshot.id, ...entry.twins]) {
    try {
      rows.push({ snapshot: await logbook.repository.readSnapshot(id, options), facts: entry.facts })
    } catch (error) {
      // Removed since it was listed: gone is not untrue, and whoever needs it will find it missing.
      if (isFailure(error, 'not-found')) continue
      if (!isDamage(error)) throw error
      if (options.damaged === 'fail') {
        throw new VmlError(error.code, `Cannot go on with ${entryName(entry)}: ${messageOf(error)}`, {
          cause: error,
          details: { entry: entry.id },
          hint: 'Nothing was changed. vml check --repair may find it again',
        })
      }
      options.reporter?.warn({
        warning: `The snapshot of ${entryName(entry)} is damaged; going on with what this computer remembers of it: ${messageOf(error)}; see vml check --repair`,
      })
    }
  }
  const own = rows.find(({ snapshot }) => snapshot.id === entry.snapshot.id)
  if (rows.some(({ snapshot }) => entryIdOf(snapshot) !== entry.id)) return false
  if (!own) return true
  if (chooseEntry(rows).snapshot.id !== entry.snapshot.id) return false
  if (!isSame(own.snapshot, entry.snapshot)) return false
  // Only where another program took the tags away does the document say which entry it is.
  if (hasOwnTags(own.snapshot)) return true
  const row = await readRow(logbook.repository, own.snapshot.id, options)
  return !row?.whole || isSame(row.facts, entry.facts)
}

/** As JSON has them: a row went through it. */
function isSame(left: unknown, right: unknown): boolean {
  return isDeepStrictEqual(asJson(left), asJson(right))
}

function asJson(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value))
}
