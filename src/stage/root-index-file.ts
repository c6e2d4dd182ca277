// The index of a root as a file: paths front-coded, columns as they are, compressed, with a checksum.
import { hash } from 'node:crypto'
import { constants as zlib, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { VmlError } from '../base/failure.ts'
import { asRaw, rawToBytes } from '../base/raw-text.ts'
import { pathBytesMax, type RawPath } from '../model/raw-path.ts'
import { indexPathsMax, makeColumns, type IndexColumns, type RootIndex } from './root-index.ts'

/** The number is the version: another one is not read, and the root is scanned anew. */
const magic = Buffer.from('VMLIDX1\n')
const sumBytes = 32
/** Magic, count of paths, bytes of the coded paths, SHA-256 of what was compressed. */
const headerBytes = magic.length + 4 + 4 + sumBytes
const rowBytes = 4 * 4 + 5 * 8
/** Paths of an index this long would be longer than 100 bytes each, front-coded, in the largest one. */
const codedBytesMax = 1024 * 1024 * 1024

/** To be written with `writeFileDurable`. Little-endian, as the systems are that a stage can be had on. */
export function encodeIndex({ paths, columns }: RootIndex): Buffer {
  const coded = codePaths(paths)
  const body = Buffer.concat([coded, ...columnsOf(columns).map(bytesOf)])
  const header = Buffer.alloc(headerBytes)
  magic.copy(header)
  header.writeUInt32LE(paths.length, magic.length)
  header.writeUInt32LE(coded.length, magic.length + 4)
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
  const codedBytes = bytes.readUInt32LE(magic.length + 4)
  const sum = bytes.toString('hex', magic.length + 8, headerBytes)
  if (count > indexPathsMax || codedBytes > codedBytesMax) throw damaged('it is larger than one can be')
  const length = codedBytes + count * rowBytes
  const body = unpacked(bytes.subarray(headerBytes), length)
  if (body.length !== length) throw damaged('its length is wrong')
  if (hash('sha256', body, 'hex') !== sum)
    throw new VmlError('integrity.hash', 'Cannot read the index of the system: its checksum is wrong')
  const paths = decodePaths(body.subarray(0, codedBytes), count)
  const columns = makeColumns(count)
  let at = codedBytes
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

/** Of each path: how many bytes it has in common with the one before it, how many follow (both as LEB128), and those. */
function codePaths(paths: readonly RawPath[]): Buffer {
  let bytes = Buffer.allocUnsafe(64 * 1024)
  let at = 0
  let before = ''
  const number = (value: number): void => {
    for (let rest = value; ; rest >>>= 7) {
      bytes[at++] = rest < 0x80 ? rest : (rest & 0x7f) | 0x80
      if (rest < 0x80) return
    }
  }
  for (const path of paths) {
    let shared = 0
    while (shared < before.length && before.charCodeAt(shared) === path.charCodeAt(shared)) shared++
    const rest = rawToBytes(asRaw(path.slice(shared)))
    if (at + rest.length + 10 > bytes.length)
      bytes = Buffer.concat([bytes.subarray(0, at)], (at + rest.length + 10) * 2)
    number(shared)
    number(rest.length)
    at += rest.copy(bytes, at)
    before = path
  }
  return bytes.subarray(0, at)
}

/** What `parseRawPath` would leave as it is. */
const wholePath = /^(?:\/|(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)+)$/

function decodePaths(bytes: Buffer, count: number): RawPath[] {
  const paths: RawPath[] = []
  let at = 0
  let before = ''
  const number = (): number => {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = bytes[at++]
      if (byte === undefined) break
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw damaged('a length in it is none')
  }
  for (let row = 0; row < count; row++) {
    const shared = number()
    const length = number()
    if (shared > before.length || at + length > bytes.length || shared + length > pathBytesMax)
      throw damaged('a path in it is longer than it can be')
    const text = before.slice(0, shared) + bytes.toString('latin1', at, at + length)
    at += length
    if (!wholePath.test(text) || (row > 0 && text <= before))
      throw damaged('a path in it is none, or not in order')
    paths.push(text as RawPath)
    before = text
  }
  if (at !== bytes.length) throw damaged('it has more paths than it says')
  return paths
}
