// The transactions of a logbook, oldest first, with what was taken back by which later one.
import { mapOrdered } from '../base/pool.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import type { EntryId } from '../model/ids.ts'
import { resolveEntry, parseEntryPath } from '../model/entry-reference.ts'
import type { TransactionDocument } from '../model/transaction-record.ts'
import {
  entryName,
  entryNames,
  entryWord,
  type EntriesOptions,
  listEntries,
  isImported,
  type LoggedEntry,
  type OpenLogbook,
} from '../engine/entries.ts'
import { readTransactionDocument } from './transaction-entry.ts'

export interface ListedTransaction {
  readonly entry: LoggedEntry
  readonly document: TransactionDocument
  /** The transaction that took it back, where none took back that one. */
  readonly undoneBy: LoggedEntry | undefined
  /** That one left some of it as it is: see `TakenBack`. */
  readonly undoneInPart: boolean
  /** The transaction that took back what had taken it back, and left some of that as it is: so some of it is not in force. */
  readonly broughtBackInPart?: LoggedEntry
}

/** As they are recorded. */
export type RecordedTransaction = Pick<ListedTransaction, 'entry' | 'document'>

const readsAtOnce = 8

export async function listTransactions(
  logbook: OpenLogbook,
  options: EntriesOptions = {},
): Promise<readonly ListedTransaction[]> {
  return withUndos(await recordedTransactions(logbook, options))
}

async function recordedTransactions(
  logbook: OpenLogbook,
  options: EntriesOptions,
): Promise<readonly RecordedTransaction[]> {
  const entries = await transactionEntries(logbook, options)
  return await mapOrdered(entries, readsAtOnce, async (entry) => ({
    entry,
    document: await readTransactionDocument(logbook.repository, entry, options),
  }))
}

/** Oldest first. */
export function withUndos(documents: readonly RecordedTransaction[]): readonly ListedTransaction[] {
  const undos = new Map<EntryId, RecordedTransaction>()
  // Newest first: what took something back is itself taken back only by what came later.
  for (const undo of documents.toReversed()) {
    if (undos.has(undo.entry.id)) continue
    for (const id of undo.document.takesBack ?? []) if (!undos.has(id)) undos.set(id, undo)
  }
  const back = new Map<EntryId, LoggedEntry>()
  for (const { entry, document } of documents) {
    const redo = undos.get(entry.id)
    if (redo?.document.inPart) for (const id of document.takesBack ?? []) back.set(id, redo.entry)
  }
  return documents.map(({ entry, document }) => {
    const undo = undos.get(entry.id)
    const broughtBackInPart = undo ? undefined : back.get(entry.id)
    return {
      entry,
      document,
      undoneBy: undo?.entry,
      // What was brought back only in part is taken back with a part of it missing.
      undoneInPart: undo !== undefined && (undo.document.inPart === true || back.has(undo.entry.id)),
      ...(broughtBackInPart ? { broughtBackInPart } : {}),
    }
  })
}

/** Those of one machine, oldest first. */
export async function transactionsOn(
  logbook: OpenLogbook,
  machine: string,
  options: EntriesOptions = {},
): Promise<readonly ListedTransaction[]> {
  const all = await listTransactions(logbook, options)
  return all.filter(({ entry }) => entry.machine === machine)
}

/** What this machine is, or was, called in its own records. */
export interface OwnNames {
  /** As it is recorded now. */
  readonly names: ReadonlySet<string>
  /** Records that are its own for certain: it was told so when it made them. */
  readonly ids?: ReadonlySet<EntryId>
}

export interface TransactionsHere {
  /** Oldest first. */
  readonly listed: readonly ListedTransaction[]
  /** Of other machines: nothing of them may be taken back here. */
  readonly elsewhere: readonly LoggedEntry[]
}

export async function transactionsHere(
  logbook: OpenLogbook,
  own: OwnNames,
  options: EntriesOptions = {},
): Promise<TransactionsHere> {
  return partByMachine(await recordedTransactions(logbook, options), own)
}

/**
 * A machine may be renamed, and users may each give it a name of their own: what only the machine itself makes tells of a name that it is, or was, its own. What is
 * made over ssh has nothing of the kind: it is of a command, or takes one back, in a stage, and its machine is called there as it is here.
 */
