// Writes a small ISO 9660 file system (level 1) with Joliet names: what a NoCloud seed is handed over in.
// Formats: ECMA-119 (sections are named below); Microsoft's "Joliet Specification" for the second tree of names.
import assert from 'node:assert/strict'
import { VmlError } from '../base/failure.ts'

export interface IsoFile {
  /** One part, without slash; 64 characters at most (Joliet). */
  readonly name: string
  readonly content: Uint8Array
}

const sectorBytes = 2048
// Seeds have three files; one sector holds the records of some twenty with the longest names.
const filesMax = 12
const contentBytesMax = 16 * 1024 * 1024

// Where things lie, in sectors (ECMA-119 6.2.1: sixteen for the system, then the descriptors).
const at = {
  primary: 16,
  joliet: 17,
  end: 18,
  primaryTable: 19,
  jolietTable: 21,
  primaryRoot: 23,
  jolietRoot: 24,
}
const firstFile = 25

interface Placed {
  readonly isoName: Buffer
  readonly jolietName: Buffer
  readonly content: Uint8Array
  readonly sector: number
}

/** An image with these files in its root. The same input gives the same bytes. */
export function encodeIso({
  volume,
  files,
  date,
}: {
  /** Up to 16 of `a` to `z`, digits and `_`; blkid and cloud-init show it as it is. */
  volume: string
  files: readonly IsoFile[]
  date: Date
}): Buffer {
  if (!/^\w{1,16}$/.test(volume)) throw new VmlError('usage', `Cannot make an ISO image named "${volume}"`)
  if (files.length > filesMax || files.some((file) => file.content.length > contentBytesMax))
    throw new VmlError('usage', 'Cannot make an ISO image: too many or too large files')
  const placed = placeFiles(files)
  const last = placed.at(-1)
  const sectors = last === undefined ? firstFile : last.sector + sectorsOf(last.content.length)
  const image = Buffer.alloc(sectors * sectorBytes)
  const put = (sector: number, bytes: Uint8Array) => image.set(bytes, sector * sectorBytes)

  put(at.primary, descriptor({ joliet: false, volume, sectors, date }))
  put(at.joliet, descriptor({ joliet: true, volume, sectors, date }))
  // ECMA-119 8.3: the set of descriptors ends.
  put(at.end, Buffer.from('\xffCD001\x01', 'latin1'))
  put(at.primaryTable, pathTable(at.primaryRoot, 'little'))
  put(at.primaryTable + 1, pathTable(at.primaryRoot, 'big'))
  put(at.jolietTable, pathTable(at.jolietRoot, 'little'))
  put(at.jolietTable + 1, pathTable(at.jolietRoot, 'big'))
  put(at.primaryRoot, folder(at.primaryRoot, placed, 'isoName', date))
  put(at.jolietRoot, folder(at.jolietRoot, placed, 'jolietName', date))
  for (const file of placed) put(file.sector, file.content)
  return image
}

function placeFiles(files: readonly IsoFile[]): Placed[] {
  let sector = firstFile
  const taken = new Set<string>()
  return files.map(({ name, content }) => {
    if (name.length === 0 || name.length > 64 || /[\p{C}*/:;?\\]/u.test(name))
      throw new VmlError('usage', 'Cannot make an ISO image: a file name does not fit')
    const iso = levelOneName(name, taken)
    taken.add(iso)
    const file = {
      isoName: Buffer.from(iso, 'latin1'),
      jolietName: Buffer.from(name, 'utf16le').swap16(),
      content,
      sector,
    }
    sector += sectorsOf(content.length)
    return file
  })
}

/** Eight letters, a dot, three more, a version (ECMA-119 7.5 and 10.1); different for each file. */
function levelOneName(name: string, taken: ReadonlySet<string>): string {
  const dot = name.lastIndexOf('.')
  const stem = levelOneCharacters(dot > 0 ? name.slice(0, dot) : name)
  const extension = levelOneCharacters(dot > 0 ? name.slice(dot + 1) : '').slice(0, 3)
  for (let number = 0; ; number++) {
    const suffix = number === 0 ? '' : String(number)
    const candidate = `${stem.slice(0, 8 - suffix.length)}${suffix}.${extension};1`
    if (!taken.has(candidate)) return candidate
  }
}

function levelOneCharacters(text: string): string {
  return text.toUpperCase().replace(/[^A-Z0-9]/g, '_')
}

