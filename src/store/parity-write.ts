// Makes the rows of a group of packs and writes them: one pack in memory at a time, beside the rows.
import { hash } from 'node:crypto'
import type { FileRef } from '../backend/backend.ts'
import { isFailure } from '../base/failure.ts'
import { openSweep } from '../base/sweep.ts'
import type { PackId } from '../model/ids.ts'
import { readWhole } from './check-packs.ts'
import { coefficient, type ErasureArena } from './erasure.ts'
import type { FoundGroup, FoundRow, ParityOptions } from './parity.ts'
import {
  checksumsOf,
  encodeParityFile,
  makeGroup,
  parityBlockBytes,
  type ParityGroup,
  type ParityMember,
  readParityHead,
} from './parity-format.ts'
import type { Vault } from './sealed-file.ts'

export interface GroupOrder {
  readonly rows: number
  /** Columns in this order, behind those of `from`. */
  readonly packs: readonly PackId[]
  /** A group that is taken over as it is; what a column adds to a row depends on no other. */
  readonly from?: FoundGroup
  readonly sizes: ReadonlyMap<PackId, number>
}

export interface WrittenGroup {
  readonly members: readonly PackId[]
  /** Packs that are not what their names say: protected, they would come back as they are. */
  readonly damaged: readonly PackId[]
  readonly names: readonly string[]
  readonly bytesRead: number
  readonly bytesWritten: number
}

/**
 * Every file is durable when it returns. Undefined where the group to take over cannot be read as it was written, nothing is written then. Memory: the rows,
 * and the largest pack three times.
 */
export async function writeGroup(
  vault: Vault,
  { rows, packs, from, sizes }: GroupOrder,
  options: Pick<ParityOptions, 'signal'> & { readonly arena: ErasureArena },
): Promise<WrittenGroup | undefined> {
  const rowBytes = Math.max(from?.rowBytes ?? 0, ...packs.map((pack) => sizes.get(pack) ?? 0))
  const memory = options.arena.take(rows + 1, rowBytes)
  const source = memory.buffers[rows]
  if (!source) throw new RangeError('There is no buffer for a pack')
  // Each pack is fresh memory; without it some 64 MiB more would pile up.
  const sweep = openSweep()
  let bytesRead = 0
  const members: ParityMember[] = []
  for (const [row, file] of (from?.files ?? []).entries()) {
    const taken = await readRow(vault, file, options)
    if (!taken || taken.group.id !== from?.id || taken.group.blockBytes !== parityBlockBytes) return undefined
    memory.buffers[row]?.set(taken.content)
    if (row === 0) members.push(...taken.group.members)
    bytesRead += taken.content.length
  }
  const damaged: PackId[] = []
  for (const pack of packs) {
    options.signal?.throwIfAborted()
    const content = await readWhole(vault, pack, options)
    // A prune may have taken it since it was listed.
    if (!content) continue
    bytesRead += content.length
    sweep(content.length)
    if (content.length > rowBytes || hash('sha256', content) !== pack) {
      damaged.push(pack)
      continue
    }
    source.set(content)
    source.fill(0, content.length)
    const range = { offset: 0, length: content.length }
    for (let row = 0; row < rows; row++) memory.addProduct(row, rows, coefficient(row, members.length), range)
    members.push({ pack, bytes: content.length, checksums: checksumsOf(content, parityBlockBytes) })
  }
  const names: string[] = []
  if (members.length === (from?.members.length ?? 0))
    return { members: [], damaged, names, bytesRead, bytesWritten: 0 }
  const contents = memory.buffers.slice(0, rows)
  const group = makeGroup({
    blockBytes: parityBlockBytes,
    members,
    rows: contents.map((content) => checksumsOf(content, parityBlockBytes)),
    rowBytes,
  })
  let bytesWritten = 0
  for (const [row, content] of contents.entries()) {
    options.signal?.throwIfAborted()
    const { name, data } = encodeParityFile(group, row, content)
    await putRow(vault, { kind: 'parity', name }, data, options)
    names.push(name)
    bytesWritten += data.length
    sweep(data.length)
  }
  return { members: members.map(({ pack }) => pack), damaged, names, bytesRead, bytesWritten }
}

/** The same group again has the same files: what lies there under the name and is not it, is damaged. */
async function putRow(
  { backend }: Vault,
  file: FileRef,
  data: Buffer,
  options: Pick<ParityOptions, 'signal'>,
): Promise<void> {
  try {
    await backend.put(file, data, options)
  } catch (error) {
    if (!isFailure(error, 'exists')) throw error
    await backend.remove(file, options)
    await backend.put(file, data, options)
  }
}

/** Undefined where it is not what its name says. */
async function readRow(
  vault: Vault,
  file: FoundRow | undefined,
  options: Pick<ParityOptions, 'signal'>,
): Promise<{ readonly group: ParityGroup; readonly content: Buffer } | undefined> {
  if (!file) return undefined
  try {
    const data = await vault.backend.get({ kind: 'parity', name: file.name }, undefined, options)
    if (hash('sha256', data) !== file.name) return undefined
    const read = async (offset: number, length: number) => data.subarray(offset, offset + length)
    const { group, offset } = await readParityHead({ size: data.length, read })
    return { group, content: data.subarray(offset, offset + group.rowBytes) }
  } catch (error) {
    // Another run replaced it.
    if (isFailure(error, 'not-found')) return undefined
    throw error
  }
}