export function partByMachine(documents: readonly RecordedTransaction[], own: OwnNames): TransactionsHere {
  const names = new Set(own.names)
  for (const each of documents) {
    if (isImported(each.entry)) continue
    if (own.ids?.has(each.entry.id) || isMadeOnlyHere(each)) names.add(each.entry.machine)
  }
  const isOwn = ({ entry: { machine } }: RecordedTransaction) => names.has(machine)
  return {
    listed: withUndos(documents.filter(isOwn)),
    elsewhere: documents.filter((each) => !isOwn(each)).map(({ entry }) => entry),
  }
}

function isMadeOnlyHere({ entry, document: { mode, source } }: RecordedTransaction): boolean {
  const host = entry.facts?.host
  return mode === 'live' || !madeOverSsh.has(source) || (host !== undefined && host !== entry.machine)
}

const madeOverSsh: ReadonlySet<TransactionDocument['source']> = new Set(['command', 'undo', 'redo'])

/**
 * Oldest first, as they were made: by their numbers, which are given one after the other, since a clock may have been set back between two of them. Where one
 * has none, another program wrote it, and only the times are left.
 */
export async function transactionEntries(
  logbook: OpenLogbook,
  options: EntriesOptions = {},
): Promise<readonly LoggedEntry[]> {
  const entries = (await listEntries(logbook, options)).filter(({ kind }) => kind === 'transaction')
  if (entries.some(({ number }) => number === undefined)) return entries
  return entries.toSorted((one, other) => (one.number ?? 0) - (other.number ?? 0))
}

/** By its number, its short id or what else names an entry. Fails with `not-found`. `look`: where nothing is to be changed. */
export function findTransaction(
  { listed: transactions, elsewhere = [] }: FindAmong,
  typed: string,
  purpose: 'change' | 'look' = 'change',
): ListedTransaction {
  const { entry: reference, path, typed: name } = parseEntryPath(typed)
  if (path !== undefined)
    throw new VmlError('usage', 'Cannot take one path of a transaction: a transaction is taken back whole', {
      hint: `Nothing was changed. For one file as it was before: vml restore ${name}:/PATH`,
    })
  const entries = transactions.map(({ entry }) => entry)
  const found = resolveTransaction(entries, reference, { name, purpose, elsewhere })
  const transaction = transactions.find(({ entry }) => entry === found)
  if (transaction) return transaction
  throw new VmlError('not-found', `Cannot find transaction ${entryName(found)}`)
}

export type FindAmong = Pick<TransactionsHere, 'listed'> & Partial<TransactionsHere>

function resolveTransaction(
  entries: readonly LoggedEntry[],
  reference: Parameters<typeof resolveEntry>[1],
  {
    name,
    purpose,
    elsewhere,
  }: {
    readonly name: string
    readonly purpose: 'change' | 'look'
    readonly elsewhere: readonly LoggedEntry[]
  },
): LoggedEntry {
  try {
    return resolveEntry(entries, reference, name)
  } catch (cause) {
    if (!isFailure(cause, 'not-found')) throw cause
    const other = resolvedAmong(elsewhere, reference, name)
    if (other) throw ofAnother(other, purpose)
    throw new VmlError('not-found', `Cannot find transaction "${printableText(name)}"`, {
      cause,
      hint: `${purpose === 'change' ? 'Nothing was changed. ' : ''}vml tx list shows them`,
    })
  }
}

function resolvedAmong(
  entries: readonly LoggedEntry[],
  reference: Parameters<typeof resolveEntry>[1],
  name: string,
): LoggedEntry | undefined {
  try {
    return resolveEntry(entries, reference, name)
  } catch (error) {
    if (isFailure(error, 'not-found')) return undefined
    throw error
  }
}

function ofAnother(entry: LoggedEntry, purpose: 'change' | 'look'): VmlError {
  const machine = printableText(entry.machine)
  const word = entryWord(entry)
  const way =
    purpose === 'look'
      ? `vml show ${word} shows it as an entry of this logbook`
      : `Nothing was changed. To take it back there: vml copy ${word} --from /var/lib/vml/logbook --to LOGBOOK, then vml tx undo ${word} --on ${machine} --logbook LOGBOOK`
  return new VmlError(
    'conflict',
    `Cannot take ${entryName(entry)} for a transaction of this machine: it was made on ${machine}`,
    {
      details: { transaction: entry.id, machine },
      hint: `${way}. Where this machine itself was called so: vml machine add ${machine} local:`,
    },
  )
}