/** ECMA-119 8.4 and 8.5: the primary and the supplementary volume descriptor have one layout. */
function descriptor({
  joliet,
  volume,
  sectors,
  date,
}: {
  joliet: boolean
  volume: string
  sectors: number
  date: Date
}): Buffer {
  const bytes = Buffer.alloc(sectorBytes)
  const text = (offset: number, length: number, value: string) =>
    bytes.set(joliet ? wide(value, length) : Buffer.from(value.padEnd(length, ' '), 'latin1'), offset)
  bytes.set(Buffer.from(`${joliet ? '\x02' : '\x01'}CD001\x01`, 'latin1'), 0)
  text(8, 32, '')
  text(40, 32, volume)
  both32(bytes, 80, sectors)
  // Joliet: UCS-2 level 3.
  if (joliet) bytes.set(Buffer.from('%/E', 'latin1'), 88)
  both16(bytes, 120, 1)
  both16(bytes, 124, 1)
  both16(bytes, 128, sectorBytes)
  both32(bytes, 132, pathTableBytes)
  const table = joliet ? at.jolietTable : at.primaryTable
  bytes.writeUInt32LE(table, 140)
  bytes.writeUInt32BE(table + 1, 148)
  bytes.set(
    record(Buffer.alloc(1), joliet ? at.jolietRoot : at.primaryRoot, sectorBytes, { isFolder: true, date }),
    156,
  )
  text(190, 128, '')
  text(318, 128, '')
  text(446, 128, '')
  text(574, 128, 'VML')
  text(702, 37, '')
  text(739, 37, '')
  text(776, 37, '')
  const stamp = Buffer.from(date.toISOString().replace(/\D/g, '').slice(0, 16), 'latin1')
  bytes.set(stamp, 813)
  bytes.set(stamp, 830)
  // ECMA-119 8.4.26.1: sixteen digits of zero and a zero byte say that there is no such date.
  bytes.fill('0', 847, 863)
  bytes.fill('0', 864, 880)
  bytes[881] = 1
  return bytes
}

const pathTableBytes = 10

/** ECMA-119 9.4: the root alone, named by a zero byte, its own parent. */
function pathTable(root: number, order: 'little' | 'big'): Buffer {
  const bytes = Buffer.alloc(pathTableBytes)
  bytes[0] = 1
  if (order === 'little') {
    bytes.writeUInt32LE(root, 2)
    bytes.writeUInt16LE(1, 6)
  } else {
    bytes.writeUInt32BE(root, 2)
    bytes.writeUInt16BE(1, 6)
  }
  return bytes
}

/** ECMA-119 6.8: itself, its parent, then the files in order of their names (9.3). */
function folder(own: number, files: readonly Placed[], key: 'isoName' | 'jolietName', date: Date): Buffer {
  const records = [
    record(Buffer.from([0]), own, sectorBytes, { isFolder: true, date }),
    record(Buffer.from([1]), own, sectorBytes, { isFolder: true, date }),
    ...files
      .toSorted((left, right) => Buffer.compare(left[key], right[key]))
      .map((file) => record(file[key], file.sector, file.content.length, { isFolder: false, date })),
  ]
  const bytes = Buffer.concat(records)
  assert(bytes.length <= sectorBytes)
  return bytes
}

/** ECMA-119 9.1: a directory record. */
function record(
  name: Buffer,
  sector: number,
  sizeBytes: number,
  { isFolder, date }: { isFolder: boolean; date: Date },
): Buffer {
  const length = 33 + name.length
  const bytes = Buffer.alloc(length + (length % 2))
  bytes[0] = bytes.length
  both32(bytes, 2, sector)
  both32(bytes, 10, sizeBytes)
  bytes.set(
    [
      date.getUTCFullYear() - 1900,
      date.getUTCMonth() + 1,
      date.getUTCDate(),
      date.getUTCHours(),
      date.getUTCMinutes(),
      date.getUTCSeconds(),
      0,
    ],
    18,
  )
  bytes[25] = isFolder ? 2 : 0
  both16(bytes, 28, 1)
  bytes[32] = name.length
  bytes.set(name, 33)
  return bytes
}

function wide(text: string, length: number): Buffer {
  return Buffer.from(text.padEnd(Math.floor(length / 2), ' '), 'utf16le').swap16()
}

/** ECMA-119 7.2.3 and 7.3.3: a number in both byte orders. */
function both16(bytes: Buffer, offset: number, value: number) {
  bytes.writeUInt16LE(value, offset)
  bytes.writeUInt16BE(value, offset + 2)
}

function both32(bytes: Buffer, offset: number, value: number) {
  bytes.writeUInt32LE(value, offset)
  bytes.writeUInt32BE(value, offset + 4)
}

function sectorsOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / sectorBytes)
}
