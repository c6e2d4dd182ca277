// A copy of the loaded index on this computer, in the form in which it lies in memory: read back in one piece instead of
// file by file. A cache: always to be made again from the index files, which it names.
import { createHash, hash } from 'node:crypto'
import type { IndexId } from '../model/ids.ts'
import { type BlobIndex, type BlobIndexImage, openBlobIndex } from './blob-index.ts'

/** Where it lies. Neither may fail: what cannot be read is not there, what cannot be written is not kept. */
export interface IndexCache {
  /** Given away: the table lives in it. */
  read(): Promise<Buffer | undefined>
  write(parts: readonly Uint8Array[]): Promise<void>
}

export interface CachedIndex {
  readonly table: BlobIndex
  readonly files: ReadonlySet<IndexId>
  /** Index files that these replace. */
  readonly superseded: ReadonlySet<IndexId>
}

const magic = 'vml index 1\n'
const sumBytes = 32
const headBytesMax = 64 * 1024 * 1024

/**
 * The magic line, the length of the head, the head as JSON, then slots and entries as they lie in memory (in this computer's order of
 * bytes), and a SHA-256 of all before it: a wrong table could call a blob stored that is not.
 */
export function encodeIndexCache({ table, files, superseded }: CachedIndex): Uint8Array[] {
  const { slots, entries, ...rest } = table.image()
  const json = Buffer.from(
    JSON.stringify({
      files: [...files],
      superseded: [...superseded],
      slots: slots.length,
      entries: entries.reduce((sum, { length }) => sum + length, 0),
      rest,
    }),
  )
  // What follows lies at a multiple of four, as words must.
  const start = Buffer.alloc(magic.length + 4)
  const head = Buffer.alloc(roundUp(start.length + json.length) - start.length, ' ')
  json.copy(head)
  start.write(magic, 'latin1')
  start.writeUInt32LE(head.length, magic.length)
  const parts = [start, head, bytesOf(slots), ...entries.map(bytesOf)]
  return [...parts, sumOf(parts)]
}

/** Undefined for anything but what this computer wrote, to the byte. */
export function decodeIndexCache(content: Buffer): CachedIndex | undefined {
  const end = content.length - sumBytes
  if (end < magic.length + 4 || content.toString('latin1', 0, magic.length) !== magic) return undefined
  if (!hash('sha256', content.subarray(0, end), 'buffer').equals(content.subarray(end))) return undefined
  const headStart = magic.length + 4
  const headBytes = content.readUInt32LE(magic.length)
  if (headBytes > headBytesMax || headStart + headBytes > end) return undefined
  // The sum shows that it is what was written here: its form needs no second look.
  const head = JSON.parse(content.toString('utf8', headStart, headStart + headBytes)) as {
    readonly files: readonly IndexId[]
    readonly superseded: readonly IndexId[]
    readonly slots: number
    readonly entries: number
    readonly rest: Omit<BlobIndexImage, 'slots' | 'entries'>
  }
  const slotsAt = headStart + headBytes
  const slots = wordsOf(content, slotsAt, head.slots)
  const entries = wordsOf(content, slotsAt + head.slots * 4, head.entries)
  if (!slots || !entries) return undefined
  const table = openBlobIndex({ ...head.rest, slots, entries: [entries] })
  return { table, files: new Set(head.files), superseded: new Set(head.superseded) }
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
}

/** A view where memory allows one, else a copy. */
function wordsOf(content: Buffer, at: number, words: number): Uint32Array | undefined {
  const bytes = content.subarray(at, at + words * 4)
  if (bytes.length < words * 4) return undefined
  return bytes.byteOffset % 4 === 0
    ? new Uint32Array(bytes.buffer, bytes.byteOffset, words)
    : new Uint32Array(Uint8Array.from(bytes).buffer)
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / 4) * 4
}

function sumOf(parts: readonly Uint8Array[]): Buffer {
  const sum = createHash('sha256')
  for (const part of parts) sum.update(part)
  return sum.digest()
}
