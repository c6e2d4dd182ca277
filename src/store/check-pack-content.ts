// What the bytes of one pack hold: which of its blobs are right, each proved by MAC and hash.
import { hash } from 'node:crypto'
import { isFailure } from '../base/failure.ts'
import type { PackId } from '../model/ids.ts'
import type { Cipher } from './cipher.ts'
import { decodePackHeader, headerLengthBytes, type PackedBlob, parseHeaderLength } from './pack-format.ts'
import { decompress } from './zstd.ts'

/** restic itself writes at most 128 MiB; a larger one is not read into memory. */
export const packBytesMax = 512 * 1024 * 1024
/** As the reader of blobs has it. */
const blobBytesMax = 1024 * 1024 * 1024

export interface ByteRange {
  readonly offset: number
  readonly length: number
}

export interface PackContent {
  /** Whether the bytes have the hash in their name. */
  readonly intact: boolean
  /** What the pack itself says it holds, or why it cannot be told. */
  readonly header: readonly PackedBlob[] | undefined
  readonly headerProblem: string | undefined
  /** Of what the header and the index name: what is right, and what is not. */
  readonly good: readonly PackedBlob[]
  readonly lost: readonly PackedBlob[]
}

/** Leaves the content as it is. `named` is what the index says of the pack. */
export function inspectPack(
  cipher: Cipher,
  {
    pack,
    content,
    named,
  }: { readonly pack: PackId; readonly content: Buffer; readonly named: readonly PackedBlob[] },
): PackContent {
  const intact = hash('sha256', content) === pack
  const { header, headerProblem } = readHeader(cipher, content)
  const good: PackedBlob[] = []
  const lost: PackedBlob[] = []
  const scratch = openScratch()
  const seen = new Set<string>()
  for (const blob of [...(header ?? []), ...named]) {
    const place = placeName(blob)
    if (seen.has(place)) continue
    seen.add(place)
    if (opens(cipher, { blob, content, scratch })) good.push(blob)
    else lost.push(blob)
  }
  good.sort((left, right) => left.offset - right.offset)
  return { intact, header, headerProblem, good, lost }
}

/** Whether two lists name the same blobs in the same places, in whatever order. */
export function sameBlobs(left: readonly PackedBlob[], right: readonly PackedBlob[]): boolean {
  const places = new Set(left.map(placeName))
  return (
    places.size === new Set(right.map(placeName)).size && right.every((blob) => places.has(placeName(blob)))
  )
}

/** The parts that are not what they should be, as far as that can be told; all of it where it cannot. */
export function damagedRanges(content: Buffer, inspected: PackContent): readonly ByteRange[] {
  const { header, headerProblem, lost } = inspected
  if (header === undefined && lost.length === 0) return [{ offset: 0, length: content.length }]
  const ranges: ByteRange[] = lost.map(({ offset, length }) => ({ offset, length }))
  if (headerProblem !== undefined) {
    const end = Math.max(0, ...[...inspected.good, ...lost].map(({ offset, length }) => offset + length))
    ranges.push({ offset: end, length: Math.max(0, content.length - end) })
  }
  return ranges.length > 0 ? ranges : [{ offset: 0, length: content.length }]
}

function placeName({ type, id, offset, length, plainLength }: PackedBlob): string {
  return `${type}/${id}/${offset}/${length}/${plainLength ?? 0}`
}

function readHeader(
  cipher: Cipher,
  content: Buffer,
): { readonly header?: readonly PackedBlob[]; readonly headerProblem?: string } {
  try {
    const headerEnd = content.length - headerLengthBytes
    if (headerEnd < 0) return { headerProblem: 'it has no header' }
    const headerBytes = parseHeaderLength(content.subarray(headerEnd), content.length)
    return {
      header: decodePackHeader(cipher, content.subarray(headerEnd - headerBytes, headerEnd), content.length),
    }
  } catch (error) {
    if (isFailure(error)) return { headerProblem: error.message }
    throw error
  }
}

interface Attempt {
  readonly blob: PackedBlob
  readonly content: Buffer
  readonly scratch: Scratch
}

function opens(cipher: Cipher, { blob, content, scratch }: Attempt): boolean {
  const { id, offset, length, plainLength } = blob
  if (offset + length > content.length || (plainLength ?? 0) > blobBytesMax) return false
  try {
    const opened = cipher.openInto(scratch.of(length), content.subarray(offset, offset + length))
    const plain = plainLength === undefined ? opened : decompress(opened, plainLength)
    return hash('sha256', plain) === id
  } catch (error) {
    if (isFailure(error)) return false
    throw error
  }
}

interface Scratch {
  of(bytes: number): Buffer
}

/** Fresh memory for every blob would cost more than the cipher. */
function openScratch(): Scratch {
  let buffer = Buffer.alloc(0)
  return {
    of(bytes) {
      if (buffer.length < bytes) buffer = Buffer.allocUnsafeSlow(bytes)
      return buffer
    },
  }
}
