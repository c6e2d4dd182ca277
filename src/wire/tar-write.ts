// Writes a tar stream that GNU tar or busybox tar unpacks: pax records or GNU's long names, whichever it reads.
import { VmlError } from '../base/failure.ts'
import { printable, type RawText } from '../base/raw-text.ts'
import type { Attributes, NodeType, Segment } from '../model/tree.ts'
import { accessAclName, aclToText, defaultAclName } from './posix-acl.ts'
import { blockBytes, encodeHeader, idOctalMax, octalMax, sizeOctalMax, type TarHeader } from './tar-header.ts'
import { formatPaxRecord, formatPaxTime, xattrKey } from './tar-pax.ts'
import { formatContentSparseMap, roundUp, type Extent } from './tar-sparse.ts'

export interface TarItem {
  /** As it shall stand in the archive. */
  readonly name: RawText
  readonly attributes: Attributes
  /** The name in this archive (or of a file already there) of which this is another one; no content is read. */
  readonly hardLinkTo?: RawText
  /** Where data lies, ascending and apart (see findExtents). Without it holes are written as zeros: tar wants to know ahead. */
  readonly extents?: readonly Extent[]
  /** Content of a regular file; the lengths add up to `attributes.size`. Its bytes must not change afterwards. */
  segments(): AsyncIterable<Segment>
}

export interface TarOptions {
  readonly sparse: boolean
  readonly xattrs: boolean
  /** `busybox` reads no pax records: long names as GNU writes them, whole seconds, no attributes, no holes. */
  readonly format: 'gnu-tar' | 'busybox'
}

/** Small pieces are gathered up to this length; longer ones pass as they are. */
const gatherBytes = 64 * 1024
const zeros = Buffer.alloc(gatherBytes)
/** What the two name fields of a header hold. */
const nameFieldBytes = 100
const ownerFieldBytes = 31

/**
 * The archive, with its end mark. For GNU tar it is made to be unpacked by `tar -x --xattrs --xattrs-include=* --acls -p`;
 * access lists stand in it both as text and as attributes, so that a tar without either option keeps them.
 * Fails with `integrity.format` when a content is longer or shorter than its size, or has data where `extents` has none.
 */
export async function* writeTar(
  items: AsyncIterable<TarItem> | Iterable<TarItem>,
  options: TarOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const gather = openGather()
  for await (const item of items) {
    const extents = options.sparse && options.format === 'gnu-tar' ? holedExtents(item) : undefined
    const map = extents ? formatContentSparseMap(extents) : undefined
    const hasContent = item.attributes.type === 'file' && item.hardLinkTo === undefined
    const dataBytes = extents ? sumLengths(extents) : (item.attributes.size ?? 0)
    const storedBytes = hasContent ? dataBytes + (map?.length ?? 0) : 0
    yield* gather.add(encodeMember(item, { options, storedBytes, isSparse: map !== undefined }))
    if (!hasContent) continue
    if (map) yield* gather.add(map)
    for await (const bytes of extents ? sparseData(item, extents) : plainData(item)) yield* gather.add(bytes)
    yield* gather.add(zeros.subarray(0, roundUp(storedBytes) - storedBytes))
  }
  yield* gather.add(zeros.subarray(0, 2 * blockBytes))
  yield* gather.flush()
}

interface Gather {
  add(bytes: Uint8Array): Iterable<Buffer>
  flush(): Iterable<Buffer>
}

/** Joins small pieces, since each chunk costs a system call; what it gives away is never written again. */
function openGather(): Gather {
  let space = Buffer.allocUnsafeSlow(gatherBytes)
  let used = 0
  function* flush(): Iterable<Buffer> {
    if (used === 0) return
    const full = space.subarray(0, used)
    space = space.subarray(used)
    used = 0
    if (space.length < gatherBytes / 2) space = Buffer.allocUnsafeSlow(gatherBytes)
    yield full
  }
  function* add(bytes: Uint8Array): Iterable<Buffer> {
    if (bytes.length > space.length - used) yield* flush()
    if (bytes.length > space.length - used || bytes.length >= gatherBytes / 2) {
      yield* flush()
      yield Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      return
    }
    space.set(bytes, used)
    used += bytes.length
  }
  return { add, flush }
}

interface MemberFacts {
  readonly options: TarOptions
  readonly storedBytes: number
  readonly isSparse: boolean
}

