// The attributes of the rows of a listing: written into its columns, with what fits into none, and read again.
import type { RawText } from '../base/raw-text.ts'
import type { Attributes } from '../model/tree.ts'
import type { OwnerNames } from '../source/source.ts'
import type { ListedPath } from '../wire/folder-reader.ts'
import { DeviceNumbers } from './device-numbers.ts'
import type { ListingColumns } from './listing-columns.ts'
import {
  hasCtime,
  hasInode,
  hasLinks,
  hasSize,
  inGid,
  inInode,
  inLinks,
  inMode,
  inNameLength,
  inUid,
  known,
  type Row,
  rowLongs,
  rowWords,
  typeNumbers,
  types,
} from './listing-row.ts'
import { lowHalf, writeTime } from './split-time.ts'

export class ListingAttributes {
  readonly #columns: ListingColumns
  readonly #linkTargets = new Map<Row, RawText>()
  readonly #devices = new DeviceNumbers()
  readonly #users = new Map<number, RawText>()
  readonly #groups = new Map<number, RawText>()

  constructor(columns: ListingColumns) {
    this.#columns = columns
  }

  write(row: Row, attributes: Attributes): void {
    const { mtimeNs, ctimeNs, inode, size, links, uid, gid, user, group, deviceId, linkTarget } = attributes
    const { longs, doubles, words, flags } = this.#columns
    const long = row * rowLongs
    const word = row * rowWords
    longs[long] = mtimeNs
    longs[long + 1] = ctimeNs ?? 0n
    longs[long + 2] = BigInt.asIntN(64, inode ?? 0n)
    doubles[long + 3] = size ?? 0
    words[word + inMode] = (attributes.mode & 0xffff) | (types.indexOf(attributes.type) << 16)
    words[word + inUid] = uid
    words[word + inGid] = gid
    words[word + inLinks] = links ?? 0
    const nameLength = (words[word + inNameLength] ?? 0) & 0xffff
    words[word + inNameLength] = nameLength | (this.#devices.numberOf(deviceId ?? -1n) << 16)
    flags[row] =
      known |
      (ctimeNs === undefined ? 0 : hasCtime) |
      (inode === undefined ? 0 : hasInode) |
      (size === undefined ? 0 : hasSize) |
      (links === undefined ? 0 : hasLinks)
    if (user !== undefined && !this.#users.has(uid)) this.#users.set(uid, user)
    if (group !== undefined && !this.#groups.has(gid)) this.#groups.set(gid, group)
    if (linkTarget !== undefined) this.#linkTargets.set(row, linkTarget)
    else if (this.#linkTargets.size > 0) this.#linkTargets.delete(row)
  }

  /** The same for a new row. */
  writeListed(row: Row, path: ListedPath): void {
    const { longs, doubles, words, flags } = this.#columns
    const long = row * rowLongs
    const word = row * rowWords
    writeTime({ longs, words, long }, path.mtimeSeconds, path.mtimeNanoseconds)
    writeTime({ longs, words, long: long + 1 }, path.ctimeSeconds, path.ctimeNanoseconds)
    words[word + inInode + lowHalf] = path.inodeLow
    words[word + inInode + 1 - lowHalf] = path.inodeHigh
    const isFile = path.type === 'file'
    if (isFile) doubles[long + 3] = path.size
    words[word + inMode] = path.mode | ((typeNumbers.get(path.type) ?? 0) << 16)
    words[word + inUid] = path.uid
    words[word + inGid] = path.gid
    words[word + inLinks] = path.links
    const nameLength = path.nameEnd - path.nameStart
    words[word + inNameLength] = nameLength | (this.#devices.numberOf(path.deviceId) << 16)
    flags[row] = known | hasCtime | hasInode | hasLinks | (isFile ? hasSize : 0)
    if (path.linkTarget !== undefined && path.linkTarget !== '') this.#linkTargets.set(row, path.linkTarget)
  }

  read(row: Row): Attributes {
    const columns = this.#columns
    const { longs, doubles, words } = columns
    const long = row * rowLongs
    const word = row * rowWords
    const uid = words[word + inUid] ?? 0
    const gid = words[word + inGid] ?? 0
    const user = this.#users.get(uid)
    const group = this.#groups.get(gid)
    const linkTarget = this.#linkTargets.get(row)
    const deviceId = this.#devices.idOf((words[word + inNameLength] ?? 0) >>> 16)
    return {
      type: types[(words[word + inMode] ?? 0) >>> 16] ?? 'irregular',
      mode: (words[word + inMode] ?? 0) & 0xffff,
      uid,
      gid,
      ...(user === undefined ? {} : { user }),
      ...(group === undefined ? {} : { group }),
      mtimeNs: longs[long] ?? 0n,
      ...(columns.has(row, hasCtime) ? { ctimeNs: longs[long + 1] ?? 0n } : {}),
      ...(columns.has(row, hasInode) ? { inode: BigInt.asUintN(64, longs[long + 2] ?? 0n) } : {}),
      ...(deviceId === undefined || deviceId < 0n ? {} : { deviceId }),
      ...(columns.has(row, hasLinks) ? { links: words[word + inLinks] ?? 0 } : {}),
      ...(columns.has(row, hasSize) ? { size: doubles[long + 3] ?? 0 } : {}),
      ...(linkTarget === undefined ? {} : { linkTarget }),
    }
  }

  linkTarget(row: Row): RawText | undefined {
    return this.#linkTargets.get(row)
  }

  nameOwners({ users, groups }: OwnerNames): void {
    for (const [uid, name] of users) this.#users.set(uid, name)
    for (const [gid, name] of groups) this.#groups.set(gid, name)
  }
}
