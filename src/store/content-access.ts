// What threads need that read a repository's contents by themselves: a plan of what to read, the bytes, the key.
import type { Backend } from '../backend/backend.ts'
import type { MasterKey } from './cipher.ts'
import type { BlobKey } from './blob-decoder.ts'
import { type ContentPiece, type ContentPlan, openContentPlan } from './content-plan.ts'
import type { LoadedIndex } from './loaded-index.ts'
import type { CallOptions } from './store.ts'

export interface ContentAccess {
  /** Opens every blob; it goes to threads of this process and nowhere else. */
  readonly key: BlobKey
  /** Pieces that are read at the same time, at most. */
  readonly connections: number
  plan(): ContentPlan
  /** The pack as a file of this host that any thread may read; undefined where it lies elsewhere. */
  packPath(piece: ContentPiece): string | undefined
  /** The sealed bytes of a piece, the caller's to keep. Fails as the backend does. */
  readPiece(piece: ContentPiece): Promise<Buffer>
}

export function openContentAccess(
  { backend, masterKey, index }: { backend: Backend; masterKey: MasterKey; index: LoadedIndex },
  options: CallOptions = {},
): ContentAccess {
  return {
    key: masterKey,
    connections: backend.traits.connections,
    plan: () => openContentPlan(index, options),
    packPath: ({ pack }) => backend.localPath?.({ kind: 'pack', name: pack }),
    readPiece: async ({ pack, offset, length }) =>
      await backend.get({ kind: 'pack', name: pack }, { offset, length }, options),
  }
}
