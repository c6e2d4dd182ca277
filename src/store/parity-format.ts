// Files of recovery data, as they lie in `parity/`: a row of a group of packs, between two copies of what the group is. docs/format.md, "Parity".
import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { VmlError } from '../base/failure.ts'
import { type PackId, parseId } from '../model/ids.ts'
import { columnsMax, rowsMax } from './erasure.ts'

/** What is checked, and healed, by itself: a flipped bit costs the recovery data of so many bytes. */
export const parityBlockBytes = 64 * 1024

export interface ParityMember {
  readonly pack: PackId
  readonly bytes: number
  /** CRC-32 of each block; the last one may be shorter. */
  readonly checksums: Uint32Array
}

/** Equal in all rows of a group. */
export interface ParityGroup {
  /** SHA-256 of its encoding, in hex. */
  readonly id: string
  readonly blockBytes: number
  readonly members: readonly ParityMember[]
  /** CRC-32 of each block of each row; every row is as long as the largest pack. */
  readonly rows: readonly Uint32Array[]
  readonly rowBytes: number
}

export interface ParityRow {
  readonly group: ParityGroup
  readonly row: number
  /** Where in the file the row begins. */
  readonly offset: number
}

const magic = Buffer.from('VMLPAR1\n', 'latin1')
/** Magic, length of the group, number of the row, nothing, SHA-256 of all that and the group. */
const preambleBytes = 48
const digestOffset = 16
const memberBytes = 36
const groupHeadBytes = 12
/** 240 packs of 512 MiB each. */
const groupBytesMax = 16 * 1024 * 1024
const blockBytesMin = 4096
const blockBytesMax = 16 * 1024 * 1024

/** As much of a file as holds what most groups are. */
export const likelyHeadBytes = 64 * 1024

export function checksumsOf(content: Uint8Array, blockBytes: number): Uint32Array {
  const checksums = new Uint32Array(Math.ceil(content.length / blockBytes))
  for (let block = 0; block < checksums.length; block++)
    checksums[block] = crc32(content.subarray(block * blockBytes, (block + 1) * blockBytes))
  return checksums
}

export function makeGroup(
  parts: Pick<ParityGroup, 'blockBytes' | 'members' | 'rows' | 'rowBytes'>,
): ParityGroup {
  return { id: hash('sha256', encodeGroup(parts)), ...parts }
}

/** The whole file of a row, and its name. */
export function encodeParityFile(
  group: ParityGroup,
  row: number,
  content: Uint8Array,
): { readonly name: string; readonly data: Buffer } {
  const description = encodeGroup(group)
  const preamble = Buffer.alloc(preambleBytes)
  magic.copy(preamble)
  preamble.writeUInt32LE(description.length, 8)
  preamble.writeUInt16LE(row, 12)
  digestOf(preamble, description).copy(preamble, digestOffset)
  // Mirrored, so that damage at either end leaves one whole.
  const data = Buffer.concat([preamble, description, content, description, preamble])
  return { name: hash('sha256', data), data }
}

/** What lies before a row in its file. */
export function parityHeadBytes({ members, rows }: ParityGroup): number {
  const blocks = [...members.map(({ checksums }) => checksums), ...rows].reduce(
    (sum, { length }) => sum + length,
    0,
  )
  return preambleBytes + groupHeadBytes + members.length * memberBytes + blocks * 4
}

export interface FileReader {
  readonly size: number
  read(offset: number, length: number): Promise<Buffer>
}

export function isParityFile(head: Buffer): boolean {
  return head.subarray(0, magic.length).equals(magic)
}

/** By the copy at its begin or the one at its end; `integrity.format` where neither can be read. */
export async function readParityHead(file: FileReader): Promise<ParityRow> {
  const likely = await file.read(0, Math.min(file.size, likelyHeadBytes))
  const front = await readCopy(likely.subarray(0, preambleBytes), file, async (length) =>
    preambleBytes + length <= likely.length
      ? likely.subarray(preambleBytes, preambleBytes + length)
      : await file.read(preambleBytes, length),
  )
  if (front) return front
  if (file.size >= preambleBytes) {
    const back = await readCopy(
      await file.read(file.size - preambleBytes, preambleBytes),
      file,
      async (length) => await file.read(file.size - preambleBytes - length, length),
    )
    if (back) return back
  }
  throw new VmlError('integrity.format', 'Cannot read recovery data: neither end of the file says what it is')
}

