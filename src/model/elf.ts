// What a program or shared library says of itself and of the libraries it needs (System V ABI, "Object Files" and "Dynamic Linking").
import { rawFromBytes, type RawText } from '../base/raw-text.ts'

export interface ElfFacts {
  readonly bits: 32 | 64
  /** `x86-64`, `aarch64`, …, or `machine 123`. */
  readonly machine: string
  readonly kind: 'program' | 'library' | 'other'
  /** DT_NEEDED, in order: names (`libm.so.6`), seldom paths. */
  readonly needed: readonly RawText[]
  /** DT_SONAME. */
  readonly soname?: RawText
  /** Folders of DT_RUNPATH, else of DT_RPATH, `$ORIGIN` as it stands. */
  readonly runpath: readonly RawText[]
}

/** Reads part of a file; fewer bytes than asked only at the file's end. */
export type RangeReader = (offset: number, length: number) => Promise<Uint8Array>

const headersMax = 256
const dynamicEntriesMax = 4096
const neededMax = 1024
/** PATH_MAX: no library's name or search path that a linker follows is longer per folder. */
const stringBytesMax = 4096

/**
 * Undefined when it is no ELF file, or one that no linker would take: every offset and count is checked against
 * the file. A statically linked program has no needs. Reads a few small ranges, never the whole file.
 */
export async function readElf(size: number, read: RangeReader): Promise<ElfFacts | undefined> {
  const range = boundedReader(size, read)
  const header = await range(0, Math.min(64, size))
  const elf = header === undefined ? undefined : parseHeader(header)
  if (elf === undefined) return undefined
  const segments = await readSegments(elf, range)
  const dynamic = segments?.find((segment) => segment.type === segmentDynamic)
  if (segments === undefined) return undefined
  const facts = { bits: elf.bits, machine: elf.machine, kind: elf.kind }
  if (dynamic === undefined) return { ...facts, needed: [], runpath: [] }
  const tags = await readTags(elf, dynamic, range)
  if (tags === undefined) return undefined
  const strings = offsetOfAddress(segments, tags.strings)
  if (strings === undefined)
    return tags.needed.length === 0 ? { ...facts, needed: [], runpath: [] } : undefined
  const text = (at: number | undefined) =>
    at === undefined ? undefined : readString(range, size, strings, tags.stringBytes, at)
  const needed: RawText[] = []
  for (const at of tags.needed) {
    const name = await text(at)
    if (name === undefined) return undefined
    if (name !== '') needed.push(name)
  }
  const soname = await text(tags.soname)
  const runpath = await text(tags.runpath ?? tags.rpath)
  return {
    ...facts,
    needed,
    ...(soname === undefined || soname === '' ? {} : { soname }),
    runpath: (runpath ?? '').split(':').filter((folder): folder is RawText => folder !== ''),
  }
}

/** Whether a file's first bytes are those of an ELF file. */
export function isElf(start: Uint8Array): boolean {
  return start[0] === 0x7f && start[1] === 0x45 && start[2] === 0x4c && start[3] === 0x46
}

/** Word size and machine from the first 20 bytes of a file; undefined when it is no ELF file. */
export function machineName(start: Uint8Array): Pick<ElfFacts, 'bits' | 'machine'> | undefined {
  if (start.length < 20 || !isElf(start)) return undefined
  const view = new DataView(start.buffer, start.byteOffset, 20)
  const machine = view.getUint16(18, view.getUint8(5) === 1)
  return { bits: view.getUint8(4) === 2 ? 64 : 32, machine: machines[machine] ?? `machine ${machine}` }
}

const segmentLoad = 1
const segmentDynamic = 2
const tagNull = 0
const tagNeeded = 1
const tagStrings = 5
const tagStringBytes = 10
const tagSoname = 14
const tagRpath = 15
const tagRunpath = 29

type Range = (offset: number, length: number) => Promise<DataView | undefined>

interface Header {
  readonly bits: 32 | 64
  readonly little: boolean
  readonly machine: string
  readonly kind: ElfFacts['kind']
  readonly segmentsAt: number
  readonly segmentBytes: number
  readonly segmentCount: number
}

interface ElfSegment {
  readonly type: number
  readonly offset: number
  readonly address: number
  readonly fileBytes: number
}

/** Undefined for a range that the file does not have. */
function boundedReader(size: number, read: RangeReader): Range {
  return async (offset, length) => {
    if (!Number.isSafeInteger(offset) || offset < 0 || length <= 0 || offset + length > size) return undefined
    const bytes = await read(offset, length)
    if (bytes.length < length) return undefined
    return new DataView(bytes.buffer, bytes.byteOffset, length)
  }
}