/**
 * Those that are in force of what came later than the one at `index`. `settled` are undos, and redos, of nothing but later ones: with what they took back
 * whole they come to nothing, and what they seem to change an older one did that is in force again.
 */
export function inForceSince(
  listed: readonly ListedTransaction[],
  index: number,
): { readonly changes: readonly ListedTransaction[]; readonly settled: readonly ListedTransaction[] } {
  const later = listed.slice(index + 1)
  const ids = new Set(later.map(({ entry }) => entry.id))
  const isSettled = ({ document: { takesBack, inPart } }: ListedTransaction) =>
    takesBack !== undefined && inPart !== true && takesBack.every((id) => ids.has(id))
  const inForce = later.filter(({ undoneBy }) => undoneBy === undefined)
  return { changes: inForce.filter((each) => !isSettled(each)), settled: inForce.filter(isSettled) }
}

/** What its undo took back besides it, and is not in force again either: an undo of that undo brings all of it back. Oldest first. */
export function takenBackWith(
  { entry, undoneBy }: Pick<ListedTransaction, 'entry' | 'undoneBy'>,
  listed: readonly ListedTransaction[],
): readonly LoggedEntry[] {
  if (undoneBy === undefined) return []
  return listed.flatMap((other) =>
    other.undoneBy === undoneBy && other.entry !== entry ? [other.entry] : [],
  )
}

/** What is typed to bring it back: where it was taken back together with others, what says that all of them come. */
export function wayBack(
  one: Pick<ListedTransaction, 'entry' | 'undoneBy'>,
  listed: readonly ListedTransaction[],
): string {
  return one.undoneBy && takenBackWith(one, listed).length > 0
    ? `vml tx undo ${entryWord(one.undoneBy)}`
    : `vml tx redo ${entryWord(one.entry)}`
}

/** Refuses a redo that would bring back more than was named. */
export function requireAlone(one: ListedTransaction, listed: readonly ListedTransaction[]): void {
  const others = takenBackWith(one, listed)
  if (one.undoneBy === undefined || others.length === 0) return
  const { entry, undoneBy } = one
  const way = wayBack(one, listed)
  const all = others.length === 1 ? 'both' : `all ${others.length + 1}`
  throw new VmlError(
    'conflict',
    `Cannot bring back ${entryName(entry)} alone: ${entryName(undoneBy)} took it back together with ${entryNames(others)}`,
    {
      details: {
        transaction: entry.id,
        undone_by: undoneBy.id,
        together: others.map(({ number, id }) => number ?? id),
      },
      hint: `Nothing was changed. ${way} brings back ${all}; with --dry-run it says what that would be`,
    },
  )
}

/** Refuses what was taken back already, and says by which, and what of it stayed. */
export function requireNotUndone(one: ListedTransaction, listed: readonly ListedTransaction[]): void {
  const { entry, undoneBy, undoneInPart } = one
  if (undoneBy === undefined) return
  throw new VmlError(
    'conflict',
    `Cannot take back ${entryName(entry)}: ${entryName(undoneBy)} did it already${undoneInPart ? `, in part: ${stayedOf(one, listed)}` : ''}`,
    {
      details: { transaction: entry.id, undone_by: undoneBy.id, in_part: undoneInPart },
      hint: undoneInPart
        ? `Nothing was changed. For the rest of it: ${wayBack(one, listed)}, then vml tx undo ${entryWord(entry)}; with all that came later: vml tx undo --to-before ${entryWord(entry)}`
        : `Nothing was changed. To bring it back: ${wayBack(one, listed)}`,
    },
  )
}

/** Packages that were still needed, or else paths that were changed since. */
function stayedOf({ document, undoneBy }: ListedTransaction, listed: readonly ListedTransaction[]): string {
  const undo = listed.find(({ entry }) => entry === undoneBy)
  const taken = new Set(undo?.document.packages.map(({ name }) => name))
  const names = new Set(document.packages.map(({ name }) => name).filter((name) => !taken.has(name)))
  if (names.size === 0) return 'what had been changed since stayed'
  const more = names.size > namesToldMax ? ` and ${names.size - namesToldMax} more` : ''
  return `${[...names].slice(0, namesToldMax).map(printableText).join(', ')}${more} stayed`
}

const namesToldMax = 10
