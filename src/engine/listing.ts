// The paths of a machine as one scan found them, as a tree in memory: some 90 bytes a path and its name.
import type { RawText } from '../base/raw-text.ts'
import type { RawName, RawPath } from '../model/raw-path.ts'
import type { Attributes, NodeType } from '../model/tree.ts'
import type { OwnerNames } from '../source/source.ts'
import type { ListedPath } from '../wire/folder-reader.ts'
import { ListingAttributes } from './listing-attributes.ts'
import { ListingColumns } from './listing-columns.ts'
import { ListingPaths } from './listing-paths.ts'
import {
  dot,
  fingerprintBytes,
  hasCtime,
  inLinks,
  inMode,
  known,
  noRow,
  type Row,
  removed,
  rootRow,
  rowBytes,
  rowLongs,
  rowWords,
  types,
} from './listing-row.ts'

let scratch = Buffer.alloc(64 * 1024)

export class Listing {
  readonly #columns = new ListingColumns()
  readonly #paths = new ListingPaths(this.#columns)
  readonly #attributes = new ListingAttributes(this.#columns)
  #live = 0

  /** Paths of which attributes are known. */
  get size(): number {
    return this.#live
  }

  /** Adds a path, or brings its attributes up to date. Folders on the way of which nothing is known are made room for. */
  add(path: RawPath, attributes: Attributes): Row {
    const isFolder = attributes.type === 'dir'
    const known = this.#paths.locate(path)
    const row = known >= 0 ? known : this.#paths.add(path, isFolder)
    this.#paths.mark(path, row, isFolder)
    this.#write(row, attributes)
    return row
  }

  /** The same for a path that was not added before, which is quicker. Two of a name show when the tree is built. */
  addNew(path: RawPath, attributes: Attributes): Row {
    const row = this.#paths.add(path, attributes.type === 'dir')
    this.#write(row, attributes)
    return row
  }

  /** What `addListed` adds lies in this folder, which may be new. */
  enter(folder: RawPath): void {
    this.#paths.enter(folder)
  }

  /** As `addNew`, for what lies in the folder that was entered last. */
  addListed(path: ListedPath): Row {
    const row = this.#paths.addListed(path)
    this.#attributes.writeListed(row, path)
    this.#live++
    return row
  }

  /** `noRow` for a path that is not listed, or of which nothing is known. */
  find(path: RawPath): Row {
    const row = this.#paths.locate(path)
    return row >= 0 && this.isKnown(row) ? row : noRow
  }

  get(path: RawPath): Attributes | undefined {
    const row = this.find(path)
    return row < 0 ? undefined : this.attributes(row)
  }

  isKnown(row: Row): boolean {
    return ((this.#columns.flags[row] ?? 0) & (known | removed)) === known
  }

  type(row: Row): NodeType {
    return types[(this.#columns.words[row * rowWords + inMode] ?? 0) >>> 16] ?? 'irregular'
  }

  isFolder(row: Row): boolean {
    return this.#columns.isFolder(row)
  }

  mode(row: Row): number {
    return (this.#columns.words[row * rowWords + inMode] ?? 0) & 0xffff
  }

  /** Bytes; 0 for what has none. */
  bytes(row: Row): number {
    return this.#columns.doubles[row * rowLongs + 3] ?? 0
  }

  links(row: Row): number {
    return this.#columns.words[row * rowWords + inLinks] ?? 0
  }

  mtimeNs(row: Row): bigint {
    return this.#columns.longs[row * rowLongs] ?? 0n
  }

  ctimeNs(row: Row): bigint | undefined {
    return this.#columns.has(row, hasCtime) ? this.#columns.longs[row * rowLongs + 1] : undefined
  }

  name(row: Row): RawName {
    return this.#columns.name(row)
  }

  isNamed(row: Row, name: RawName): boolean {
    return this.#columns.nameLength(row) === name.length && this.name(row) === name
  }

  /** Whether the name has these bytes somewhere. */
  nameHolds(row: Row, bytes: Uint8Array): boolean {
    const { names } = this.#columns
    return names.holds(this.#columns.nameStart(row), this.#columns.nameLength(row), bytes)
  }

  /** The name begins with a dot. */
  isHidden(row: Row): boolean {
    return this.#columns.names.firstByte(this.#columns.nameStart(row)) === dot
  }

  linkTarget(row: Row): RawText | undefined {
    return this.#attributes.linkTarget(row)
  }

  /** `noRow` for the root. */
  parent(row: Row): Row {
    return this.#columns.parent(row)
  }

  path(row: Row): RawPath {
    return this.#paths.path(row)
  }

  attributes(row: Row): Attributes {
    return this.#attributes.read(row)
  }

  /** The bytes of a row that change with the file: `fingerprintBytes` of them; a view. */
  fingerprint(row: Row): Buffer {
    return this.#columns.bytes.subarray(row * rowBytes, row * rowBytes + fingerprintBytes)
  }

  /** The same for all that lies in a folder, with names and link targets, in the order of the listing; good until the next call. */
  folderBytes(folder: Row): Buffer {
    const columns = this.#columns
    let used = 0
    for (let row = columns.firstOf(folder); row >= 0; row = columns.next(row)) {
      if (columns.has(row, removed)) continue
      const target = this.linkTarget(row) ?? ''
      const nameLength = columns.nameLength(row)
      const bytes = fingerprintBytes + 2 + nameLength + 4 + target.length
      if (used + bytes > scratch.length)
        scratch = Buffer.concat([scratch], Math.max(2 * scratch.length, used + bytes))
      columns.bytes.copy(scratch, used, row * rowBytes, row * rowBytes + fingerprintBytes)
      used = scratch.writeUInt16LE(nameLength, used + fingerprintBytes)
      columns.names.copy(columns.nameStart(row), nameLength, { into: scratch, at: used })
      used = scratch.writeUInt32LE(target.length, used + nameLength)
      if (target.length > 0) used += scratch.write(target, used, 'latin1')
    }
    return scratch.subarray(0, used)
  }

  /** What lies in a folder, each name once, folders of which nothing is known among it. */
  children(row: Row): IterableIterator<Row> {
    return this.#columns.children(row)
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
    for (let row = rootRow; row < this.#columns.rows; row++) if (!this.#columns.has(row, removed)) yield row
  }

  /** Removes a path with everything below it but `except`; folders on the way to those stay, and nothing is known of them. */
  remove(row: Row, except?: ReadonlySet<Row>): void {
    let holds = false
    for (const child of [...this.children(row)]) {
      if (!except?.has(child)) this.remove(child, except)
      holds ||= !this.#columns.has(child, removed)
    }
    if (this.isKnown(row)) this.#live--
    this.#columns.flags[row] = (this.#columns.flags[row] ?? 0) & ~known
    if (holds || row === rootRow) return
    this.#columns.flags[row] = (this.#columns.flags[row] ?? 0) | removed
    this.#paths.drop(row)
  }

  /** For all paths of these owners. */
  nameOwners(names: OwnerNames): void {
    this.#attributes.nameOwners(names)
  }

  #write(row: Row, attributes: Attributes): void {
    if (!this.isKnown(row)) this.#live++
    this.#attributes.write(row, attributes)
  }
}