function parseHeader(view: DataView): Header | undefined {
  if (view.byteLength < 52 || !isElf(new Uint8Array(view.buffer, view.byteOffset, 4))) return undefined
  const [wordSize, order] = [view.getUint8(4), view.getUint8(5)]
  if ((wordSize !== 1 && wordSize !== 2) || (order !== 1 && order !== 2)) return undefined
  const bits = wordSize === 2 ? 64 : 32
  if (bits === 64 && view.byteLength < 64) return undefined
  const little = order === 1
  const half = (at: number) => view.getUint16(at, little)
  const kinds: Readonly<Record<number, ElfFacts['kind']>> = { 2: 'program', 3: 'library' }
  const machine = half(18)
  return {
    bits,
    little,
    machine: machines[machine] ?? `machine ${machine}`,
    kind: kinds[half(16)] ?? 'other',
    segmentsAt: bits === 64 ? wide(view, 32, little) : view.getUint32(28, little),
    segmentBytes: half(bits === 64 ? 54 : 42),
    segmentCount: half(bits === 64 ? 56 : 44),
  }
}

/** The names that people and `uname -m` use. */
const machines: Readonly<Record<number, string>> = {
  3: 'i386',
  8: 'mips',
  20: 'ppc',
  21: 'ppc64',
  22: 's390x',
  40: 'arm',
  62: 'x86-64',
  183: 'aarch64',
  243: 'riscv',
  258: 'loongarch',
}

async function readSegments(elf: Header, range: Range): Promise<ElfSegment[] | undefined> {
  if (elf.segmentCount === 0) return []
  if (elf.segmentCount > headersMax || elf.segmentBytes < (elf.bits === 64 ? 56 : 32)) return undefined
  const view = await range(elf.segmentsAt, elf.segmentCount * elf.segmentBytes)
  if (view === undefined) return undefined
  return Array.from({ length: elf.segmentCount }, (_, index) => {
    const at = index * elf.segmentBytes
    const word = (wideAt: number, narrowAt: number) =>
      elf.bits === 64 ? wide(view, at + wideAt, elf.little) : view.getUint32(at + narrowAt, elf.little)
    return {
      type: view.getUint32(at, elf.little),
      offset: word(8, 4),
      address: word(16, 8),
      fileBytes: word(32, 16),
    }
  })
}

interface Tags {
  readonly strings: number
  readonly stringBytes: number
  readonly needed: readonly number[]
  readonly soname: number | undefined
  readonly rpath: number | undefined
  readonly runpath: number | undefined
}

async function readTags(elf: Header, dynamic: ElfSegment, range: Range): Promise<Tags | undefined> {
  const entryBytes = elf.bits / 4
  const count = Math.min(Math.floor(dynamic.fileBytes / entryBytes), dynamicEntriesMax)
  const view = await range(dynamic.offset, count * entryBytes)
  if (view === undefined) return undefined
  const needed: number[] = []
  const single = new Map<number, number>()
  for (let at = 0; at < view.byteLength; at += entryBytes) {
    const word = (offset: number) =>
      elf.bits === 64 ? wide(view, offset, elf.little) : view.getUint32(offset, elf.little)
    const tag = word(at)
    if (tag === tagNull) break
    if (tag === tagNeeded) needed.push(word(at + entryBytes / 2))
    else single.set(tag, word(at + entryBytes / 2))
  }
  if (needed.length > neededMax) return undefined
  return {
    strings: single.get(tagStrings) ?? -1,
    stringBytes: single.get(tagStringBytes) ?? 0,
    needed,
    soname: single.get(tagSoname),
    rpath: single.get(tagRpath),
    runpath: single.get(tagRunpath),
  }
}

function offsetOfAddress(segments: readonly ElfSegment[], address: number): number | undefined {
  const found = segments.find(
    (one) => one.type === segmentLoad && address >= one.address && address < one.address + one.fileBytes,
  )
  return found === undefined ? undefined : found.offset + (address - found.address)
}

/** Up to its NUL; undefined where the table or the file ends before one. */
async function readString(
  range: Range,
  size: number,
  table: number,
  tableBytes: number,
  at: number,
): Promise<RawText | undefined> {
  const length = Math.min(stringBytesMax, tableBytes - at, size - (table + at))
  if (at < 0 || length <= 0) return undefined
  const view = await range(table + at, length)
  if (view === undefined) return undefined
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  const end = bytes.indexOf(0)
  return end === -1 ? undefined : rawFromBytes(bytes.subarray(0, end))
}

/** As a number: what lies above 2^53 is no offset of any file, and the range check refuses it. */
function wide(view: DataView, at: number, little: boolean): number {
  return Number(view.getBigUint64(at, little))
}
