// Cuts file content into chunks by content: Gear for VML's own logbooks, Rabin for those that stock restic began.
// Where a chunk ends is part of the format and fixed for ever: docs/format.md, "Chunking".
import { readFileSync } from 'node:fs'

export const chunkBytesMin = 512 * 1024
/** Where Gear changes from the strict to the loose mask; real averages lie a little above. */
export const chunkBytesAverage = 1024 * 1024
export const chunkBytesMax = 8 * 1024 * 1024

export type ChunkerAlgorithm = 'gear' | 'rabin'

export interface Chunker {
  /** Memory to read file bytes into, at least twice `chunkBytesMax`; nothing is copied to be cut. */
  readonly buffer: Buffer
  /**
   * Length of the first chunk of `buffer[offset, offset + length)`; 0 when `length` is 0. Less than `length`, and
   * `chunkBytesMax`, are sure; `length` itself only where the file ends there. So a cut never depends on how the file was read.
   */
  cut(offset: number, length: number): number
}

/** 22 and 18 of the highest bits: those that the whole window of 64 bytes reaches. */
const gearStrictMask = 0xffff_fc00_0000_0000n
const gearLooseMask = 0xffff_c000_0000_0000n
/** restic's 20 bits. */
const rabinMask = 0xf_ffffn
const bufferBytes = 2 * chunkBytesMax
/** The first page of the memory holds the tables (chunker.as.ts). */
const bufferStart = 64 * 1024

/** Each chunker owns 16 MiB of memory; the code is compiled once per thread. */
export function openChunker(options: { algorithm: ChunkerAlgorithm; polynomial: bigint }): Chunker {
  const code = instantiate()
  const buffer = Buffer.from(code.memory.buffer, bufferStart, bufferBytes)
  const check = (offset: number, length: number) => {
    if (!(offset >= 0 && length >= 0 && offset + length <= bufferBytes))
      throw new RangeError(`Cannot cut ${length} bytes at ${offset}: outside of the buffer`)
  }
  if (options.algorithm === 'gear') {
    code.openGear(options.polynomial)
    return {
      buffer,
      cut(offset, length) {
        check(offset, length)
        const at = bufferStart + offset
        return code.cutGear(
          at,
          length,
          chunkBytesMin,
          chunkBytesAverage,
          chunkBytesMax,
          gearStrictMask,
          gearLooseMask,
        )
      },
    }
  }
  code.openRabin(options.polynomial)
  return {
    buffer,
    cut(offset, length) {
      check(offset, length)
      return code.cutRabin(bufferStart + offset, length, chunkBytesMin, chunkBytesMax, rabinMask)
    },
  }
}

interface ChunkerCode {
  readonly memory: { readonly buffer: ArrayBuffer }
  openGear(seed: bigint): void
  cutGear(
    at: number,
    length: number,
    min: number,
    normal: number,
    max: number,
    strict: bigint,
    loose: bigint,
  ): number
  openRabin(polynomial: bigint): void
  cutRabin(at: number, length: number, min: number, max: number, mask: bigint): number
}

declare const module: unique symbol
interface CompiledModule {
  readonly [module]: true
}
/** Of the browser's types, which this program does not load, the part that is used here. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => CompiledModule
  /** The exports are those of our own build: chunker.test.ts rebuilds it and compares every byte. */
  readonly Instance: new (code: CompiledModule) => { readonly exports: ChunkerCode }
}

let compiled: CompiledModule | undefined

function instantiate(): ChunkerCode {
  compiled ??= new WebAssembly.Module(readFileSync(new URL('chunker.wasm', import.meta.url)))
  return new WebAssembly.Instance(compiled).exports
}
