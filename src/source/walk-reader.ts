// Reads what GNU find prints on a walk, byte by byte: ordinary paths go to a sink without a text or an object for each, everything else is a record.
import { rawFromBytes } from '../base/raw-text.ts'
import { nameBytesMax, type RawPath } from '../model/raw-path.ts'
import type { NodeType } from '../model/tree.ts'
import { blankPath } from '../wire/folder-reader.ts'
import type { Shell } from '../wire/shell.ts'
import { protocolFailure } from './guest-script.ts'
import {
  exactPath,
  fieldBytesMax,
  type FoundRecord,
  parseWalkRecord,
  walkFieldCount,
} from './scan-records.ts'
import type { ListedSink } from './source.ts'

export interface OrdinaryPaths {
  readonly sink: ListedSink
  /** Whether what lies directly in this folder needs no further look, other than folders of another file system. */
  isOrdinary(folder: RawPath): boolean
  /** Of the file system that is walked now; asked for each folder. */
  device(): bigint | undefined
}

/** Records in the order in which they were printed; what goes to the sink before the next of them has gone there. */
export async function* readWalk(
  shell: Shell,
  stream: AsyncIterable<Uint8Array>,
  ordinary: OrdinaryPaths | undefined,
): AsyncIterable<FoundRecord> {
  const reader = new WalkReader(shell, ordinary)
  for await (const chunk of stream) yield* reader.take(chunk)
  reader.end()
}

const types: Readonly<Record<string, NodeType>> = {
  f: 'file',
  d: 'dir',
  l: 'symlink',
  p: 'fifo',
  b: 'dev',
  c: 'chardev',
}
const typeOfByte: readonly (NodeType | undefined)[] = Array.from(
  { length: 256 },
  (_, byte) => types[String.fromCharCode(byte)],
)

const zero = 0x30
const minus = 0x2d
const point = 0x2e
const slash = 0x2f
const item = 0x69
const two32 = 2 ** 32
/** Above, numbers are not exact, and the slow way decides. */
const digitsMax = 15
const targetBytesMax = 4096

class WalkReader {
  readonly #shell: Shell
  readonly #ordinary: OrdinaryPaths | undefined
  #bytes: Buffer = Buffer.alloc(0)
  /** Where the next field begins. */
  #at = 0
  /** With a slash at its end; nothing where what lies there is not ordinary. */
  #folder: Buffer = Buffer.alloc(0)
  #device: number = -1
  readonly #path = blankPath(this.#bytes)

  constructor(shell: Shell, ordinary: OrdinaryPaths | undefined) {
    this.#shell = shell
    this.#ordinary = ordinary
  }

