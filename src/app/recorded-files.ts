// Files as they were before a transaction, however its entry has them: as content, as a difference, or as a package that gives them again.
import { tmpdir } from 'node:os'
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { entryName, entryWord, type LoggedEntry } from '../engine/entries.ts'
import type { RebuiltFile } from '../engine/restore-entry.ts'
import { isWithin, type RawPath } from '../model/raw-path.ts'
import type { RecordedChange } from '../model/transaction.ts'
import { contentBytesMax } from '../transaction/transaction-contents.ts'
import {
  readTransaction,
  type ReadTransaction,
  readTransactionsOf,
} from '../transaction/transaction-entry.ts'
import { transactionEntries } from '../transaction/transactions.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import type { Logbook } from './open.ts'
import { machineSettings } from './machine-settings.ts'
import { openRecordedContents, type RecordedContents } from './recorded-contents.ts'
import type { TransactionContext } from './transaction-context.ts'

/** One that the entry's tree does not have; undefined where that has it, or where the transaction did not change the path. */
export async function readRecordedFile(
  context: TransactionContext,
  logbook: Logbook,
  { entry, path }: { readonly entry: LoggedEntry; readonly path: RawPath },
): Promise<Buffer | undefined> {
  const transaction = await readTransaction(logbook.repository, entry, context)
  const change = transaction.changes.find((each) => each.path === path)
  if (change === undefined || change.preImage.kind === 'blob' || change.before?.type === 'dir')
    return undefined
  requireFile(entry, change, '')
  await using opened = openContents(context, logbook, entry)
  return await opened.contents.before(transaction, change)
}

/** All at or below a path that the entry's tree does not have. Of a folder, what cannot be had any more is told; of a file it is a failure. */
export async function rebuildFiles(
  context: TransactionContext,
  logbook: Logbook,
  { entry, path }: { readonly entry: LoggedEntry; readonly path: RawPath },
): Promise<readonly RebuiltFile[]> {
  const transaction = await readTransaction(logbook.repository, entry, context)
  const below = transaction.changes.filter((change) => isWithin(change.path, path))
  const own = below.find((change) => change.path === path)
  if (own && own.before?.type !== 'dir' && own.preImage.kind !== 'blob')
    requireFile(entry, own, 'Nothing was changed. ')
  const isRebuilt = (change: RecordedChange) =>
    change.before?.type === 'file' &&
    (change === own || isKeptOtherwise(change)) &&
    change.preImage.kind !== 'blob'
  const rebuilt = below.filter(isRebuilt)
  const bytes = rebuilt.reduce((sum, { before }) => sum + (before?.size ?? 0), 0)
  if (bytes > contentBytesMax)
    throw new VmlError(
      'unsupported',
      `Cannot rebuild ${rebuilt.length} files at once: they are too large together`,
      {
        hint: 'Nothing was changed. Name a folder in it, or one file',
      },
    )
  const lost = below.filter((change) => change !== own && change.preImage.kind === 'lost')
  if (lost[0])
    context.reporter.warn({
      warning: `"${printable(lost[0].path)}"${lost.length > 1 ? ` and ${lost.length - 1} more` : ''} cannot be had as before ${entryName(entry)}: vml tx show tells why`,
    })
  await using opened = openContents(context, logbook, entry)
  const files: RebuiltFile[] = []
  for (const change of rebuilt) {
    if (change.before === undefined) continue
    const { mode, uid, gid, mtimeNs, size, xattrs } = change.before
    files.push({
      path: change.path,
      bytes: await opened.contents.before(transaction, change),
      attributes: {
        ...{ type: 'file', mode, uid, gid, mtimeNs },
        ...(size === undefined ? {} : { size }),
        ...(xattrs === undefined ? {} : { xattrs }),
      },
    })
  }
  return files
}

function openContents(
  context: TransactionContext,
  logbook: Logbook,
  { machine }: LoggedEntry,
): RecordedContents {
  const { signal } = context
  let read: Promise<readonly ReadTransaction[]> | undefined
  const readAll = async () => {
    const entries = await transactionEntries(logbook, context)
    const own = entries.filter((entry) => entry.machine === machine)
    return await readTransactionsOf(logbook.repository, own, { signal })
  }
  return openRecordedContents({
    asking: { context, settings: machineSettings(context).settings, shell: openLocalShell() },
    logbook,
    transactions: () => (read ??= readAll()),
    folder: tmpdir(),
  })
}

export function isKeptOtherwise({ preImage: { kind } }: RecordedChange): boolean {
  return kind === 'delta' || kind === 'reference'
}

function requireFile(
  entry: LoggedEntry,
  { path, before }: RecordedChange,
  /** Of what changes nothing anyway there is nothing to say. */
  outcome: '' | 'Nothing was changed. ',
): void {
  if (before?.type === 'file') return
  const name = entryName(entry)
  const was =
    before === undefined
      ? 'it was not there'
      : before.linkTarget === undefined
        ? `it was of type ${before.type}`
        : `it was a link to "${printable(before.linkTarget)}"`
  throw new VmlError('not-found', `Cannot get "${printable(path)}" as it was before ${name}: ${was}`, {
    hint: `${outcome}What ${name} did is told by vml tx show ${entryWord(entry)} --paths`,
  })
}
