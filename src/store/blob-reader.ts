// Reads blobs and files: from every place that an index names, checked against their hashes.
import { hash } from 'node:crypto'
import { isFailure, VmlError } from '../base/failure.ts'
import { type BlobId, shortId, type TreeId } from '../model/ids.ts'
import type { Segment } from '../model/tree.ts'
import type { BlobLocation } from './blob-index.ts'
import type { Cipher } from './cipher.ts'
import { isDamage } from './damage.ts'
import type { LoadedIndex } from './loaded-index.ts'
import type { Vault } from './sealed-file.ts'
import type { BlobType, CallOptions, ReadOptions } from './store.ts'
import { openPackWindows } from './pack-windows.ts'
import { decompress } from './zstd.ts'
import { openZeroRuns } from './zero-runs.ts'

export interface BlobReader {
  readBlob(type: BlobType, id: BlobId | TreeId, options?: ReadOptions): Promise<Buffer>
  readFile(content: readonly BlobId[], options?: ReadOptions): AsyncIterable<Segment>
  blobLength(type: BlobType, id: BlobId | TreeId, options?: CallOptions): Promise<number>
  /** Gives back what it holds to read on quickly. */
  pause(): void
}

// A chunk has 8 MiB and the JSON of a folder with a million files some 400 MB; more is an attack on memory.
const blobBytesMax = 1024 * 1024 * 1024
/** Blobs of a file that are fetched ahead of the one in hand. */
const readAhead = 2

export function openBlobReader(vault: Vault, index: Pick<LoadedIndex, 'blobs' | 'refresh'>): BlobReader {
  const windows = openPackWindows(vault.backend)
  const places = async (type: BlobType, id: BlobId | TreeId, options: CallOptions) => {
    const known = (await index.blobs(options)).findAll(type, id)
    // Another program may have stored it since the index was loaded.
    return known.length > 0 ? known : (await index.refresh(options)).findAll(type, id)
  }
  const readBlob: BlobReader['readBlob'] = async (type, id, options = {}) => {
    let failure: unknown
    for (let fresh = false; ; fresh = true) {
      const known = await places(type, id, options)
      for (const place of known) {
        try {
          const packBytes = (await index.blobs(options)).packBytes(place.pack)
          const asked = { ...options, keep: options.keep ?? type === 'tree' }
          const read = async () => await windows.read(place, packBytes, asked)
          const { pack: name, offset, length } = place
          const readAgain = async () =>
            await vault.backend.get({ kind: 'pack', name }, { offset, length }, { ...asked, fresh: true })
          return await readPlace(vault.cipher, { type, id, place, read, readAgain })
        } catch (error) {
          if (!mayLieElsewhere(error)) throw error
          failure ??= error
        }
      }
      // A prune that ran meanwhile moved it: then another index tells where.
      if (fresh || known.length === 0 || !isFailure(failure, 'integrity.missing')) break
      await index.refresh(options)
    }
    throw failure ?? missing(type, id)
  }
  return {
    readBlob,
    pause: () => windows.clear(),
    async *readFile(content, options = {}) {
      const runs = openZeroRuns()
      const ahead: Promise<Buffer>[] = []
      let last: Promise<Buffer> | undefined
      try {
        for (let next = 0, given = 0; given < content.length; given++) {
          for (; next < content.length && next <= given + readAhead; next++) {
            const id = content[next]
            if (id === undefined) break
            // Runs of zeros are one chunk many times over.
            const again = id === content[next - 1] ? last : undefined
            const reading = again ?? readBlob('data', id, options)
            // Waited for in its turn; until then its failure is nobody's.
            reading.catch(() => {})
            last = reading
            ahead.push(reading)
          }
          const bytes = await ahead.shift()
          if (bytes) yield* runs.push(bytes)
        }
        yield* runs.end()
      } finally {
        await Promise.allSettled(ahead)
      }
    },
    async blobLength(type, id, options = {}) {
      const [place] = await places(type, id, options)
      if (!place) throw missing(type, id)
      return plainLengthOf(place)
    },
  }
}

function plainLengthOf(place: BlobLocation): number {
  return place.plainLength ?? place.length - 32
}

interface PlaceRead {
  readonly type: BlobType
  readonly id: BlobId | TreeId
  readonly place: BlobLocation
  readonly read: () => Promise<Buffer>
  /** Past copies of this computer. */
  readonly readAgain: () => Promise<Buffer>
}

async function readPlace(cipher: Cipher, { type, id, place, read, readAgain }: PlaceRead): Promise<Buffer> {
  const details = { blob: id, type, pack: place.pack }
  const where = `${type} blob ${shortId(id)} in pack ${shortId(place.pack)}`
  if (Math.max(place.length, plainLengthOf(place)) > blobBytesMax) {
    throw new VmlError('integrity.format', `Cannot read ${where}: it is too large`, { details })
  }
  const open = (sealed: Buffer) => openBlob(cipher, { id, sealed, plainLength: place.plainLength })
  try {
    try {
      return open(await read())
    } catch (error) {
      // A copy on this computer, or the way here, may be what is damaged.
      if (!isDamage(error)) throw error
      return open(await readAgain())
    }
  } catch (error) {
    if (!mayLieElsewhere(error)) throw error
    const code = error.code === 'not-found' ? 'integrity.missing' : error.code
    const why = error.code === 'not-found' ? 'that pack is gone' : error.message
    throw new VmlError(code, `Cannot read ${where}: ${why}`, {
      cause: error,
      details,
      hint: 'Run vml check --read-data to see what is affected',
    })
  }
}

/** The content of a blob, proved by MAC and hash; the sealed bytes are written over. */
export function openBlob(
  cipher: Cipher,
  {
    id,
    sealed,
    plainLength,
  }: { readonly id: string; readonly sealed: Buffer; readonly plainLength: number | undefined },
): Buffer {
  const opened = cipher.openInto(sealed.subarray(16), sealed)
  const plain = plainLength === undefined ? opened : decompress(opened, plainLength)
  if (hash('sha256', plain) === id) return plain
  throw new VmlError('integrity.hash', 'its content does not have its hash')
}

/** The pack is gone, cut off or damaged; anything else is not cured by reading from another place. */
function mayLieElsewhere(error: unknown): error is VmlError {
  return isDamage(error) || isFailure(error, 'not-found')
}

function missing(type: BlobType, id: string): VmlError {
  return new VmlError('integrity.missing', `Cannot read ${type} blob ${shortId(id)}: no index names it`, {
    details: { blob: id, type },
    hint: 'vml check tells what is affected. vml check --repair makes a lost index anew from the packs',
  })
}
