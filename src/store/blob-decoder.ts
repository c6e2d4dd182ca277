// Opens sealed blobs one after the other in memory that is used again: for threads that decode a whole logbook.
import { hash } from 'node:crypto'
import { VmlError } from '../base/failure.ts'
import { openOpenSsl } from '../wire/openssl.ts'
import { type MasterKey, openCipher } from './cipher.ts'
import { decompress, openDecoder } from './zstd.ts'

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

/** Holds 8 MiB and a zstd window. Where Node does not let a decoder be used again, it goes without. */
export function openBlobDecoder(key: BlobKey, options: { reuse?: boolean } = {}): BlobDecoder {
  const cipher = openCipher(
    {
      encrypt: Buffer.from(key.encrypt),
      macK: Buffer.from(key.macK),
      macR: Buffer.from(key.macR),
    },
    { openSsl: openOpenSsl },
  )
  const reused = options.reuse === false ? undefined : openDecoder()
  return {
    open({ id, sealed, plainLength }) {
      const whole = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
      const opened = cipher.openInto(whole.subarray(16), whole)
      const plain =
        plainLength === undefined
          ? opened
          : (reused?.(opened, plainLength) ?? decompress(opened, plainLength, { reuse: false }))
      if (hash('sha256', plain) === id) return plain
      throw new VmlError('integrity.hash', 'its content does not have its hash')
    },
  }
}
