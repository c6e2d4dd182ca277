// Reads a tar stream as it comes: ustar, pax and GNU, whatever GNU tar and busybox write. Names stay bytes.
import type { RawText } from '../base/raw-text.ts'
import { compareRaw, pathBytesMax } from '../model/raw-path.ts'
import type { Attributes, NodeType, Segment, Xattr } from '../model/tree.ts'
import { openByteReader, type ByteReader } from './byte-reader.ts'
import { accessAclName, aclFromText, defaultAclName } from './posix-acl.ts'
import { badArchive, blockBytes, decodeHeader, isZeroBlock, type TarHeader } from './tar-header.ts'
import {
  parsePax,
  parsePaxNumber,
  parsePaxTime,
  paxBytesMax,
  xattrNameOf,
  type PaxRecord,
} from './tar-pax.ts'
import {
  readContentSparseMap,
  readOldSparseMap,
  readPaxSparseMap,
  roundUp,
  type SparseMap,
} from './tar-sparse.ts'

export interface TarEntry {
  /** As in the archive, without the slash at the end of a folder: `./a`, `a`, `/a`, or worse. */
  readonly name: RawText
  /** `size` is the size of the file, not what is stored of it. For another name of a file they are those of the name. */
  readonly attributes: Attributes
  /** The name in this archive of which this is another one; no content follows. */
  readonly hardLinkTo?: RawText
  /** Content of a regular file, to be read before the next entry is asked for; what is not read is skipped. Once only. */
  segments(): AsyncIterable<Segment>
}

/** What may precede one member: a long name, a long link, pax headers. More is no archive of a sane program. */
const headersAheadMax = 64
const globalRecordsMax = 1000

/**
 * Entries in the order of the archive; zero blocks between archives are passed over. Bytes of segments are views
 * of the chunks. Fails with `integrity.truncated` where the stream ends without an end mark, `integrity.format`
 * for everything that is no archive.
 */
