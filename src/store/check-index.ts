// Reads every index file of a repository for a check or a repair: one table of all that counts, and what cannot be read.
import type { Reporter } from '../base/progress.ts'
import { isFailure } from '../base/failure.ts'
import { type IndexId, type PackId, parseId } from '../model/ids.ts'
import { type BlobIndex, openBlobIndex } from './blob-index.ts'
import { damageMessage } from './damage.ts'
import { readIndexFile } from './index-scan.ts'
import type { Vault } from './sealed-file.ts'
import type { CallOptions } from './store.ts'

export interface CheckedIndexes {
  readonly table: BlobIndex
  /** The packs that each file names. */
  readonly files: ReadonlyMap<IndexId, readonly PackId[]>
  /** Files that say that others count no more, and those others. */
  readonly replacing: ReadonlySet<IndexId>
  readonly replaced: ReadonlySet<IndexId>
  readonly damaged: readonly { readonly id: IndexId; readonly message: string }[]
}

/** Holds one file at a time beside the table. */
export async function readIndexes(
  vault: Vault,
  options: CallOptions & { readonly reporter: Reporter },
): Promise<CheckedIndexes> {
  const sizes = new Map<IndexId, number>()
  for await (const { name, size } of vault.backend.list('index', options)) {
    const id = parseId<IndexId>(name)
    if (id !== undefined) sizes.set(id, size)
  }
  const first = await readAll(vault, sizes, new Set(), options)
  // Files that replace others are from years ago; blobs cannot be taken out of a table.
  return [...first.replaced].some((id) => first.files.has(id))
    ? await readAll(vault, sizes, first.replaced, options)
    : first
}

async function readAll(
  vault: Vault,
  sizes: ReadonlyMap<IndexId, number>,
  leftOut: ReadonlySet<IndexId>,
  options: CallOptions & { readonly reporter: Reporter },
): Promise<CheckedIndexes> {
  const table = openBlobIndex()
  const files = new Map<IndexId, readonly PackId[]>()
  const damaged: { id: IndexId; message: string }[] = []
  const replacing = new Set<IndexId>()
  const replaced = new Set(leftOut)
  for (const [id, sizeBytes] of sizes) {
    options.reporter.progress({ phase: 'reading indexes', filesDone: files.size, filesTotal: sizes.size })
    try {
      const { packs, supersedes } = await readIndexFile(vault, id, { ...options, sizeBytes })
      if (supersedes.length > 0) replacing.add(id)
      for (const old of supersedes) replaced.add(old)
      if (!leftOut.has(id)) for (const { pack, blobs } of packs) table.add(pack, blobs)
      files.set(
        id,
        packs.map(({ pack }) => pack),
      )
    } catch (error) {
      // Another program may have put others in its place since it was listed.
      if (!isFailure(error, 'not-found')) damaged.push({ id, message: damageMessage(error) })
    }
  }
  return { table, files, replacing, replaced, damaged }
}
