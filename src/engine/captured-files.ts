// What is known of captured paths beyond their listing: content as 32 bytes a blob, attributes only where the scan did not tell them.
import type { BlobId } from '../model/ids.ts'
import type { Attributes } from '../model/tree.ts'
import type { Listing } from './listing.ts'
import type { Row } from './listing-row.ts'

export interface CapturedFile {
  readonly attributes: Attributes
  readonly content?: readonly BlobId[]
}

const idBytes = 32
const withoutContent = 1
const withContent = 2

export class CapturedFiles {
  readonly #listing: Listing
  readonly #more = new Map<Row, Partial<Attributes>>()
  /** 0 for rows that are not captured. */
  #states = new Uint8Array(0)
  /** Of the content: number of the first blob, and how many there are. */
  #first = new Uint32Array(0)
  #count = new Uint32Array(0)
  #ids = Buffer.alloc(0)
  #idsUsed = 0

  constructor(listing: Listing) {
    this.#listing = listing
  }

  /** `more` is what the scan does not tell, or tells otherwise; files have content, be it empty. */
  set(row: Row, more: Partial<Attributes>, content?: readonly BlobId[]): void {
    if (row >= this.#states.length) this.#grow(row + 1)
    this.#states[row] = content === undefined ? withoutContent : withContent
    const kept = this.#beyondListing(row, more)
    if (kept) this.#more.set(row, kept)
    else if (this.#more.size > 0) this.#more.delete(row)
    if (content === undefined) return
    this.#beginContent(row, content.length)
    for (const id of content) this.#idsUsed += this.#ids.write(id, this.#idsUsed, 'hex')
  }

  /** A file of which the scan told everything else: 32 bytes for each of its blobs. */
  setContent(row: Row, ids: Uint8Array): void {
    if (row >= this.#states.length) this.#grow(row + 1)
    this.#states[row] = withContent
    if (this.#more.size > 0) this.#more.delete(row)
    this.#beginContent(row, ids.length / idBytes)
    this.#ids.set(ids, this.#idsUsed)
    this.#idsUsed += ids.length
  }

  has(row: Row): boolean {
    return (this.#states[row] ?? 0) !== 0
  }

  get(row: Row): CapturedFile | undefined {
    const state = this.#states[row] ?? 0
    if (state === 0) return undefined
    const attributes = this.attributes(row)
    return state === withoutContent ? { attributes } : { attributes, content: this.content(row) }
  }

  /** By the listing where nothing more is known. */
  attributes(row: Row): Attributes {
    const more = this.#more.get(row)
    const listed = this.#listing.attributes(row)
    return more ? { ...listed, ...more } : listed
  }

  /** Bytes; 0 for what has none. */
  bytes(row: Row): number {
    return this.#more.get(row)?.size ?? this.#listing.bytes(row)
  }

  content(row: Row): BlobId[] {
    const start = (this.#first[row] ?? 0) * idBytes
    return Array.from(
      { length: this.#count[row] ?? 0 },
      (_, at) => this.#ids.toString('hex', start + at * idBytes, start + (at + 1) * idBytes) as BlobId,
    )
  }

  delete(row: Row): void {
    if (row < this.#states.length) this.#states[row] = 0
    this.#more.delete(row)
  }

  *rows(): IterableIterator<Row> {
    for (const [row, state] of this.#states.entries()) if (state !== 0) yield row
  }

  #beyondListing(row: Row, more: Partial<Attributes>): Partial<Attributes> | undefined {
    const { mtimeNs, ctimeNs, size, ...rest } = more
    const kept: Partial<Attributes> = {
      ...rest,
      ...(mtimeNs === undefined || mtimeNs === this.#listing.mtimeNs(row) ? {} : { mtimeNs }),
      ...(ctimeNs === undefined || ctimeNs === this.#listing.ctimeNs(row) ? {} : { ctimeNs }),
      ...(size === undefined || size === this.#listing.bytes(row) ? {} : { size }),
    }
    const { linkTarget } = kept
    if (linkTarget !== undefined && linkTarget === this.#listing.linkTarget(row)) {
      const { linkTarget: _, ...others } = kept
      return Object.keys(others).length === 0 ? undefined : others
    }
    return Object.keys(kept).length === 0 ? undefined : kept
  }

  #beginContent(row: Row, blobs: number): void {
    const bytes = blobs * idBytes
    if (this.#idsUsed + bytes > this.#ids.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(64 * 1024, Math.ceil(this.#ids.length * 1.5) + bytes))
      this.#ids.copy(larger, 0, 0, this.#idsUsed)
      this.#ids = larger
    }
    this.#first[row] = this.#idsUsed / idBytes
    this.#count[row] = blobs
  }

  #grow(rows: number): void {
    const length = Math.max(1024, Math.ceil(rows * 1.5))
    const states = new Uint8Array(length)
    states.set(this.#states)
    this.#states = states
    const first = new Uint32Array(length)
    first.set(this.#first)
    this.#first = first
    const count = new Uint32Array(length)
    count.set(this.#count)
    this.#count = count
  }
}
