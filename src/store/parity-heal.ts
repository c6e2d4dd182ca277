// Gets the bytes of a damaged or missing pack back from the others of its group, as far as there is recovery data for it.
import { hash } from 'node:crypto'
import type { FileRef } from '../backend/backend.ts'
import { isFailure } from '../base/failure.ts'
import type { PackId } from '../model/ids.ts'
import { packBytesMax } from './check-pack-content.ts'
import { isDamage } from './damage.ts'
import { coefficient, type ErasureArena, type ErasureMemory, solve } from './erasure.ts'
import type { FoundGroup } from './parity.ts'
import { checksumsOf, type ParityGroup, parityHeadBytes, readParityHead } from './parity-format.ts'
import type { Vault } from './sealed-file.ts'
import type { CallOptions } from './store.ts'

export interface Healed {
  /** Undefined where nothing of it could be read. */
  readonly content?: Buffer
  /** Why it is not what the name of the pack says: what could be made right is right, the rest is as it lies there, or zeros. */
  readonly problem?: string
}

type HealOptions = CallOptions & { readonly arena: ErasureArena }

/** Undefined where no recovery data names the pack. */
export async function healPack(
  vault: Vault,
  groups: readonly FoundGroup[],
  pack: PackId,
  options: HealOptions,
): Promise<Healed | undefined> {
  let failed: Healed | undefined
  for (const found of groups) {
    if (!found.members.some((member) => member.pack === pack)) continue
    const healed = await healFrom(vault, found, pack, options)
    if (healed.problem === undefined) return healed
    failed = healed
  }
  return failed
}

/**
 * Only the blocks that are wrong are made anew, so only those places of the other packs are read. Memory: for each row, and for the others one
 * after the other, the bytes in these places; for a pack that is gone, its size.
 */
async function healFrom(
  vault: Vault,
  found: FoundGroup,
  pack: PackId,
  options: HealOptions,
): Promise<Healed> {
  const group = await readGroup(vault, found, options)
  if (!group) return { problem: 'no file of its recovery data can be read' }
  const { blockBytes, members } = group
  const column = members.findIndex((member) => member.pack === pack)
  const member = members[column]
  if (!member || member.bytes > packBytesMax) return { problem: 'its recovery data does not hold it' }

  const content = Buffer.alloc(member.bytes)
  const present = await readUpTo(vault, { kind: 'pack', name: pack }, options)
  present?.copy(content)
  const checksums = checksumsOf(content, blockBytes)
  const places = [...member.checksums.keys()].filter(
    (block) =>
      checksums[block] !== member.checksums[block] ||
      blockEnd(block, group, member.bytes) > (present?.length ?? 0),
  )
  const lacks = await gatherRest(vault, { found, group, column, places }, options)
  let problem: string | undefined
  for (const [at, place] of places.entries()) {
    const { rows, columns } = lacks.at(at)
    if (columns.length > rows.length) {
      problem ??= `${columns.length} packs of its group are damaged in the same place, and recovery data is there for ${rows.length}`
      continue
    }
    const block = lacks.combine(at, rows.slice(0, columns.length), columns)
    block.copy(content, place * blockBytes, 0, blockEnd(place, group, member.bytes) - place * blockBytes)
  }
  if (hash('sha256', content) === pack) return { content }
  return { content, problem: problem ?? 'what its recovery data gives is not what its name says' }
}

interface Search {
  readonly found: FoundGroup
  readonly group: ParityGroup
  readonly column: number
  readonly places: readonly number[]
}

interface Lacks {
  /** Rows that can be read in that place, and columns that are missing there: ours first. */
  at(place: number): { readonly rows: readonly number[]; readonly columns: readonly number[] }
  /** The block of the first of the columns. */
  combine(place: number, rows: readonly number[], columns: readonly number[]): Buffer
}

/** Of each row, what is left of it without the packs that are there. */
async function gatherRest(
  vault: Vault,
  { found, group, column, places }: Search,
  options: HealOptions,
): Promise<Lacks> {
  const { blockBytes, members, rows, rowBytes } = group
  const rowsAt = places.map((): number[] => [])
  const columnsAt = places.map(() => [column])
  const [source, output] = [rows.length, rows.length + 1]
  const memory = options.arena.take(rows.length + 2, Math.max(1, places.length) * blockBytes)
  const load = async (
    file: FileRef,
    what: Pick<BlockRequest, 'offset' | 'bytes' | 'checksums'>,
    buffer: number,
  ) => {
    const target = memory.buffers[buffer]
    if (!target) throw new RangeError('There is no such buffer')
    return await readBlocks(vault, { file, ...what, places, blockBytes }, target, options)
  }
  for (const [row, checksums] of rows.entries()) {
    const file = found.files[row]
    if (!file) continue
    const offset = parityHeadBytes(group)
    const good = await load({ kind: 'parity', name: file.name }, { offset, bytes: rowBytes, checksums }, row)
    for (const at of good) rowsAt[at]?.push(row)
  }
  for (const [other, { pack, bytes, checksums }] of members.entries()) {
    if (other === column) continue
    options.signal?.throwIfAborted()
    const good = new Set(await load({ kind: 'pack', name: pack }, { offset: 0, bytes, checksums }, source))
    for (const [at, place] of places.entries()) {
      if (place * blockBytes >= bytes) continue
      const range = { offset: at * blockBytes, length: blockBytes }
      if (!good.has(at)) columnsAt[at]?.push(other)
      else for (const row of rowsAt[at] ?? []) memory.addProduct(row, source, coefficient(row, other), range)
    }
  }
  return {
    at: (at) => ({ rows: rowsAt[at] ?? [], columns: columnsAt[at] ?? [] }),
    combine: (at, by, columns) => combineRows(memory, { at, by, columns, output, blockBytes }),
  }
}

