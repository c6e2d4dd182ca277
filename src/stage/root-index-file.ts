// The index of a root as a file: paths, then columns as they are, compressed, with a checksum.
import { hash } from 'node:crypto'
import { constants as zlib, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { VmlError } from '../base/failure.ts'
import { asRaw, rawToBytes } from '../base/raw-text.ts'
import { pathBytesMax, type RawPath } from '../model/raw-path.ts'
import { indexPathsMax, makeColumns, type IndexColumns, type RootIndex } from './root-index.ts'

/** The number is the version: another one is not read, and the root is scanned anew. */
const magic = Buffer.from('VMLIDX2\n')
const sumBytes = 32
/** Magic, count of paths, bytes of all paths, SHA-256 of what was compressed. */
const headerBytes = magic.length + 4 + 4 + sumBytes
const rowBytes = 4 * 4 + 5 * 8
/** Paths of an index this long would be longer than 100 bytes each in the largest one. */
const pathsBytesMax = 1024 * 1024 * 1024

/** To be written with `writeFileDurable`. Little-endian, as the systems are that a stage can be had on. */
export function encodeIndex({ paths, columns }: RootIndex): Buffer {
  const joined = joinPaths(paths)
  const body = Buffer.concat([joined, ...columnsOf(columns).map(bytesOf)])
  const header = Buffer.alloc(headerBytes)
  magic.copy(header)
  header.writeUInt32LE(paths.length, magic.length)
  header.writeUInt32LE(joined.length, magic.length + 4)
  header.write(hash('sha256', body, 'hex'), magic.length + 8, 'hex')
  const packed = zstdCompressSync(body, { params: { [zlib.ZSTD_c_compressionLevel]: 1 } })
  return Buffer.concat([header, packed])
}

/** Fails with `integrity.…` on what `encodeIndex` cannot have written. */
export function decodeIndex(file: Uint8Array): RootIndex {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  if (bytes.length < headerBytes || !bytes.subarray(0, magic.length).equals(magic))
    throw damaged('it does not begin as one')
  const count = bytes.readUInt32LE(magic.length)
  const joinedBytes = bytes.readUInt32LE(magic.length + 4)
  const sum = bytes.toString('hex', magic.length + 8, headerBytes)
  if (count > indexPathsMax || joinedBytes > pathsBytesMax) throw damaged('it is larger than one can be')
  const length = joinedBytes + count * rowBytes
  const body = unpacked(bytes.subarray(headerBytes), length)
  if (body.length !== length) throw damaged('its length is wrong')
  if (hash('sha256', body, 'hex') !== sum)
    throw new VmlError('integrity.hash', 'Cannot read the index of the system: its checksum is wrong')
  const paths = splitPaths(body.subarray(0, joinedBytes), count)
  const columns = makeColumns(count)
  let at = joinedBytes
  for (const column of columnsOf(columns)) {
    const target = bytesOf(column)
    body.copy(target, 0, at, at + target.length)
    at += target.length
  }
  return { paths, columns }
}

function unpacked(packed: Buffer, length: number): Buffer {
  try {
    return zstdDecompressSync(packed, { maxOutputLength: Math.max(length, 1) })
  } catch (error) {
    throw damaged('it cannot be unpacked', error)
  }
}

function damaged(reason: string, cause?: unknown): VmlError {
  return new VmlError('integrity.format', `Cannot read the index of the system: ${reason}`, { cause })
}

/** In the order of the file. */
function columnsOf(columns: IndexColumns) {
  const { mode, uid, gid, links, inode, deviceId, size, mtimeNs, ctimeNs } = columns
  return [inode, deviceId, size, mtimeNs, ctimeNs, mode, uid, gid, links] as const
}

function bytesOf(column: {
  readonly buffer: ArrayBufferLike
  byteOffset: number
  byteLength: number
}): Buffer {
  return Buffer.from(column.buffer, column.byteOffset, column.byteLength)
}

/** So many paths become one text at a time: none is longer than JavaScript allows. */
const pathsAtOnce = 64 * 1024

/** A path after the other, each with the NUL that no path has. */
function joinPaths(paths: readonly RawPath[]): Buffer {
  const parts: Buffer[] = []
  for (let from = 0; from < paths.length; from += pathsAtOnce)
    parts.push(rawToBytes(asRaw(`${paths.slice(from, from + pathsAtOnce).join('\0')}\0`)))
  return Buffer.concat(parts)
}

/** What `parseRawPath` would leave as it is. */
const wholePath = /^(?:\/|(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)+)$/
const textBytesMax = 16 * 1024 * 1024

function splitPaths(bytes: Buffer, count: number): RawPath[] {
  const paths: RawPath[] = []
  let before = ''
  for (let at = 0; at < bytes.length;) {
    const end = bytes.lastIndexOf(0, Math.min(at + textBytesMax, bytes.length) - 1)
    if (end < at) throw damaged('a path in it is longer than it can be')
    for (const text of bytes.toString('latin1', at, end).split('\0')) {
      if (text.length > pathBytesMax) throw damaged('a path in it is longer than it can be')
      if (!wholePath.test(text) || text <= before) throw damaged('a path in it is none, or not in order')
      paths.push(text as RawPath)
      before = text
    }
    at = end + 1
  }
  if (paths.length !== count) throw damaged('it has more or fewer paths than it says')
  return paths
}