export async function* readTar(stream: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry, void, undefined> {
  const reader = openByteReader(stream, 'an archive')
  const globals = new Map<string, PaxRecord>()
  try {
    let ended = false
    for (;;) {
      const block = reader.takeReady(blockBytes) ?? (await reader.takeOrEnd(blockBytes))
      if (block && isZeroBlock(block)) {
        ended = true
        continue
      }
      if (!block) {
        // Asking again for more than nothing gives the failure with its place.
        if (!ended) await reader.take(blockBytes)
        return
      }
      ended = false
      const member = await readMember(reader, block, globals)
      if (!member) continue
      const content = openContent(reader, member)
      yield {
        name: member.name,
        attributes: member.attributes,
        ...(member.hardLinkTo === undefined ? {} : { hardLinkTo: member.hardLinkTo }),
        segments: content.segments,
      }
      await content.finish()
    }
  } finally {
    await reader.close()
  }
}

interface Member {
  readonly name: RawText
  readonly attributes: Attributes
  readonly hardLinkTo?: RawText
  readonly storedBytes: number
  readonly sparse?: SparseMap
}

/** One member with all headers ahead of it; undefined for what is no file (labels of volumes). */
async function readMember(
  reader: ByteReader,
  first: Buffer,
  globals: Map<string, PaxRecord>,
): Promise<Member | undefined> {
  let block = first
  let longName: RawText | undefined
  let longLink: RawText | undefined
  let records: PaxRecord[] = []
  for (let ahead = 0; ; ahead++) {
    if (ahead > headersAheadMax) throw badArchive('too many headers stand before one member')
    const header = decodeHeader(block)
    switch (header.type) {
      case 'L':
        longName = await readLongText(reader, header)
        break
      case 'K':
        longLink = await readLongText(reader, header)
        break
      case 'x':
      case 'X':
        records = [...parsePax(await readHeaderBody(reader, header, paxBytesMax))]
        break
      case 'g':
        addGlobals(globals, parsePax(await readHeaderBody(reader, header, paxBytesMax)))
        break
      case 'V':
        await reader.skip(roundUp(header.size))
        return undefined
      default:
        return await describe(reader, block, {
          header: { ...header, name: longName ?? header.name, linkName: longLink ?? header.linkName },
          records: globals.size === 0 ? records : [...globals.values(), ...records],
        })
    }
    block = await reader.take(blockBytes)
    if (isZeroBlock(block)) throw badArchive('a header stands before nothing')
  }
}

function addGlobals(globals: Map<string, PaxRecord>, records: Iterable<PaxRecord>): void {
  for (const { key, value } of records) globals.set(key, { key, value: Buffer.from(value) })
  if (globals.size > globalRecordsMax) throw badArchive('too many global records')
}

async function readHeaderBody(reader: ByteReader, header: TarHeader, bytesMax: number): Promise<Buffer> {
  if (header.size > bytesMax) throw badArchive('an extended header is too long')
  return (await reader.take(roundUp(header.size))).subarray(0, header.size)
}

async function readLongText(reader: ByteReader, header: TarHeader): Promise<RawText> {
  const bytes = await readHeaderBody(reader, header, pathBytesMax + 1)
  const end = bytes.indexOf(0)
  return bytes.toString('latin1', 0, end === -1 ? bytes.length : end) as RawText
}

/** What the records say on top of the header. A record without a value takes an earlier one back. */
interface Overrides {
  readonly text: ReadonlyMap<string, Buffer>
  readonly xattrs: ReadonlyMap<RawText, Buffer>
}

function foldRecords(records: readonly PaxRecord[]): Overrides {
  const text = new Map<string, Buffer>()
  const xattrs = new Map<RawText, Buffer>()
  for (const { key, value } of records) {
    if (key.startsWith('SCHILY.xattr.')) xattrs.set(xattrNameOf(key), value)
    else if (value.length === 0) text.delete(key)
    else text.set(key, value)
  }
  return { text, xattrs }
}

async function describe(
  reader: ByteReader,
  block: Buffer,
  { header, records }: { header: TarHeader; records: readonly PaxRecord[] },
): Promise<Member> {
  const overrides = foldRecords(records)
  const get = (key: string): RawText | undefined =>
    overrides.text.get(key)?.toString('latin1') as RawText | undefined
  const number = (key: string): number | undefined => {
    const text = get(key)
    return text === undefined ? undefined : parsePaxNumber(text)
  }
  const fullName = get('GNU.sparse.name') ?? get('path') ?? header.name
  const linkName = get('linkpath') ?? header.linkName
  const type = nodeType(header.type, fullName)
  const isLink = header.type === '1'
  const hasData = type === 'file' && !isLink
  const storedBytes = hasData || header.type === 'D' ? (number('size') ?? header.size) : 0
  const sparse = hasData
    ? await sparseMapOf(reader, block, { header, records, get, number, storedBytes })
    : undefined
  checkStored(sparse, storedBytes)
  const atime = get('atime')
  const ctime = get('ctime')
  const mtime = get('mtime')
  const user = get('uname') ?? header.user
  const group = get('gname') ?? header.group
  const xattrs = xattrsOf(overrides)
  return {
    name: checkName(fullName.replace(/(?<=[^/])\/+$/, '') as RawText),
    ...(isLink ? { hardLinkTo: checkName(linkName) } : {}),
    storedBytes,
    ...(sparse ? { sparse } : {}),
    attributes: {
      type,
      mode: header.mode & 0o7777,
      uid: number('uid') ?? header.uid,
      gid: number('gid') ?? header.gid,
      ...(user === '' ? {} : { user }),
      ...(group === '' ? {} : { group }),
      mtimeNs: mtime === undefined ? header.mtime * 1_000_000_000n : parsePaxTime(mtime),
      ...(atime === undefined ? {} : { atimeNs: parsePaxTime(atime) }),
      ...(ctime === undefined ? {} : { ctimeNs: parsePaxTime(ctime) }),
      ...(hasData ? { size: sparse?.size ?? storedBytes } : {}),
      ...(type === 'symlink' ? { linkTarget: checkName(linkName) } : {}),
      ...(type === 'dev' || type === 'chardev' ? { device: makeDevice(header) } : {}),
      ...(xattrs.length === 0 ? {} : { xattrs }),
    },
  }
}

function nodeType(type: string, name: string): NodeType {
  switch (type) {
    case '0':
    case '7':
    case 'S':
      // Before ustar a folder was a file whose name ends in a slash.
      return name.endsWith('/') && type === '0' ? 'dir' : 'file'
    case '1':
      return 'file'
    case '2':
      return 'symlink'
    case '3':
      return 'chardev'
    case '4':
      return 'dev'
    case '5':
    case 'D':
      return 'dir'
    case '6':
      return 'fifo'
    default:
      throw badArchive(`it has a member of unknown type ${JSON.stringify(type)}`)
  }
}

interface SparseFacts {
  readonly header: TarHeader
  readonly records: readonly PaxRecord[]
  readonly storedBytes: number
  get(key: string): RawText | undefined
  number(key: string): number | undefined
}

async function sparseMapOf(
  reader: ByteReader,
  block: Buffer,
  { header, records, storedBytes, get, number }: SparseFacts,
): Promise<SparseMap | undefined> {
  if (header.type === 'S') return await readOldSparseMap(block, reader)
  const major = get('GNU.sparse.major')
  const size = number('GNU.sparse.realsize') ?? number('GNU.sparse.size')
  if (major === undefined && get('GNU.sparse.map') === undefined && get('GNU.sparse.numblocks') === undefined)
    return undefined
  if (size === undefined) throw badArchive('a sparse file has no size')
  if (major === undefined || major === '0') return readPaxSparseMap(records, size)
  if (major !== '1' || get('GNU.sparse.minor') !== '0')
    throw badArchive('a sparse file is of an unknown version')
  return await readContentSparseMap(reader, { size, storedBytes })
}

function checkStored(sparse: SparseMap | undefined, storedBytes: number): void {
  if (!sparse) return
  let data = sparse.mapBytes
  for (const { length } of sparse.extents) data += length
  if (data !== storedBytes) throw badArchive('a sparse map does not fit what is stored')
}

function checkName(name: RawText): RawText {
  if (name === '' || name.length > pathBytesMax || name.includes('\0'))
    throw badArchive('a name is malformed')
  return name
}

/** Binary lists win over text: they have the ids, where text may have names. */
function xattrsOf({ text, xattrs }: Overrides): Xattr[] {
  const found = new Map(xattrs)
  const lists = [
    ['SCHILY.acl.access', accessAclName, 'access'],
    ['SCHILY.acl.default', defaultAclName, 'default'],
  ] as const
  for (const [key, name, kind] of lists) {
    const value = text.get(key)
    if (value === undefined || found.has(name)) continue
    const binary = aclFromText(value.toString('latin1') as RawText, kind)
    if (binary) found.set(name, binary)
  }
  return [...found]
    .map(([name, value]) => ({ name: checkName(name), value: new Uint8Array(value) }))
    .sort((left, right) => compareRaw(left.name, right.name))
}

/** As Linux puts it in `st_rdev` (sys/sysmacros.h). */
function makeDevice(header: TarHeader): bigint {
  const major = BigInt(header.major)
  const minor = BigInt(header.minor)
  return (minor & 0xffn) | ((major & 0xfffn) << 8n) | ((minor & ~0xffn) << 12n) | ((major & ~0xfffn) << 32n)
}

interface Content {
  segments(): AsyncIterable<Segment>
  /** Passes over what was not read, and the filling up to the next block. */
  finish(): Promise<void>
}

function openContent(reader: ByteReader, { storedBytes, sparse, attributes }: Member): Content {
  let left = storedBytes - (sparse?.mapBytes ?? 0)
  const filling = roundUp(storedBytes) - storedBytes
  let state: 'fresh' | 'open' | 'over' = 'fresh'

  async function* data(length: number): AsyncGenerator<Segment, void, undefined> {
    for (let rest = length; rest > 0;) {
      if (state === 'over') throw new TypeError('Cannot read content after its entry is over')
      const bytes = await reader.takeSome(rest)
      rest -= bytes.length
      left -= bytes.length
      yield { kind: 'data', bytes }
    }
  }
  async function* segments(): AsyncGenerator<Segment, void, undefined> {
    if (state !== 'fresh') throw new TypeError('Cannot read content twice')
    state = 'open'
    if (!sparse) return yield* data(left)
    let offset = 0
    for (const extent of sparse.extents) {
      if (extent.offset > offset) yield { kind: 'hole', length: extent.offset - offset }
      yield* data(extent.length)
      offset = extent.offset + extent.length
    }
    if (sparse.size > offset) yield { kind: 'hole', length: sparse.size - offset }
  }
  return {
    segments: attributes.type === 'file' ? segments : none,
    async finish() {
      state = 'over'
      if (left + filling > 0) await reader.skip(left + filling)
    },
  }
}

// oxlint-disable-next-line eslint/no-empty-function, eslint/require-yield -- what is no file has no content
async function* none(): AsyncGenerator<Segment, void, undefined> {}
