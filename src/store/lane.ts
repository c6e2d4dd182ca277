// One lane of the way into the store: cut, hash, claim, compress, seal, pack. Everything in one thread, no byte is handed on.
import { hash } from 'node:crypto'
import type { BlobId, TreeId } from '../model/ids.ts'
import { openOpenSsl } from '../wire/openssl.ts'
import type { BlobClaims } from './blob-table.ts'
import { type ChunkerAlgorithm, openChunker } from './chunker.ts'
import { type MasterKey, openCipher } from './cipher.ts'
import { type FileCutter, openFileCutter } from './file-cutter.ts'
import { openPacker, type PackerOptions } from './packer.ts'
import type { BlobType } from './store.ts'
import { openCompressor } from './zstd.ts'

/** What every lane of a writer has in common; goes to other threads as it is. */
export interface LaneSetup {
  readonly masterKey: MasterKey
  readonly chunker: ChunkerAlgorithm
  readonly polynomial: bigint
  readonly packBytes: number
}

export interface LaneOptions extends LaneSetup, Pick<PackerOptions, 'takeBuffer' | 'onFull' | 'staging'> {
  /** Asked for each blob. */
  readonly claims: () => BlobClaims
  /** As `openCompressor` has it. */
  readonly thorough?: boolean
}

export interface LaneCounts {
  newBlobs: number
  knownBlobs: number
  /** Before compression. */
  newBytes: number
}

export interface Lane {
  /** One file at a time. */
  readonly cutter: FileCutter
  /** Stores a blob unless it is known. The bytes are free again when it returns. */
  storeBlob(type: BlobType, bytes: Uint8Array): BlobId | TreeId
  /** Stores a blob whose id was computed and claimed elsewhere. */
  storeClaimed(type: BlobType, id: BlobId | TreeId, bytes: Uint8Array): void
  /** Closes the packs that are open. */
  flush(): void
  readonly counts: Readonly<LaneCounts>
}

export function openLane({ claims, thorough = false, ...options }: LaneOptions): Lane {
  const compressor = openCompressor({ thorough })
  const packer = openPacker({ ...options, cipher: openCipher(options.masterKey, { openSsl: openOpenSsl }) })
  const counts: LaneCounts = { newBlobs: 0, knownBlobs: 0, newBytes: 0 }
  let cutter: FileCutter | undefined

  const storeBlob = (type: BlobType, bytes: Uint8Array): BlobId | TreeId => {
    const id = hash('sha256', bytes) as BlobId | TreeId
    if (!claims().claim(type, id)) {
      counts.knownBlobs++
      return id
    }
    storeClaimed(type, id, bytes)
    return id
  }
  const storeClaimed = (type: BlobType, id: BlobId | TreeId, bytes: Uint8Array): void => {
    counts.newBlobs++
    counts.newBytes += bytes.length
    const compressed = compressor.compress(bytes)
    packer.add({
      type,
      id,
      payload: compressed ?? bytes,
      ...(compressed ? { plainLength: bytes.length } : {}),
    })
  }
  return {
    get cutter() {
      cutter ??= openFileCutter(
        openChunker({ algorithm: options.chunker, polynomial: options.polynomial }),
        (bytes) => storeBlob('data', bytes) as BlobId,
      )
      return cutter
    },
    storeBlob,
    storeClaimed,
    flush: () => packer.flush(),
    counts,
  }
}