function combineRows(
  memory: ErasureMemory,
  {
    at,
    by,
    columns,
    output,
    blockBytes,
  }: {
    readonly at: number
    readonly by: readonly number[]
    readonly columns: readonly number[]
    readonly output: number
    readonly blockBytes: number
  },
): Buffer {
  const range = { offset: at * blockBytes, length: blockBytes }
  const [ours = []] = solve(by, columns)
  for (const [place, factor] of ours.entries()) memory.addProduct(output, by[place] ?? 0, factor, range)
  return memory.buffers[output]?.subarray(range.offset, range.offset + blockBytes) ?? Buffer.alloc(0)
}

interface BlockRequest {
  readonly file: FileRef
  /** Where block 0 begins in the file, and how many bytes all blocks have. */
  readonly offset: number
  readonly bytes: number
  readonly checksums: Uint32Array
  readonly places: readonly number[]
  readonly blockBytes: number
}

/** Puts the blocks of these places one after the other into the target, zeros behind what is short; returns which are right. */
async function readBlocks(
  vault: Vault,
  { file, offset, bytes, checksums, places, blockBytes }: BlockRequest,
  target: Buffer,
  options: CallOptions,
): Promise<readonly number[]> {
  const good: number[] = []
  for (const { first, count } of runsOf(places)) {
    const start = (places[first] ?? 0) * blockBytes
    const length = Math.min(bytes - start, count * blockBytes)
    if (length <= 0) continue
    const content = await readUpTo(vault, file, options, { offset: offset + start, length })
    for (let at = first; at < first + count && content; at++) {
      const place = places[at] ?? 0
      const block = content.subarray(place * blockBytes - start, (place + 1) * blockBytes - start)
      const whole = Math.min(blockBytes, bytes - place * blockBytes)
      if (whole <= 0 || block.length !== whole || checksumsOf(block, blockBytes)[0] !== checksums[place])
        continue
      target.set(block, at * blockBytes)
      target.fill(0, at * blockBytes + block.length, (at + 1) * blockBytes)
      good.push(at)
    }
  }
  return good
}

/** Places that follow each other are read at once. */
function* runsOf(places: readonly number[]): Iterable<{ readonly first: number; readonly count: number }> {
  for (let first = 0; first < places.length;) {
    let count = 1
    while (places[first + count] === (places[first] ?? 0) + count) count++
    yield { first, count }
    first += count
  }
}

/** What there is of a range, or of all: of a file that was cut off, what is left of it; undefined for one that is gone. */
async function readUpTo(
  { backend }: Vault,
  file: FileRef,
  options: CallOptions,
  range?: { readonly offset: number; readonly length: number },
): Promise<Buffer | undefined> {
  try {
    return await backend.get(file, range, options)
  } catch (error) {
    if (isFailure(error, 'not-found')) return undefined
    if (!isFailure(error, 'integrity.truncated') || !range) throw error
    const size = (await backend.size(file, options)) ?? 0
    if (size <= range.offset) return undefined
    return await backend.get(
      file,
      { offset: range.offset, length: Math.min(range.length, size - range.offset) },
      options,
    )
  }
}

/** With its checksums, by the first file that says them. */
async function readGroup(
  vault: Vault,
  { id, files }: FoundGroup,
  options: CallOptions,
): Promise<ParityGroup | undefined> {
  for (const file of files) {
    if (!file) continue
    const ref = { kind: 'parity', name: file.name } as const
    try {
      const read = async (offset: number, length: number) =>
        await vault.backend.get(ref, { offset, length }, options)
      const { group } = await readParityHead({ size: file.size, read })
      if (group.id === id) return group
    } catch (error) {
      if (!isFailure(error, 'not-found') && !isDamage(error)) throw error
    }
  }
  return undefined
}

function blockEnd(block: number, { blockBytes }: ParityGroup, bytes: number): number {
  return Math.min((block + 1) * blockBytes, bytes)
}
