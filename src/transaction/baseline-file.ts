// What an index cannot tell of paths, kept beside it as one file: contents of small files, targets of links, attributes (docs/format.md).
import { hash } from 'node:crypto'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { VmlError } from '../base/failure.ts'
import { asRaw } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Fingerprint } from '../model/transaction.ts'
import { encodeChanges, parseChanges } from '../model/transaction-record.ts'

export interface Baseline {
  /**
   * Of each path a line of JSON, as `lineOf` makes it. It is read when it is asked for: each run of apt asks for a few of thousands, and
   * writes all.
   */
  readonly lines: ReadonlyMap<RawPath, string>
  /** By SHA-256, as `packContent` gives them. */
  readonly contents: ReadonlyMap<string, Uint8Array>
}

/** The number is the version: another one is not read, and stock is taken anew. */
const magic = Buffer.from('VMLKEPT1')
const sumBytes = 32
/** Magic, bytes of the packed list, bytes of the table, SHA-256 of both. */
const headerBytes = magic.length + 4 + 4 + sumBytes
/** Half a million paths with their attributes. */
const listBytesMax = 256 * 1024 * 1024
const packedSum = /^([0-9a-f]{64}) (\d{1,10})$/

export function packContent(content: Uint8Array): Buffer {
  return zstdCompressSync(content, { params: { [constants.ZSTD_c_compressionLevel]: 1 } })
}

const undecided = {
  owner: { kind: 'script' },
  preImage: { kind: 'fingerprint' },
  afterKept: false,
} as const

export function lineOf(path: RawPath, after: Fingerprint): string {
  return Buffer.concat([...encodeChanges([{ path, after, ...undecided }])]).toString('utf8')
}

/** Undefined where nothing is known of the path. */
export function fingerprintIn({ lines }: Pick<Baseline, 'lines'>, path: RawPath): Fingerprint | undefined {
  const line = lines.get(path)
  return line === undefined ? undefined : parseChanges(Buffer.from(line, 'utf8'))[0]?.after
}

/** What all contents together have. A name within a line cannot be taken for a field: its quotation marks are escaped. */
export function contentBytes({ lines }: Pick<Baseline, 'lines'>): number {
  let bytes = 0
  for (const line of lines.values())
    if (sumOf(line) !== undefined) bytes += Number(/"size":(\d+)/.exec(line)?.[1] ?? 0)
  return bytes
}

function sumOf(line: string): string | undefined {
  return /"sha256":"([0-9a-f]{64})"/.exec(line)?.[1]
}

/**
 * To be written with `writeFileDurable`. Contents that no path has are left out. So are the longest lines where all of them are more than can be read again: what
 * has none is known by its attributes in the index alone.
 */
export function encodeBaseline({ lines, contents }: Baseline, bytesMax = listBytesMax): Buffer {
  const sorted = fitting([...lines], bytesMax).toSorted(([one], [other]) => (one < other ? -1 : 1))
  const list = packContent(Buffer.from(sorted.map(([, line]) => line).join(''), 'utf8'))
  const needed = new Set(sorted.flatMap(([, line]) => sumOf(line) ?? []))
  const frames = [...contents].filter(([sum]) => needed.has(sum))
  const table = Buffer.from(frames.map(([sum, { length }]) => `${sum} ${length}\n`).join(''))
  const header = Buffer.alloc(headerBytes)
  magic.copy(header)
  header.writeUInt32LE(list.length, magic.length)
  header.writeUInt32LE(table.length, magic.length + 4)
  const head = Buffer.concat([list, table])
  header.write(hash('sha256', head, 'hex'), magic.length + 8, 'hex')
  return Buffer.concat([header, head, ...frames.map(([, frame]) => frame)])
}

type Line = readonly [RawPath, string]

function fitting(lines: readonly Line[], bytesMax: number): readonly Line[] {
  const bytes = lines.reduce((sum, [, line]) => sum + Buffer.byteLength(line), 0)
  if (bytes <= bytesMax) return lines
  let left = bytesMax
  return lines
    .toSorted(([, one], [, other]) => one.length - other.length)
    .filter(([, line]) => (left -= Buffer.byteLength(line)) >= 0)
}

/** Fails with `integrity.…` on what `encodeBaseline` cannot have written. Contents are compared with their hashes as they are unpacked. */
export function decodeBaseline(file: Uint8Array, bytesMax = listBytesMax): Baseline {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  if (bytes.length < headerBytes || !bytes.subarray(0, magic.length).equals(magic))
    throw damaged('it does not begin as one')
  const listBytes = bytes.readUInt32LE(magic.length)
  const tableBytes = bytes.readUInt32LE(magic.length + 4)
  const head = bytes.subarray(headerBytes, headerBytes + listBytes + tableBytes)
  if (head.length !== listBytes + tableBytes) throw damaged('it is cut off')
  const sum = bytes.toString('hex', magic.length + 8, headerBytes)
  if (hash('sha256', head, 'hex') !== sum) throw damaged('its checksum is wrong')
  const contents = new Map<string, Uint8Array>()
  let at = headerBytes + head.length
  for (const line of head.toString('latin1', listBytes).split('\n').slice(0, -1)) {
    const [, name, length] = packedSum.exec(line) ?? []
    if (name === undefined || length === undefined) throw damaged('its table has something else')
    const end = at + Number(length)
    if (end > bytes.length) throw damaged('it is cut off')
    contents.set(name, bytes.subarray(at, end))
    at = end
  }
  return { lines: linesOf(unpacked(head.subarray(0, listBytes), Math.max(bytesMax, 1))), contents }
}

const plainPath = /^\{"path":"([^"\\\u0080-\uffff]*)",/

function linesOf(list: Buffer): Map<RawPath, string> {
  const lines = new Map<RawPath, string>()
  const text = list.toString('utf8')
  for (let start = 0; start < text.length;) {
    const end = text.indexOf('\n', start) + 1 || text.length
    const line = text.slice(start, end)
    const plain = parseRawPath(asRaw(plainPath.exec(line)?.[1] ?? ''))
    const path = plain ?? parseChanges(Buffer.from(line, 'utf8'))[0]?.path
    if (path !== undefined) lines.set(path, line)
    start = end
  }
  return lines
}

/** Undefined where it was not kept, or is not what it was. */
export function contentIn(
  { contents }: Baseline,
  { sha256 = '', size = 0 }: Fingerprint,
): Buffer | undefined {
  const frame = contents.get(sha256)
  if (frame === undefined) return undefined
  try {
    const content = unpacked(frame, Math.max(size, 1))
    return hash('sha256', content, 'hex') === sha256 ? content : undefined
  } catch {
    return undefined
  }
}

function unpacked(packed: Uint8Array, bytesMax: number): Buffer {
  try {
    return zstdDecompressSync(packed, { maxOutputLength: bytesMax })
  } catch (error) {
    throw damaged('it cannot be unpacked', error)
  }
}

function damaged(reason: string, cause?: unknown): VmlError {
  return new VmlError('integrity.format', `Cannot read what is kept of the system: ${reason}`, { cause })
}
