// A Reed–Solomon code over GF(2^8): rows of recovery data from columns of content, and content back from what is left of both.
// Systematic, with a Cauchy matrix, of which every square part can be inverted (Blömer and others, "An XOR-Based Erasure-Resilient Coding
// Scheme", 1995). What a column adds to a row depends on no other column, so that columns can be added later. docs/format.md, "Parity".
import { readFileSync } from 'node:fs'

/** 16 and 240 fill the 256 elements of the field: each row and each column takes one. */
export const rowsMax = 16
export const columnsMax = 256 - rowsMax

/** Memory for some buffers of one length, and arithmetic on it; valid until the arena is asked for another. */
export interface ErasureMemory {
  /** Zero at first. */
  readonly buffers: readonly Buffer[]
  /** target += factor × source, from `offset` on; both count in bytes, multiples of 32, but that the end of the buffer is one, too. */
  addProduct(
    target: number,
    source: number,
    factor: number,
    range: { readonly offset: number; readonly length: number },
  ): void
}

/** Memory that is used again and again: what each group took for itself would wait for the collector. */
export interface ErasureArena {
  take(count: number, bytes: number): ErasureMemory
}

/** What is multiplied at once is a multiple of this. */
const stepBytes = 32
const pageBytes = 64 * 1024
/** The first page holds the tables (gf256.as.ts). */
const buffersStart = pageBytes
const memoryBytesMax = 2 ** 32 - pageBytes

export function openErasureArena(): ErasureArena {
  const memory = new WebAssembly.Memory({ initial: buffersStart / pageBytes })
  compiled ??= new WebAssembly.Module(readFileSync(new URL('gf256.wasm', import.meta.url)))
  const { addProduct } = new WebAssembly.Instance(compiled, { env: { memory } }).exports
  return {
    take(count, bytes) {
      const stride = Math.ceil(bytes / stepBytes) * stepBytes
      const total = buffersStart + count * stride
      if (total > memoryBytesMax) throw new RangeError('Recovery data of this size needs more than 4 GiB')
      const missing = total - memory.buffer.byteLength
      if (missing > 0) memory.grow(Math.ceil(missing / pageBytes))
      Buffer.from(memory.buffer, buffersStart, count * stride).fill(0)
      const place = (buffer: number) => buffersStart + buffer * stride
      return {
        buffers: Array.from({ length: count }, (_, at) => Buffer.from(memory.buffer, place(at), bytes)),
        addProduct(target, source, factor, { offset, length }) {
          const inside = offset >= 0 && length >= 0 && offset + length <= bytes && offset % stepBytes === 0
          if (!inside || !(target >= 0 && target < count && source >= 0 && source < count))
            throw new RangeError(`Cannot multiply ${length} bytes at ${offset}: outside of the buffer`)
          // What lies between the end of a buffer and the next one is zero in all of them.
          const padded = Math.min(stride - offset, Math.ceil(length / stepBytes) * stepBytes)
          addProduct(place(target) + offset, place(source) + offset, padded, factor)
        },
      }
    },
  }
}

/** What a column is multiplied with for a row: 1 / (row + column), where columns begin behind the last row. */
export function coefficient(row: number, column: number): number {
  if (!(row >= 0 && row < rowsMax && column >= 0 && column < columnsMax))
    throw new RangeError('There is no such row or column')
  return inverse(row ^ (rowsMax + column))
}

/**
 * The matrix that makes missing columns of what their rows lack: as many rows as columns. Column `c` is the sum over `r` of
 * `result[c][r]` times what row `rows[r]` is without the columns that are there.
 */
export function solve(rows: readonly number[], columns: readonly number[]): readonly (readonly number[])[] {
  const size = columns.length
  if (rows.length !== size) throw new RangeError('As many rows are needed as columns are missing')
  const left = rows.map((row) => columns.map((column) => coefficient(row, column)))
  const right = rows.map((_, at) => rows.map((__, other) => (at === other ? 1 : 0)))
  for (let pivot = 0; pivot < size; pivot++) {
    const swap = left.findIndex((row, at) => at >= pivot && row[pivot] !== 0)
    for (const matrix of [left, right]) swapRows(matrix, pivot, swap)
    const scale = inverse(left[pivot]?.[pivot] ?? 0)
    for (const matrix of [left, right]) scaleRow(matrix[pivot], scale)
    for (let row = 0; row < size; row++) {
      const factor = left[row]?.[pivot] ?? 0
      if (row === pivot || factor === 0) continue
      for (const matrix of [left, right]) addScaled(matrix[row], matrix[pivot], factor)
    }
  }
  return right
}

function swapRows(matrix: number[][], one: number, other: number): void {
  const [first, second] = [matrix[one], matrix[other]]
  if (!first || !second) throw new RangeError('The matrix cannot be inverted')
  matrix[one] = second
  matrix[other] = first
}

function scaleRow(row: number[] | undefined, factor: number): void {
  row?.forEach((value, at) => void (row[at] = multiply(value, factor)))
}

function addScaled(target: number[] | undefined, source: number[] | undefined, factor: number): void {
  source?.forEach((value, at) => {
    if (target) target[at] = (target[at] ?? 0) ^ multiply(value, factor)
  })
}

/** x^8 + x^4 + x^3 + x^2 + 1, of which 2 is a generator: as in PAR1, zfec and RAID 6. */
const polynomial = 0x11d
let tables: { readonly exponents: Uint8Array; readonly logarithms: Uint8Array } | undefined

function openTables() {
  if (tables) return tables
  const exponents = new Uint8Array(255)
  const logarithms = new Uint8Array(256)
  for (let power = 0, value = 1; power < 255; power++) {
    exponents[power] = value
    logarithms[value] = power
    value = (value << 1) ^ (value & 0x80 ? polynomial : 0)
  }
  tables = { exponents, logarithms }
  return tables
}

function multiply(left: number, right: number): number {
  if (left === 0 || right === 0) return 0
  const { exponents, logarithms } = openTables()
  return exponents[((logarithms[left] ?? 0) + (logarithms[right] ?? 0)) % 255] ?? 0
}

function inverse(value: number): number {
  if (value === 0) throw new RangeError('Zero has no inverse')
  const { exponents, logarithms } = openTables()
  return exponents[(255 - (logarithms[value] ?? 0)) % 255] ?? 0
}

declare const module: unique symbol
interface CompiledModule {
  readonly [module]: true
}
interface WasmMemory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}
/** Of the browser's types, which this program does not load, the part that is used here. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => CompiledModule
  readonly Memory: new (size: { readonly initial: number }) => WasmMemory
  /** The exports are those of our own build: erasure.test.ts rebuilds it and compares every byte. */
  readonly Instance: new (
    code: CompiledModule,
    imports: { readonly env: { readonly memory: WasmMemory } },
  ) => {
    readonly exports: {
      addProduct(target: number, source: number, length: number, factor: number): void
    }
  }
}

let compiled: CompiledModule | undefined
