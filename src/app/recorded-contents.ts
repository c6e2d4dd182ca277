// The contents that transactions recorded on this machine: with its pins, and with packages from the sources that are configured.
import { rootPath } from '../model/raw-path.ts'
import { pinPath } from '../transaction/pins.ts'
import { openTransactionContents, type TransactionContents } from '../transaction/transaction-contents.ts'
import type { ReadTransaction } from '../transaction/transaction-entry.ts'
import { pathIn } from '../transaction/workplace.ts'
import { applyDelta } from '../wire/zstd-delta.ts'
import type { Logbook } from './open.ts'
import { type Asking, openReferencedContents } from './package-archives.ts'
import { systemFolder } from './system-logbook.ts'

export interface RecordedContents extends AsyncDisposable {
  readonly contents: TransactionContents
  /** See `ReferencedContents`. */
  unasked(): readonly string[]
}

/** `folder`: where packages that are fetched lie meanwhile. */
export function openRecordedContents({
  asking,
  logbook: { repository },
  transactions,
  folder,
}: {
  readonly asking: Asking
  readonly logbook: Logbook
  readonly transactions: () => Promise<readonly ReadTransaction[]>
  readonly folder: string
}): RecordedContents {
  const fetched = openReferencedContents({ asking, state: folder, transactions })
  return {
    contents: openTransactionContents({
      repository,
      transactions,
      pinned: (sha256) => pinPath({ state: pathIn(rootPath, systemFolder) }, sha256),
      applyDelta: (delta, base) => applyDelta({ delta, base }),
      requirePackage: async (reference) => await fetched.require(reference),
      fromPackage: async (reference, sha256) => await fetched.read(reference, sha256),
      signal: asking.context.signal,
    }),
    unasked: () => fetched.unasked(),
    [Symbol.asyncDispose]: async () => await fetched[Symbol.asyncDispose](),
  }
}
