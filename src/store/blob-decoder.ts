// Opens sealed blobs one after the other in memory that is used again: for threads that decode a whole logbook.
import { hash } from 'node:crypto'
import { constants, createZstdDecompress } from 'node:zlib'
import { VmlError } from '../base/failure.ts'
import { type MasterKey, openCipher } from './cipher.ts'
import { decompress, openCompressor } from './zstd.ts'

/** What opens the blobs of a repository; as plain bytes it can be handed to another thread. Never written or printed. */
export type BlobKey = MasterKey

export interface SealedBlob {
  readonly id: string
  /** Written over. */
  readonly sealed: Uint8Array
  readonly plainLength: number | undefined
}

export interface BlobDecoder {
  /**
   * The content, proved by MAC and hash; it stays as it is until the next call. Fails with `integrity.*` where the
   * bytes are not those of the blob.
   */
  open(blob: SealedBlob): Buffer
}

/** Chunks have 8 MiB at most; what is larger is opened in memory of its own. */
const scratchBytes = 8 * 1024 * 1024

/** Holds 8 MiB and a zstd window. Where Node does not let a decoder be used again, it goes without. */
export function openBlobDecoder(key: BlobKey, options: { reuse?: boolean } = {}): BlobDecoder {
  const cipher = openCipher({
    encrypt: Buffer.from(key.encrypt),
    macK: Buffer.from(key.macK),
    macR: Buffer.from(key.macR),
  })
  const reused = options.reuse === false ? undefined : openReusedDecoder()
  return {
    open({ id, sealed, plainLength }) {
      const whole = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
      const opened = cipher.openInto(whole.subarray(16), whole)
      const plain =
        plainLength === undefined
          ? opened
          : (reused?.(opened, plainLength) ?? decompress(opened, plainLength))
      if (hash('sha256', plain) === id) return plain
      throw new VmlError('integrity.hash', 'its content does not have its hash')
    },
  }
}

/** Undefined where the frame is not whole, not alone or not of that length: the usual decoder then says what is wrong. */
type Decode = (frame: Uint8Array, lengthBytes: number) => Buffer | undefined

interface DecoderHandle {
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

/** As in zstd.ts: through Node's internals, each part checked for and the whole tried out first. */
function openReusedDecoder(): Decode | undefined {
  const stream: object = createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: 27 } })
  const handle: unknown = '_handle' in stream ? stream._handle : undefined
  const state: unknown = '_writeState' in stream ? stream._writeState : undefined
  if (!isHandle(handle) || !(state instanceof Uint32Array) || state.length !== 2) return undefined
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
  return passesTrial(decode) ? decode : undefined
}

function isHandle(handle: unknown): handle is DecoderHandle {
  return (
    typeof handle === 'object' &&
    handle !== null &&
    'writeSync' in handle &&
    typeof handle.writeSync === 'function' &&
    'reset' in handle &&
    typeof handle.reset === 'function'
  )
}

/** Whole frames by turns with such that must be refused: none may leave anything behind for the next. */
function passesTrial(decode: Decode): boolean {
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