function encodeMember(item: TarItem, facts: MemberFacts): Buffer {
  const { attributes, hardLinkTo } = item
  const type = hardLinkTo === undefined ? memberType(attributes.type, item.name) : '1'
  const name = (type === '5' && !item.name.endsWith('/') ? `${item.name}/` : item.name) as RawText
  const linkName = hardLinkTo ?? attributes.linkTarget ?? ('' as RawText)
  const header: TarHeader = {
    name,
    linkName,
    type,
    mode: attributes.mode & 0o7777,
    uid: attributes.uid,
    gid: attributes.gid,
    size: facts.storedBytes,
    mtime: floorSeconds(attributes.mtimeNs),
    user: attributes.user ?? ('' as RawText),
    group: attributes.group ?? ('' as RawText),
    ...splitDevice(attributes.device ?? 0n),
  }
  return facts.options.format === 'busybox'
    ? Buffer.concat([...longTexts(header), encodeHeader(header, 'gnu')])
    : Buffer.concat([...paxHeader(item, header, facts), encodeHeader(header, 'posix')])
}

function memberType(type: NodeType, name: RawText): string {
  switch (type) {
    case 'file':
      return '0'
    case 'symlink':
      return '2'
    case 'chardev':
      return '3'
    case 'dev':
      return '4'
    case 'dir':
      return '5'
    case 'fifo':
      return '6'
    case 'socket':
    case 'irregular':
      throw new VmlError('unsupported', `Cannot put "${printable(name)}" into an archive: it is a ${type}`)
    default:
      throw new TypeError(`Cannot write a node of type ${String(type satisfies never)}`)
  }
}

/** Type `L` and `K` of GNU tar: the whole name as content of a member ahead. */
function* longTexts(header: TarHeader): Iterable<Buffer> {
  for (const [type, text] of [
    ['K', header.linkName],
    ['L', header.name],
  ] as const) {
    // A full field has no end mark, and busybox then reads on into the next one.
    if (text.length < nameFieldBytes) continue
    const size = text.length + 1
    yield encodeHeader(aheadHeader('././@LongLink', type, size), 'gnu')
    const body = Buffer.alloc(roundUp(size))
    body.write(text, 'latin1')
    yield body
  }
}

function* paxHeader(item: TarItem, header: TarHeader, facts: MemberFacts): Iterable<Buffer> {
  const records = [...paxRecords(item, header, facts)]
  if (records.length === 0) return
  const body = Buffer.concat(records)
  yield encodeHeader(aheadHeader('./PaxHeaders/0', 'x', body.length), 'posix')
  yield body
  yield zeros.subarray(0, roundUp(body.length) - body.length)
}

function aheadHeader(name: string, type: string, size: number): TarHeader {
  const none = '' as RawText
  return {
    name: name as RawText,
    type,
    size,
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: 0n,
    linkName: none,
    user: none,
    group: none,
    major: 0,
    minor: 0,
  }
}

// Names are bytes: `hdrcharset=BINARY` would say so, but GNU tar warns of it, and takes bytes without.
function* paxRecords(item: TarItem, header: TarHeader, facts: MemberFacts): Iterable<Buffer> {
  const { attributes, hardLinkTo } = item
  if (header.name.length > nameFieldBytes && !facts.isSparse) yield formatPaxRecord('path', header.name)
  if (header.linkName.length > nameFieldBytes) yield formatPaxRecord('linkpath', header.linkName)
  if (attributes.mtimeNs % 1_000_000_000n !== 0n || header.mtime < 0n || header.mtime > BigInt(octalMax(12)))
    yield formatPaxRecord('mtime', formatPaxTime(attributes.mtimeNs))
  if (attributes.atimeNs !== undefined) yield formatPaxRecord('atime', formatPaxTime(attributes.atimeNs))
  if (header.uid > idOctalMax) yield formatPaxRecord('uid', String(header.uid))
  if (header.gid > idOctalMax) yield formatPaxRecord('gid', String(header.gid))
  if (header.user.length > ownerFieldBytes) yield formatPaxRecord('uname', header.user)
  if (header.group.length > ownerFieldBytes) yield formatPaxRecord('gname', header.group)
  if (header.size > sizeOctalMax) yield formatPaxRecord('size', String(header.size))
  if (facts.isSparse) {
    yield formatPaxRecord('GNU.sparse.major', '1')
    yield formatPaxRecord('GNU.sparse.minor', '0')
    yield formatPaxRecord('GNU.sparse.name', header.name)
    yield formatPaxRecord('GNU.sparse.realsize', String(attributes.size ?? 0))
  }
  if (facts.options.xattrs && hardLinkTo === undefined) yield* xattrRecords(attributes)
}

