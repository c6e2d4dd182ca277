// Compares what an index names with what is stored: what is gone is stored again, and packs that a killed or cut-off
// writer left without an index are taken in.
import { hash } from 'node:crypto'
import { isFailure } from '../base/failure.ts'
import { type PackId, parseId } from '../model/ids.ts'
import type { BlobIndex } from './blob-index.ts'
import { isDamage } from './damage.ts'
import type { IndexedPack } from './index-file.ts'
import { decodePackHeader, headerLengthBytes, parseHeaderLength } from './pack-format.ts'
import type { Vault } from './sealed-file.ts'
import type { CallOptions } from './store.ts'

export interface PackComparison {
  /** Named by an index, but not there or cut off: nothing may rely on them. */
  readonly unusable: ReadonlySet<PackId>
  readonly unindexed: ReadonlyMap<PackId, number>
}

/** The index must have been loaded before: a pack is stored before an index names it. */
export async function comparePacks(
  vault: Vault,
  index: BlobIndex,
  options: CallOptions = {},
): Promise<PackComparison> {
  const listed = new Map<PackId, number>()
  for await (const { name, size } of vault.backend.list('pack', options)) {
    const pack = parseId<PackId>(name)
    if (pack !== undefined) listed.set(pack, size)
  }
  const unusable = new Set<PackId>()
  for (const { pack, bytes } of index.packs()) {
    if ((listed.get(pack) ?? 0) < bytes) unusable.add(pack)
    listed.delete(pack)
  }
  return { unusable, unindexed: listed }
}

/** What a writer leaves between two index files is far less; more comes from elsewhere, and reading it takes time. */
const adoptBytesMax = 4 * 1024 * 1024 * 1024
const packBytesMax = 256 * 1024 * 1024

/** Packs whose every byte is what their name says. Others stay where they are, for `check` to tell. */
export async function* readUnindexed(
  vault: Vault,
  unindexed: ReadonlyMap<PackId, number>,
  options: CallOptions = {},
): AsyncIterable<IndexedPack> {
  let bytes = 0
  for (const [pack, size] of unindexed) {
    if (size > packBytesMax || bytes + size > adoptBytesMax) continue
    bytes += size
    const adopted = await readPack(vault, pack, options)
    if (adopted) yield adopted
  }
}

async function readPack(vault: Vault, pack: PackId, options: CallOptions): Promise<IndexedPack | undefined> {
  try {
    const content = await vault.backend.get({ kind: 'pack', name: pack }, undefined, options)
    if (hash('sha256', content) !== pack || content.length < headerLengthBytes) return undefined
    const headerEnd = content.length - headerLengthBytes
    const headerBytes = parseHeaderLength(content.subarray(headerEnd), content.length)
    const header = content.subarray(headerEnd - headerBytes, headerEnd)
    return { pack, blobs: decodePackHeader(vault.cipher, header, content.length) }
  } catch (error) {
    if (isDamage(error) || isFailure(error, 'not-found')) return undefined
    throw error
  }
}
