// The paths of a machine as one scan found them, as a tree in memory: some 90 bytes a path and its name.
import { VmlError } from '../base/failure.ts'
import type { RawText } from '../base/raw-text.ts'
import {
  baseName,
  entryPathsMax,
  joinPath,
  parentPath,
  type RawName,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import type { Attributes, NodeType } from '../model/tree.ts'
import type { OwnerNames } from '../source/source.ts'
import type { ListedPath } from '../wire/folder-reader.ts'
import { DeviceNumbers } from './device-numbers.ts'
import {
  types,
  dot,
  typeNumbers,
  dirType,
  rowBytes,
  rowLongs,
  rowWords,
  fingerprintBytes,
  inInode,
  inMode,
  inUid,
  inGid,
  inLinks,
  inNameStart,
  inNameLength,
  inParent,
  inNext,
  known,
  removed,
  hasCtime,
  hasInode,
  hasSize,
  hasLinks,
} from './listing-row.ts'
import { NameBytes } from './name-bytes.ts'
import { lowHalf, writeTime } from './split-time.ts'

/** Number of a path in its listing. The root has 0. */
export type Row = number
export const rootRow: Row = 0
export const noRow: Row = -1

let scratch = Buffer.alloc(64 * 1024)

export class Listing {
  #rows = 0
  #live = 0
  #longs = new BigInt64Array(0)
  #doubles = new Float64Array(0)
  #words = new Uint32Array(0)
  #bytes = Buffer.alloc(0)
  #first = new Int32Array(0)
  #flags = new Uint8Array(0)
  readonly #names = new NameBytes()
  readonly #folders = new Map<RawPath, Row>()
  /** By folder, for those in which somebody looked for a name. */
  readonly #children = new Map<Row, Map<RawName, Row>>()
  readonly #linkTargets = new Map<Row, RawText>()
  readonly #devices = new DeviceNumbers()
  readonly #users = new Map<number, RawText>()
  readonly #groups = new Map<number, RawText>()
  #lastFolder: RawPath = rootPath
  #lastRow: Row = rootRow

  constructor() {
    this.#append(noRow, '' as RawName)
    this.#setType(rootRow, dirType)
    this.#folders.set(rootPath, rootRow)
  }

  /** Paths of which attributes are known. */
  get size(): number {
    return this.#live
  }

  /** Adds a path, or brings its attributes up to date. Folders on the way of which nothing is known are made room for. */
  add(path: RawPath, attributes: Attributes): Row {
    const isFolder = attributes.type === 'dir'
    const known = this.#locate(path)
    const row = known >= 0 ? known : this.#enter(path, isFolder)
    if (isFolder) this.#folders.set(path, row)
    else if (this.#folders.get(path) === row) this.#folders.delete(path)
    this.#write(row, attributes)
    return row
  }

  /** The same for a path that was not added before, which is quicker. Two of a name show when the tree is built. */
  addNew(path: RawPath, attributes: Attributes): Row {
    const row = this.#enter(path, attributes.type === 'dir')
    this.#write(row, attributes)
    return row
  }

  /** What `addListed` adds lies in this folder, which may be new. */
  enter(folder: RawPath): void {
    if (folder !== this.#lastFolder) this.#setLast(folder, this.#enter(folder, true))
  }

  /** As `addNew`, for what lies in the folder that was entered last. */
  addListed(path: ListedPath): Row {
    const { names, nameStart, nameEnd, type } = path
    const parent = this.#lastRow
    const row = this.#appendRow(parent, this.#names.addBytes(names, nameStart, nameEnd), nameEnd - nameStart)
    const isFolder = type === 'dir'
    this.#children.get(parent)?.set(this.name(row), row)
    if (isFolder) this.#folders.set(joinPath(this.#lastFolder, this.name(row)), row)
    const word = row * rowWords
    const place = { longs: this.#longs, words: this.#words }
    writeTime({ ...place, long: row * rowLongs }, path.mtimeSeconds, path.mtimeNanoseconds)
    writeTime({ ...place, long: row * rowLongs + 1 }, path.ctimeSeconds, path.ctimeNanoseconds)
    this.#words[word + inInode + lowHalf] = path.inodeLow
    this.#words[word + inInode + 1 - lowHalf] = path.inodeHigh
    const isFile = type === 'file'
    if (isFile) this.#doubles[row * rowLongs + 3] = path.size
    this.#words[word + inMode] = path.mode | ((typeNumbers.get(type) ?? 0) << 16)
    this.#words[word + inUid] = path.uid
    this.#words[word + inGid] = path.gid
    this.#words[word + inLinks] = path.links
    this.#words[word + inNameLength] = (nameEnd - nameStart) | (this.#devices.numberOf(path.deviceId) << 16)
    this.#flags[row] = known | hasCtime | hasInode | hasLinks | (isFile ? hasSize : 0)
    if (path.linkTarget !== undefined && path.linkTarget !== '') this.#linkTargets.set(row, path.linkTarget)
    this.#live++
    return row
  }

  /** `noRow` for a path that is not listed, or of which nothing is known. */
  find(path: RawPath): Row {
    const row = this.#locate(path)
    return row >= 0 && this.isKnown(row) ? row : noRow
  }

  get(path: RawPath): Attributes | undefined {
    const row = this.find(path)
    return row < 0 ? undefined : this.attributes(row)
  }

  isKnown(row: Row): boolean {
    return ((this.#flags[row] ?? 0) & (known | removed)) === known
  }

  type(row: Row): NodeType {
    return types[(this.#words[row * rowWords + inMode] ?? 0) >>> 16] ?? 'irregular'
  }

  isFolder(row: Row): boolean {
    return (this.#words[row * rowWords + inMode] ?? 0) >>> 16 === dirType
  }

  mode(row: Row): number {
    return (this.#words[row * rowWords + inMode] ?? 0) & 0xffff
  }

  /** Bytes; 0 for what has none. */
  bytes(row: Row): number {
    return this.#doubles[row * rowLongs + 3] ?? 0
  }

  links(row: Row): number {
    return this.#words[row * rowWords + inLinks] ?? 0
  }

  mtimeNs(row: Row): bigint {
    return this.#longs[row * rowLongs] ?? 0n
  }

  ctimeNs(row: Row): bigint | undefined {
    return this.#has(row, hasCtime) ? this.#longs[row * rowLongs + 1] : undefined
  }

  name(row: Row): RawName {
    const at = row * rowWords
    return this.#names.get(this.#words[at + inNameStart] ?? 0, (this.#words[at + inNameLength] ?? 0) & 0xffff)
  }

  isNamed(row: Row, name: RawName): boolean {
    const length = (this.#words[row * rowWords + inNameLength] ?? 0) & 0xffff
    return length === name.length && this.name(row) === name
  }

  /** Whether the name has these bytes somewhere. */
  nameHolds(row: Row, bytes: Uint8Array): boolean {
    const at = row * rowWords
    const length = (this.#words[at + inNameLength] ?? 0) & 0xffff
    return this.#names.holds(this.#words[at + inNameStart] ?? 0, length, bytes)
  }

  /** The name begins with a dot. */
  isHidden(row: Row): boolean {
    return this.#names.firstByte(this.#words[row * rowWords + inNameStart] ?? 0) === dot
  }

  linkTarget(row: Row): RawText | undefined {
    return this.#linkTargets.get(row)
  }

  /** `noRow` for the root. */
  parent(row: Row): Row {
    return (this.#words[row * rowWords + inParent] ?? 0) - 1
  }

  path(row: Row): RawPath {
    if (row === rootRow) return rootPath
    const names: RawName[] = []
    for (let at = row; at !== rootRow; at = this.parent(at)) names.push(this.name(at))
    return `/${names.reverse().join('/')}` as RawPath
  }

  attributes(row: Row): Attributes {
    const long = row * rowLongs
    const word = row * rowWords
    const uid = this.#words[word + inUid] ?? 0
    const gid = this.#words[word + inGid] ?? 0
    const user = this.#users.get(uid)
    const group = this.#groups.get(gid)
    const linkTarget = this.#linkTargets.get(row)
    const deviceId = this.#devices.idOf((this.#words[word + inNameLength] ?? 0) >>> 16)
    return {
      type: this.type(row),
      mode: this.mode(row),
      uid,
      gid,
      ...(user === undefined ? {} : { user }),
      ...(group === undefined ? {} : { group }),
      mtimeNs: this.#longs[long] ?? 0n,
      ...(this.#has(row, hasCtime) ? { ctimeNs: this.#longs[long + 1] ?? 0n } : {}),
      ...(this.#has(row, hasInode) ? { inode: BigInt.asUintN(64, this.#longs[long + 2] ?? 0n) } : {}),
      ...(deviceId === undefined || deviceId < 0n ? {} : { deviceId }),
      ...(this.#has(row, hasLinks) ? { links: this.links(row) } : {}),
      ...(this.#has(row, hasSize) ? { size: this.bytes(row) } : {}),
      ...(linkTarget === undefined ? {} : { linkTarget }),
    }
  }

  /** The bytes of a row that change with the file: `fingerprintBytes` of them; a view. */
  fingerprint(row: Row): Buffer {
    return this.#bytes.subarray(row * rowBytes, row * rowBytes + fingerprintBytes)
  }

  /** The same for all that lies in a folder, with names and link targets, in the order of the listing; good until the next call. */
  folderBytes(folder: Row): Buffer {
    let used = 0
    for (let row = this.#first[folder] ?? noRow; row >= 0; row = this.#next(row)) {
      if (this.#has(row, removed)) continue
      const target = this.#linkTargets.get(row) ?? ''
      const nameLength = (this.#words[row * rowWords + inNameLength] ?? 0) & 0xffff
      const bytes = fingerprintBytes + 2 + nameLength + 4 + target.length
      if (used + bytes > scratch.length)
        scratch = Buffer.concat([scratch], Math.max(2 * scratch.length, used + bytes))
      this.#bytes.copy(scratch, used, row * rowBytes, row * rowBytes + fingerprintBytes)
      used = scratch.writeUInt16LE(nameLength, used + fingerprintBytes)
      const start = this.#words[row * rowWords + inNameStart] ?? 0
      this.#names.copy(start, nameLength, { into: scratch, at: used })
      used = scratch.writeUInt32LE(target.length, used + nameLength)
      if (target.length > 0) used += scratch.write(target, used, 'latin1')
    }
    return scratch.subarray(0, used)
  }

  /** What lies in a folder, each name once, folders of which nothing is known among it. */
  *children(row: Row): IterableIterator<Row> {
    for (let child = this.#first[row] ?? noRow; child >= 0; child = this.#next(child))
      if (!this.#has(child, removed)) yield child
  }

  /** The row and everything below it, parents first. */
  *below(row: Row): IterableIterator<Row> {
    const stack = [row]
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      yield at
      for (const child of this.children(at)) stack.push(child)
    }
  }

  /** Every path, parents first, folders of which nothing is known among them: in the order in which they came, which is quicker. */
  *rows(): IterableIterator<Row> {
    for (let row = rootRow; row < this.#rows; row++) if (!this.#has(row, removed)) yield row
  }

  /** Removes a path with everything below it but `except`; folders on the way to those stay, and nothing is known of them. */
  remove(row: Row, except?: ReadonlySet<Row>): void {
    let holds = false
    for (const child of [...this.children(row)]) {
      if (!except?.has(child)) this.remove(child, except)
      holds ||= !this.#has(child, removed)
    }
    if (this.isKnown(row)) this.#live--
    this.#flags[row] = (this.#flags[row] ?? 0) & ~known
    if (holds || row === rootRow) return
    this.#flags[row] = (this.#flags[row] ?? 0) | removed
    this.#children.get(this.parent(row))?.delete(this.name(row))
    if (this.isFolder(row)) this.#folders.delete(this.path(row))
    if (this.#lastRow === row) this.#setLast(rootPath, rootRow)
  }

  /** For all paths of these owners. */
  nameOwners({ users, groups }: OwnerNames): void {
    for (const [uid, name] of users) this.#users.set(uid, name)
    for (const [gid, name] of groups) this.#groups.set(gid, name)
  }

  #has(row: Row, flag: number): boolean {
    return ((this.#flags[row] ?? 0) & flag) !== 0
  }

  #next(row: Row): Row {
    return (this.#words[row * rowWords + inNext] ?? 0) - 1
  }

  #setLast(folder: RawPath, row: Row): void {
    this.#lastFolder = folder
    this.#lastRow = row
  }

  #locate(path: RawPath): Row {
    const folder = this.#folders.get(path)
    if (folder !== undefined) return folder
    const parent = this.#folders.get(parentPath(path))
    return parent === undefined ? noRow : (this.#childrenOf(parent).get(baseName(path)) ?? noRow)
  }

  #childrenOf(folder: Row): Map<RawName, Row> {
    let children = this.#children.get(folder)
    if (!children) {
      children = new Map()
      for (const child of this.children(folder)) children.set(this.name(child), child)
      this.#children.set(folder, children)
    }
    return children
  }

  #enter(path: RawPath, isFolder: boolean): Row {
    const folder = this.#folders.get(path)
    if (folder !== undefined) return folder
    const parent = this.#folderOf(path)
    const name = baseName(path)
    const row = this.#append(parent, name)
    this.#children.get(parent)?.set(name, row)
    if (isFolder) {
      this.#setType(row, dirType)
      this.#folders.set(path, row)
    }
    return row
  }

  #folderOf(path: RawPath): Row {
    const folder = parentPath(path)
    if (folder !== this.#lastFolder) this.#setLast(folder, this.#enter(folder, true))
    return this.#lastRow
  }

  #append(parent: Row, name: RawName): Row {
    return this.#appendRow(parent, this.#names.add(name), name.length)
  }

  #appendRow(parent: Row, nameStart: number, nameLength: number): Row {
    if (this.#rows >= entryPathsMax) {
      throw new VmlError('unsupported', `Cannot take in more than ${entryPathsMax} paths at once`, {
        hint: 'Nothing was changed. Save parts of it, each with --only DIR, or leave folders out with --exclude',
      })
    }
    if ((this.#rows + 1) * rowBytes > this.#bytes.length) this.#grow()
    const row = this.#rows++
    const at = row * rowWords
    this.#words[at + inNameStart] = nameStart
    this.#words[at + inNameLength] = nameLength
    this.#words[at + inParent] = parent + 1
    this.#first[row] = noRow
    if (parent >= 0) {
      this.#words[at + inNext] = (this.#first[parent] ?? noRow) + 1
      this.#first[parent] = row
    }
    return row
  }

  #grow(): void {
    const rows = Math.max(1024, Math.ceil(this.#rows * 1.5))
    const memory = new ArrayBuffer(rows * rowBytes)
    const bytes = Buffer.from(memory)
    this.#bytes.copy(bytes)
    this.#bytes = bytes
    this.#longs = new BigInt64Array(memory)
    this.#doubles = new Float64Array(memory)
    this.#words = new Uint32Array(memory)
    const first = new Int32Array(rows)
    first.set(this.#first.subarray(0, this.#rows))
    this.#first = first
    const flags = new Uint8Array(rows)
    flags.set(this.#flags.subarray(0, this.#rows))
    this.#flags = flags
  }

  #setType(row: Row, type: number): void {
    const at = row * rowWords + inMode
    this.#words[at] = ((this.#words[at] ?? 0) & 0xffff) | (type << 16)
  }

  #write(row: Row, attributes: Attributes): void {
    const { mtimeNs, ctimeNs, inode, size, links, uid, gid, user, group, deviceId, linkTarget } = attributes
    const long = row * rowLongs
    const word = row * rowWords
    if (!this.isKnown(row)) this.#live++
    this.#longs[long] = mtimeNs
    this.#longs[long + 1] = ctimeNs ?? 0n
    this.#longs[long + 2] = BigInt.asIntN(64, inode ?? 0n)
    this.#doubles[long + 3] = size ?? 0
    this.#words[word + inMode] = (attributes.mode & 0xffff) | (types.indexOf(attributes.type) << 16)
    this.#words[word + inUid] = uid
    this.#words[word + inGid] = gid
    this.#words[word + inLinks] = links ?? 0
    const nameLength = (this.#words[word + inNameLength] ?? 0) & 0xffff
    this.#words[word + inNameLength] = nameLength | (this.#devices.numberOf(deviceId ?? -1n) << 16)
    this.#flags[row] =
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
}