  *take(chunk: Uint8Array): Iterable<FoundRecord> {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    let start = 0
    for (;;) {
      const end = this.#recordEnd(start)
      if (end < 0) break
      if (!this.#takeOrdinary(start, end)) yield this.#record(start, end)
      start = end
    }
    this.#bytes = this.#bytes.subarray(start)
    if (this.#bytes.length > walkFieldCount * fieldBytesMax) throw this.#tooLong()
  }

  end(): void {
    if (this.#bytes.length > 0) throw protocolFailure(this.#shell, 'the list of its files was cut off')
  }

  /** Behind the NUL that ends the last field; negative while it has not come. */
  #recordEnd(start: number): number {
    const bytes = this.#bytes
    let fields = 0
    for (let at = start; at < bytes.length; at++)
      if (bytes[at] === 0 && ++fields === walkFieldCount) return at + 1
    return -1
  }

  #record(start: number, end: number): FoundRecord {
    const fields = rawFromBytes(this.#bytes.subarray(start, end - 1)).split('\0')
    if (fields.some((field) => field.length > fieldBytesMax)) throw this.#tooLong()
    const record = parseWalkRecord(fields)
    if (record === undefined)
      throw protocolFailure(this.#shell, 'its find prints other things than asked for')
    // An end that others follow is none: they have to be seen.
    if (record.isEnd) this.#ended = true
    return record
  }
  #ended = false

  #tooLong(): Error {
    return protocolFailure(this.#shell, 'a file name is longer than any real one')
  }

  /** False, with nothing given to the sink, for whatever is not of the plainest form. */
  #takeOrdinary(start: number, end: number): boolean {
    if (!this.#ordinary || this.#ended) return false
    const bytes = this.#bytes
    const path = this.#path
    const type =
      bytes[start] === item && bytes[start + 2] === 0 ? typeOfByte[bytes[start + 1] ?? 0] : undefined
    if (type === undefined) return false
    path.type = type
    this.#at = start + 3
    path.mode = this.#number(8, 4)
    path.uid = this.#number(10, 10)
    path.gid = this.#number(10, 10)
    path.size = this.#number(10, digitsMax)
    const times = this.#time('mtime') && this.#time('ctime')
    const inode = this.#number(10, digitsMax)
    const device = this.#number(10, digitsMax)
    path.links = this.#number(10, 10)
    const bad =
      !times ||
      Math.min(path.mode, path.uid, path.gid, path.size, inode, device, path.links) < 0 ||
      Math.max(path.uid, path.gid, path.links) >= two32
    if (bad || !this.#takeDevice(device, type)) return false
    path.inodeHigh = Math.floor(inode / two32)
    path.inodeLow = inode % two32
    const targetEnd = bytes.indexOf(0, this.#at)
    if (targetEnd - this.#at > targetBytesMax) return false
    path.linkTarget = type === 'symlink' ? rawFromBytes(bytes.subarray(this.#at, targetEnd)) : undefined
    return this.#takeName(targetEnd + 1, end - 1)
  }

  #takeDevice(device: number, type: NodeType): boolean {
    if (type === 'dir' && this.#ordinary?.device() !== BigInt(device)) return false
    if (device === this.#device) return true
    this.#device = device
    this.#path.deviceId = BigInt(device)
    return true
  }

  #takeName(pathStart: number, pathEnd: number): boolean {
    const bytes = this.#bytes
    const nameStart = bytes.lastIndexOf(slash, pathEnd - 1) + 1
    const length = pathEnd - nameStart
    if (nameStart <= pathStart || length < 1 || length > nameBytesMax) return false
    if (bytes[nameStart] === point && (length === 1 || (length === 2 && bytes[nameStart + 1] === point)))
      return false
    const isSame =
      nameStart - pathStart === this.#folder.length && this.#folder.compare(bytes, pathStart, nameStart) === 0
    if (!isSame && !this.#enter(pathStart, nameStart)) return false
    this.#path.names = bytes
    this.#path.nameStart = nameStart
    this.#path.nameEnd = pathEnd
    this.#ordinary?.sink.add(this.#path)
    return true
  }

  #enter(pathStart: number, nameStart: number): boolean {
    this.#folder = Buffer.alloc(0)
    const text = rawFromBytes(this.#bytes.subarray(pathStart, Math.max(nameStart - 1, pathStart + 1)))
    const folder = exactPath(text)
    if (folder === undefined || !this.#ordinary?.isOrdinary(folder)) return false
    this.#folder = Buffer.from(this.#bytes.subarray(pathStart, nameStart))
    this.#ordinary.sink.enter(folder)
    return true
  }

  /** The field up to the next NUL; negative for anything but digits, at most so many. */
  #number(base: number, most: number): number {
    const bytes = this.#bytes
    let value = 0
    let at = this.#at
    for (; bytes[at] !== 0; at++) {
      const digit = (bytes[at] ?? 0) - zero
      if (digit < 0 || digit >= base) value = Number.NEGATIVE_INFINITY
      value = value * base + digit
    }
    const length = at - this.#at
    this.#at = at + 1
    return length > 0 && length <= most ? value : -1
  }

  /** As `findTime` of scan-records.ts: seconds that may be negative, and a rest that counts upwards. */
  #time(which: 'mtime' | 'ctime'): boolean {
    const bytes = this.#bytes
    const isNegative = bytes[this.#at] === minus
    let at = isNegative ? this.#at + 1 : this.#at
    const begin = at
    let seconds = 0
    for (; bytes[at] !== point && bytes[at] !== 0; at++) {
      const digit = (bytes[at] ?? 0) - zero
      if (digit < 0 || digit > 9) return false
      seconds = seconds * 10 + digit
    }
    const whole = at - begin
    if (bytes[at] === 0 || whole === 0 || whole > 12) return false
    const rest = ++at
    let nanoseconds = 0
    for (; bytes[at] !== 0; at++) {
      const digit = (bytes[at] ?? 0) - zero
      if (digit < 0 || digit > 9) return false
      if (at - rest < 9) nanoseconds = nanoseconds * 10 + digit
    }
    if (at - rest < 9 || at - rest > 10) return false
    this.#at = at + 1
    const signed = isNegative ? -seconds : seconds
    if (which === 'mtime') {
      this.#path.mtimeSeconds = signed
      this.#path.mtimeNanoseconds = nanoseconds
    } else {
      this.#path.ctimeSeconds = signed
      this.#path.ctimeNanoseconds = nanoseconds
    }
    return true
  }
}
