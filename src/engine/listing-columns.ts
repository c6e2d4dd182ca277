// The rows of a listing in memory that grows: their fields, their names, and which lies in which folder.
import { VmlError } from '../base/failure.ts'
import { entryPathsMax, type RawName } from '../model/raw-path.ts'
import {
  dirType,
  inMode,
  inNameLength,
  inNameStart,
  inNext,
  inParent,
  noRow,
  type Row,
  removed,
  rowBytes,
  rowWords,
} from './listing-row.ts'
import { NameBytes } from './name-bytes.ts'

/** `longs`, `doubles`, `words` and `bytes` are views of one memory. All arrays are others after a row was added. */
export class ListingColumns {
  rows = 0
  longs = new BigInt64Array(0)
  doubles = new Float64Array(0)
  words = new Uint32Array(0)
  bytes = Buffer.alloc(0)
  flags = new Uint8Array(0)
  /** By folder, what came last into it; the others follow from there. */
  #first = new Int32Array(0)
  readonly names = new NameBytes()

  has(row: Row, flag: number): boolean {
    return ((this.flags[row] ?? 0) & flag) !== 0
  }

  isFolder(row: Row): boolean {
    return (this.words[row * rowWords + inMode] ?? 0) >>> 16 === dirType
  }

  setFolder(row: Row): void {
    const at = row * rowWords + inMode
    this.words[at] = ((this.words[at] ?? 0) & 0xffff) | (dirType << 16)
  }

  nameStart(row: Row): number {
    return this.words[row * rowWords + inNameStart] ?? 0
  }

  nameLength(row: Row): number {
    return (this.words[row * rowWords + inNameLength] ?? 0) & 0xffff
  }

  name(row: Row): RawName {
    return this.names.get(this.nameStart(row), this.nameLength(row))
  }

  parent(row: Row): Row {
    return (this.words[row * rowWords + inParent] ?? 0) - 1
  }

  *children(folder: Row): IterableIterator<Row> {
    for (let row = this.firstOf(folder); row >= 0; row = this.next(row))
      if (!this.has(row, removed)) yield row
  }

  /** Rows that were removed are among these and those of `next`. */
  firstOf(folder: Row): Row {
    return this.#first[folder] ?? noRow
  }

  next(row: Row): Row {
    return (this.words[row * rowWords + inNext] ?? 0) - 1
  }

  /** A row of which nothing is known. The name is one of `names`. */
  append(parent: Row, nameStart: number, nameLength: number): Row {
    if (this.rows >= entryPathsMax) {
      throw new VmlError('unsupported', `Cannot take in more than ${entryPathsMax} paths at once`, {
        hint: 'Nothing was changed. Save parts of it, each with --only DIR, or leave folders out with --exclude',
      })
    }
    if ((this.rows + 1) * rowBytes > this.bytes.length) this.#grow()
    const row = this.rows++
    const at = row * rowWords
    this.words[at + inNameStart] = nameStart
    this.words[at + inNameLength] = nameLength
    this.words[at + inParent] = parent + 1
    this.#first[row] = noRow
    if (parent >= 0) {
      this.words[at + inNext] = (this.#first[parent] ?? noRow) + 1
      this.#first[parent] = row
    }
    return row
  }

  #grow(): void {
    const rows = Math.max(1024, Math.ceil(this.rows * 1.5))
    const memory = new ArrayBuffer(rows * rowBytes)
    const bytes = Buffer.from(memory)
    this.bytes.copy(bytes)
    this.bytes = bytes
    this.longs = new BigInt64Array(memory)
    this.doubles = new Float64Array(memory)
    this.words = new Uint32Array(memory)
    const first = new Int32Array(rows)
    first.set(this.#first.subarray(0, this.rows))
    this.#first = first
    const flags = new Uint8Array(rows)
    flags.set(this.flags.subarray(0, this.rows))
    this.flags = flags
  }
}
