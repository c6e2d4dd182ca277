// Compression of blobs and of repository files: one zstd frame each (docs/format.md; restic, "Repository Version 2").
import { hash } from 'node:crypto'
import {
  constants,
  createZstdCompress,
  createZstdDecompress,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib'
import { VmlError } from '../base/failure.ts'

export interface Compressor {
  /** One frame, which is valid until the next call, or undefined where it does not pay: then the data is stored as it is. */
  compress(data: Uint8Array): Uint8Array | undefined
}

/** A chunk has 8 MiB; the JSON of a folder with a million files has some 400 MB. */
export const decompressedBytesMax = 1024 * 1024 * 1024
/** What a decoder must set aside before the first byte comes out: 128 MiB, the most that `zstd --ultra` writes. */
const windowLogMax = 27
/** Smaller data gains nothing that its header would not take. */
const compressibleBytesMin = 64

export interface CompressorOptions {
  readonly reuse?: boolean
  /** Takes slower levels, too, and the smallest frame: a fifteenth less for ten times the work. For what is little and stays long. */
  readonly thorough?: boolean
}

/** Reusing the encoder's memory halves the time for small blobs; where Node does not let us, it goes without. */
export function openCompressor(options: CompressorOptions = {}): Compressor {
  const compressOnce = (data: Uint8Array) =>
    worthIt(
      data,
      zstdCompressSync(data, {
        params: data.length <= smallBytesMax ? smallParams : largeParams,
        chunkSize: frameBytesMax(data.length),
      }),
    )
  const reused = options.reuse === false ? undefined : openReusedEncoder()
  return {
    compress(data) {
      if (data.length < compressibleBytesMin) return undefined
      const frame = reused && data.length <= scratchBytes ? reused(data) : compressOnce(data)
      // What does not pay at one level does not at another.
      if (options.thorough !== true || frame === undefined || data.length > scratchBytes) return frame
      return thoroughParams
        .map((params) => zstdCompressSync(data, { params }))
        .reduce((least, each) => (each.length < least.length ? each : least), frame)
    },
  }
}

/**
 * The content of a frame whose length is known from the index. Everything else is damage (`integrity.format`): another
 * length, a cut-off frame, data that is no frame. Never more memory than the length asked for and the window.
 */
export function decompress(
  data: Uint8Array,
  lengthBytes: number,
  options: { readonly reuse?: boolean } = {},
): Buffer {
  if (!(lengthBytes >= 0 && lengthBytes <= decompressedBytesMax)) {
    throw damaged(`it should have ${lengthBytes} bytes, more than the limit of ${decompressedBytesMax}`)
  }
  // One decoder for all: a fresh one takes more time than a small frame, and its memory waits for V8 to collect it.
  if (options.reuse !== false) {
    shared ??= { decode: openDecoder() }
    const decoded = shared.decode?.(data, lengthBytes)
    if (decoded) return Buffer.from(decoded)
  }
  const content = decompressUnknown(data, lengthBytes)
  if (content.length !== lengthBytes) {
    throw damaged(`it holds ${content.length} bytes instead of ${lengthBytes}`)
  }
  return content
}

let shared: { readonly decode: Decode | undefined } | undefined

/** The content of a frame of unknown length, at most `bytesMax`. */
export function decompressUnknown(data: Uint8Array, bytesMax: number): Buffer {
  try {
    return zstdDecompressSync(data, {
      maxOutputLength: Math.max(bytesMax, 1),
      chunkSize: Math.min(Math.max(bytesMax + 1, chunkBytesMin), pieceBytesMax),
      rejectGarbageAfterEnd: true,
      params: { [constants.ZSTD_d_windowLogMax]: windowLogMax },
    })
  } catch (cause) {
    const tooLarge = cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE'
    throw damaged(tooLarge ? `it holds more than ${bytesMax} bytes` : 'it is not a whole zstd frame', cause)
  }
}

/** Node takes no smaller ones (zlib's Z_MIN_CHUNK). */
const chunkBytesMin = 64
/** Set aside at once, before it is known whether a frame holds what it should. */
const pieceBytesMax = 8 * 1024 * 1024

function damaged(state: string, cause?: unknown): VmlError {
  return new VmlError('integrity.format', `Cannot decompress data of the logbook: ${state}`, { cause })
}

/** Whatever the data is (ZSTD_COMPRESSBOUND in zstd.h, rounded up). */
function frameBytesMax(lengthBytes: number): number {
  return lengthBytes + Math.ceil(lengthBytes / 256) + 1024
}

/** Less than a 64th saved is not worth the time of every reader. */
function worthItBytes(lengthBytes: number): number {
  return lengthBytes - Math.ceil(lengthBytes / 64)
}

function worthIt(data: Uint8Array, frame: Buffer): Buffer | undefined {
  return frame.length <= worthItBytes(data.length) ? frame : undefined
}

/** Of what is compressed: chunks and most trees fit; what is larger is rare enough to go without. */
const scratchBytes = 8 * 1024 * 1024
/** Small and large data by turns in one encoder would have it lay out its tables anew each time. */
const smallBytesMax = 64 * 1024
const smallParams = { [constants.ZSTD_c_compressionLevel]: 3 }
/**
 * The quicker search of level 2 with the table of level 3: a fifth less time than level 3 for large data. Its frames are 3 %
 * smaller on the home of the bench and 1 % larger on programs and libraries (bench/, docs/performance.md).
 */
const largeParams = { [constants.ZSTD_c_compressionLevel]: 2, [constants.ZSTD_c_hashLog]: 17 }
/**
 * For texts, and for lists of hashes: there, short matches are accidents, and cost more than they save. Of the record of an upgrade of forty packages with
 * a pool, 1208 KB become 1151 with the first alone, and 1127 with both.
 */
const thoroughParams: readonly Readonly<Record<number, number>>[] = [
  { [constants.ZSTD_c_compressionLevel]: 7 },
  { [constants.ZSTD_c_compressionLevel]: 9, [constants.ZSTD_c_minMatch]: 7 },
]
type SyncEncoder = (data: Uint8Array) => Uint8Array | undefined

/**
 * Encoders that live for many frames, through Node's internals: there is no public way yet. What is used is checked
 * for at run time and tried out first; undefined where it is not there or does not do what is expected.
 */
function openReusedEncoder(): SyncEncoder | undefined {
  const scratch = Buffer.allocUnsafeSlow(frameBytesMax(scratchBytes))
  const small = openEncoder(smallParams, scratch)
  const large = small && openEncoder(largeParams, scratch)
  if (small === undefined || large === undefined) return undefined
  if (!passesTrial(small) || !passesTrial(large)) return undefined
  return (data) => (data.length <= smallBytesMax ? small : large)(data)
}

function openEncoder(params: Record<number, number>, scratch: Buffer): SyncEncoder | undefined {
  const encoder = findHandle(createZstdCompress({ params }))
  if (encoder === undefined) return undefined
  const { handle, state } = encoder
  const once = openCompressor({ reuse: false })
  let broken = false
  Object.assign(handle, {
    onerror: () => {
      broken = true
    },
  })
  return (data) => {
    if (broken) return once.compress(data)
    // With room for whatever comes out zstd works on the data where it lies, rather than on a copy (ZSTD_compressStream2).
    const room = frameBytesMax(data.length)
    handle.writeSync(constants.ZSTD_e_end, data, 0, data.length, scratch, 0, room)
    const [roomLeft = 0, dataLeft = 0] = state
    handle.reset()
    if (broken) return once.compress(data)
    const length = room - roomLeft
    // An encoder that filled the scratch may not have finished its frame.
    const whole = roomLeft > 0 && dataLeft === 0
    return whole && length <= worthItBytes(data.length) ? scratch.subarray(0, length) : undefined
  }
}

/** Of a stream of node:zlib: what carries a frame without a turn of the event loop. */
interface FrameHandle {
  /** Calls `onerror` of the handle instead of throwing. */
  writeSync(
    flush: number,
    data: Uint8Array,
    dataStart: number,
    dataLength: number,
    out: Uint8Array,
    outStart: number,
    outLength: number,
  ): void
  reset(): void
}

/** Where Node's internals look as this Node has them; `state` then tells the room left in `out` and the bytes left of `data`. */
function findHandle(stream: object): { handle: FrameHandle; state: Uint32Array } | undefined {
  const handle: unknown = '_handle' in stream ? stream._handle : undefined
  const state: unknown = '_writeState' in stream ? stream._writeState : undefined
  const known =
    typeof handle === 'object' &&
    handle !== null &&
    'writeSync' in handle &&
    typeof handle.writeSync === 'function' &&
    'reset' in handle &&
    typeof handle.reset === 'function' &&
    state instanceof Uint32Array &&
    state.length === 2
  return known ? { handle: handle as FrameHandle, state } : undefined
}

/** Twice the same, once what does not pay, then the same again: each frame must be whole and stand for itself. */
function passesTrial(encode: SyncEncoder): boolean {
  const trial = Buffer.from('a frame that stands for itself '.repeat(64))
  const hard = hash('sha512', trial, 'buffer')
  try {
    for (const data of [trial, trial, hard, Buffer.concat([trial, hard])]) {
      const frame = encode(data)
      if (data === hard ? frame !== undefined : frame === undefined) return false
      if (frame && !decompress(frame, data.length, { reuse: false }).equals(data)) return false
    }
    return true
  } catch {
    return false
  }
}

/**
 * The content, valid until the next call. Undefined where the frame is not whole, not alone, not of that length, or too
 * large for the scratch: `decompress` then opens it, or says what is wrong.
 */
export type Decode = (frame: Uint8Array, lengthBytes: number) => Buffer | undefined

/** A decoder that lives for many frames, as the encoders do; it holds up to 8 MiB and a window. */
export function openDecoder(): Decode | undefined {
  const decoder = findHandle(
    createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: windowLogMax } }),
  )
  if (decoder === undefined) return undefined
  const { handle, state } = decoder
  const scratch = Buffer.allocUnsafeSlow(scratchBytes + 1)
  let failed = false
  Object.assign(handle, {
    onerror: () => {
      failed = true
    },
  })
  const decode: Decode = (frame, lengthBytes) => {
    if (lengthBytes > scratchBytes) return undefined
    failed = false
    // One byte more than there should be: a frame that holds more shows it.
    handle.writeSync(constants.ZSTD_e_end, frame, 0, frame.length, scratch, 0, lengthBytes + 1)
    const [roomLeft, dataLeft] = state
    if (!failed && roomLeft === 1 && dataLeft === 0) return scratch.subarray(0, lengthBytes)
    handle.reset()
    return undefined
  }
  return decodesTrial(decode) ? decode : undefined
}

/** Whole frames by turns with such that must be refused: none may leave anything behind for the next. */
function decodesTrial(decode: Decode): boolean {
  const trial = Buffer.from('a frame that stands for itself '.repeat(64))
  const frame = openCompressor({ reuse: false }).compress(trial)
  if (!frame) return false
  try {
    const opens = () => decode(frame, trial.length)?.equals(trial) === true
    const refused = [frame.subarray(0, frame.length - 2), Buffer.concat([frame, trial]), trial]
    if (!opens() || decode(frame, trial.length - 1) || decode(frame, trial.length + 1)) return false
    return refused.every((bytes) => decode(bytes, trial.length) === undefined && opens())
  } catch {
    return false
  }
}
