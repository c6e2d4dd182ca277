// Looks for damage: names each damaged file, and the snapshots and paths that cannot be read whole because of it.
import { openFresh } from '../backend/fresh.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/failure.ts'
import type { Snapshot } from '../model/entry.ts'
import type { BlobIndex } from './blob-index.ts'
import { damageMessage } from './damage.ts'
import { type Fault, type FaultBook, openFaultBook } from './check-faults.ts'
import { readIndexes } from './check-index.ts'
import { checkPackFiles, readPacks } from './check-packs.ts'
import { traceFaults, walkTrees } from './check-trees.ts'
import { readKeyFile } from './keys.ts'
import { listLocks } from './lock-file.ts'
import { thisProcess } from './lock-holder.ts'
import type { Vault } from './sealed-file.ts'
import { isStale } from './stale-locks.ts'
import { readSnapshotFiles } from './snapshot-file.ts'
import type { CheckOptions, CheckReport } from './store.ts'

/** Reads without a lock: a caller that wants no prune beside it takes a shared one. */
export async function checkRepository(
  given: Vault,
  { readData, random = Math.random, reporter, signal, clock }: CheckOptions & { readonly clock: Clock },
): Promise<CheckReport> {
  const vault = { ...given, backend: openFresh(given.backend) }
  const book = openFaultBook()
  const options = { signal, reporter }
  await checkKeys(vault, book, options)
  await checkLocks(vault, book, { ...options, clock })
  // Snapshots before the index: whatever an older snapshot names, an index that is read later knows.
  const snapshots = await readSnapshots(vault, book, options)
  const { index, damaged } = await readIndex(vault, book, options)
  const packs = await checkPackFiles(vault, { index, book }, options)
  const sample = typeof readData === 'object' ? readData : undefined
  const read =
    readData === false
      ? { packs: 0, bytes: 0 }
      : await readPacks(vault, { index, book, present: packs.present, sample, random }, options)
  const trees = await walkTrees(vault, { index, book, snapshots, damagedIndexes: damaged }, options)
  await traceFaults(vault, { index, book, snapshots }, options)
  return {
    snapshots: snapshots.length,
    packs: packs.present.size,
    blobs: index.blobs,
    bytesRead: read.bytes + trees.bytesRead,
    packsRead: read.packs,
    findings: book.findings(),
    unusedPacks: packs.unused,
  }
}

type Options = Pick<CheckOptions, 'signal' | 'reporter'>

async function checkKeys(vault: Vault, book: FaultBook, options: Options): Promise<void> {
  for await (const { name } of vault.backend.list('key', options)) {
    try {
      const { intact } = await readKeyFile(vault.backend, name, options)
      if (!intact) book.add({ what: 'key', id: name, message: 'The key file was changed' })
    } catch (error) {
      book.add({ what: 'key', id: name, message: damageMessage(error) })
    }
  }
}

async function checkLocks(
  vault: Vault,
  book: FaultBook,
  { clock, ...options }: Options & { readonly clock: Clock },
): Promise<void> {
  const owner = thisProcess()
  for await (const { id, lock, error } of listLocks(vault, options)) {
    if (!lock) {
      book.add({
        what: 'lock',
        id,
        severity: 'notice',
        message: `The lock cannot be read: ${messageOf(error)}`,
      })
    } else if (isStale(lock, { owner, now: clock.now() })) {
      const message = `A lock of process ${lock.pid} on "${lock.hostname}" since ${lock.time} was left behind`
      book.add({ what: 'lock', id, severity: 'notice', message })
    }
  }
}

async function readSnapshots(vault: Vault, book: FaultBook, options: Options): Promise<Snapshot[]> {
  return await readSnapshotFiles(
    vault,
    ({ id, message }) => book.affect(book.add({ what: 'snapshot', id, message }), id, '/'),
    options,
  )
}

async function readIndex(
  vault: Vault,
  book: FaultBook,
  options: Options,
): Promise<{ readonly index: BlobIndex; readonly damaged: readonly Fault[] }> {
  const { table, damaged } = await readIndexes(vault, options)
  return {
    index: table,
    damaged: damaged.map(({ id, message }) => book.add({ what: 'index', id, message })),
  }
}
