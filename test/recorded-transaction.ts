// What tests record of a transaction that is of no matter to them.
import { hash } from 'node:crypto'
import type { TransactionDocument } from '../src/model/transaction-record.ts'
import type { Fingerprint } from '../src/model/transaction.ts'

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