async function readCopy(
  preamble: Buffer,
  { size }: FileReader,
  read: (length: number) => Promise<Buffer>,
): Promise<ParityRow | undefined> {
  if (preamble.length < preambleBytes || !isParityFile(preamble)) return undefined
  const length = preamble.readUInt32LE(8)
  const row = preamble.readUInt16LE(12)
  if (length > groupBytesMax || 2 * (preambleBytes + length) > size) return undefined
  const description = await read(length)
  if (!digestOf(preamble, description).equals(preamble.subarray(digestOffset, preambleBytes)))
    return undefined
  const group = decodeGroup(description)
  if (!group || row >= group.rows.length) return undefined
  // One that was cut off and still begins well is of use up to there; its missing blocks fail their checksums.
  return { group, row, offset: preambleBytes + length }
}

function digestOf(preamble: Buffer, description: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([preamble.subarray(0, digestOffset), description]), 'buffer')
}

function encodeGroup({
  blockBytes,
  members,
  rows,
  rowBytes,
}: Pick<ParityGroup, 'blockBytes' | 'members' | 'rows' | 'rowBytes'>): Buffer {
  const head = Buffer.alloc(groupHeadBytes + members.length * memberBytes)
  head.writeUInt32LE(blockBytes, 0)
  head.writeUInt16LE(members.length, 4)
  head.writeUInt16LE(rows.length, 6)
  head.writeUInt32LE(rowBytes, 8)
  members.forEach(({ pack, bytes }, at) => {
    head.write(pack, groupHeadBytes + at * memberBytes, 'hex')
    head.writeUInt32LE(bytes, groupHeadBytes + at * memberBytes + 32)
  })
  const lists = [...members.map(({ checksums }) => checksums), ...rows]
  const checksums = Buffer.alloc(lists.reduce((sum, list) => sum + list.length, 0) * 4)
  let at = 0
  for (const list of lists) for (const each of list) at = checksums.writeUInt32LE(each, at)
  return Buffer.concat([head, checksums])
}

/** Undefined for what no VML writes. */
function decodeGroup(data: Buffer): ParityGroup | undefined {
  if (data.length < groupHeadBytes) return undefined
  const blockBytes = data.readUInt32LE(0)
  const memberCount = data.readUInt16LE(4)
  const rowCount = data.readUInt16LE(6)
  const rowBytes = data.readUInt32LE(8)
  const sane =
    blockBytes >= blockBytesMin &&
    blockBytes <= blockBytesMax &&
    blockBytes % blockBytesMin === 0 &&
    memberCount > 0 &&
    memberCount <= columnsMax &&
    rowCount > 0 &&
    rowCount <= rowsMax
  let at = groupHeadBytes + memberCount * memberBytes
  if (!sane || data.length < at) return undefined
  const heads = Array.from({ length: memberCount }, (_, member) => {
    const start = groupHeadBytes + member * memberBytes
    return {
      pack: parseId<PackId>(data.toString('hex', start, start + 32)),
      bytes: data.readUInt32LE(start + 32),
    }
  })
  const blocksOf = (bytes: number) => Math.ceil(bytes / blockBytes)
  const blocks = heads.reduce((sum, { bytes }) => sum + blocksOf(bytes), rowCount * blocksOf(rowBytes))
  if (data.length !== at + blocks * 4 || heads.some(({ bytes }) => bytes > rowBytes)) return undefined
  const take = (bytes: number) => {
    const list = new Uint32Array(blocksOf(bytes))
    for (let block = 0; block < list.length; block++, at += 4) list[block] = data.readUInt32LE(at)
    return list
  }
  const members: ParityMember[] = []
  for (const { pack, bytes } of heads) {
    if (pack === undefined) return undefined
    members.push({ pack, bytes, checksums: take(bytes) })
  }
  const rows = Array.from({ length: rowCount }, () => take(rowBytes))
  return { id: hash('sha256', data), blockBytes, members, rows, rowBytes }
}
