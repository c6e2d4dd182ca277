// What tests record of a transaction that is of no matter to them.
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import type { TransactionDocument } from '../src/model/transaction-record.ts'
import type { Fingerprint, RecordedChange } from '../src/model/transaction.ts'
import type { Repository } from '../src/store/store.ts'
import {
  storeTransaction,
  type StoredTransaction,
  type TransactionToStore,
} from '../src/transaction/transaction-entry.ts'

/** Stored as #1. No content is given but what `more` gives; folders are root's. */
export async function recordTransaction(
  repository: Repository,
  changes: readonly RecordedChange[],
  { number = 1, ...more }: Partial<TransactionToStore> & { readonly number?: number } = {},
): Promise<StoredTransaction> {
  await using writer = await repository.beginWrite()
  return await storeTransaction(
    writer,
    {
      title: 'a transaction',
      note: '',
      tags: [],
      machine: { name: 'here', facts: {} },
      document: documentOf(),
      changes,
      contentBefore: () => assert.fail('no content before it was to be stored'),
      contentAfter: () => assert.fail('no content after it was to be stored'),
      deltas: new Map(),
      folderAttributes: () => ({ type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }),
      ...more,
    },
    { nextNumber: () => Promise.resolve(number) },
  )
}

/** A command that ran for no time, as root, and changed nothing. */
export function documentOf(more: Partial<TransactionDocument> = {}): TransactionDocument {
  const time = '2026-01-01T00:00:00.000Z'
  return {
    schema: 1,
    source: 'command',
    mode: 'staged',
    command: [],
    user: { name: 'root', uid: 0 },
    startedAt: time,
    endedAt: time,
    exitStatus: 0,
    packages: [],
    validations: [],
    services: [],
    complete: true,
    gaps: [],
    counts: { created: 0, changed: 0, deleted: 0 },
    storedBytes: 0,
    preImageBytes: 0,
    ...more,
  }
}

/** A file of root's with this content. */
export function fileOf(content: Buffer): Fingerprint {
  return {
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtimeNs: 0n,
    size: content.length,
    sha256: hash('sha256', content, 'hex'),
  }
}