function* xattrRecords({ xattrs = [] }: Attributes): Iterable<Buffer> {
  for (const { name, value } of xattrs) {
    const kind = name === accessAclName ? 'access' : name === defaultAclName ? 'default' : undefined
    const text = kind && aclToText(value)
    if (kind !== undefined && text !== undefined) yield formatPaxRecord(`SCHILY.acl.${kind}`, text)
    yield formatPaxRecord(xattrKey(name), value)
  }
}

function floorSeconds(ns: bigint): bigint {
  const seconds = ns / 1_000_000_000n
  return ns < 0n && seconds * 1_000_000_000n !== ns ? seconds - 1n : seconds
}

/** As Linux reads `st_rdev` (sys/sysmacros.h). */
function splitDevice(device: bigint): { major: number; minor: number } {
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
  }
}

/** The extents of a file that has holes; undefined when it has none. */
function holedExtents(item: TarItem): readonly Extent[] | undefined {
  const { extents, attributes } = item
  if (!extents || attributes.type !== 'file' || item.hardLinkTo !== undefined) return undefined
  let end = 0
  for (const { offset, length } of extents) {
    if (offset < end || length < 1) throw badContent(item, 'its extents are out of order')
    end = offset + length
  }
  if (end > (attributes.size ?? 0)) throw badContent(item, 'its extents are longer than its size')
  return sumLengths(extents) === (attributes.size ?? 0) ? undefined : withEnd(extents, attributes.size ?? 0)
}

/** GNU tar makes a hole at the end from an empty extent there. */
function withEnd(extents: readonly Extent[], size: number): readonly Extent[] {
  const last = extents.at(-1)
  return last && last.offset + last.length === size ? extents : [...extents, { offset: size, length: 0 }]
}

function sumLengths(extents: readonly Extent[]): number {
  let sum = 0
  for (const { length } of extents) sum += length
  return sum
}

async function* plainData(item: TarItem): AsyncIterable<Uint8Array> {
  let left = item.attributes.size ?? 0
  for await (const segment of item.segments()) {
    left -= segment.kind === 'data' ? segment.bytes.length : segment.length
    if (left < 0) throw badContent(item, 'its content is longer than its size')
    if (segment.kind === 'data') yield segment.bytes
    else yield* zeroBytes(segment.length)
  }
  if (left > 0) throw badContent(item, 'its content is shorter than its size')
}

/** Only what lies in the extents; what lies outside must be zero. */
async function* sparseData(item: TarItem, extents: readonly Extent[]): AsyncIterable<Uint8Array> {
  let offset = 0
  let index = 0
  for await (const segment of item.segments()) {
    const end = offset + (segment.kind === 'data' ? segment.bytes.length : segment.length)
    for (let at = offset; at < end;) {
      while (index < extents.length && extentEnd(extents[index]) <= at) index++
      const extent = extents[index] ?? { offset: Number.POSITIVE_INFINITY, length: 0 }
      const inside = extent.offset <= at
      const stop = Math.min(end, inside ? extentEnd(extent) : extent.offset)
      if (segment.kind === 'data') {
        const bytes = segment.bytes.subarray(at - offset, stop - offset)
        if (inside) yield bytes
        else if (!isZero(bytes)) throw badContent(item, 'it has data outside of its extents')
      } else if (inside) yield* zeroBytes(stop - at)
      at = stop
    }
    offset = end
  }
  if (offset !== (item.attributes.size ?? 0)) throw badContent(item, 'its content is not as long as its size')
}

function extentEnd(extent: Extent | undefined): number {
  return extent ? extent.offset + extent.length : Number.POSITIVE_INFINITY
}

function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += zeros.length) {
    const piece = bytes.subarray(at, at + zeros.length)
    if (zeros.compare(piece, 0, piece.length, 0, piece.length) !== 0) return false
  }
  return true
}

function* zeroBytes(length: number): Iterable<Buffer> {
  for (let left = length; left > 0; left -= zeros.length)
    yield zeros.subarray(0, Math.min(left, zeros.length))
}

function badContent(item: TarItem, why: string): VmlError {
  return new VmlError('integrity.format', `Cannot put "${printable(item.name)}" into an archive: ${why}`)
}
