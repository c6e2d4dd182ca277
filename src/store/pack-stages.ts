// The staged files of a writer: opened for its lanes, put with the packs that they wrote there, dropped when nothing came of them.
import type { Backend, StagedFile } from '../backend/backend.ts'
import type { StagedPack } from './packer.ts'
import type { CallOptions } from './store.ts'

export interface PackStages {
  /** Its descriptor, for one pack. */
  open(): number
  /** The pack is durable when it resolves. */
  put(pack: Omit<StagedPack, 'blobs'>, options?: CallOptions): Promise<void>
  drop(descriptor: number): void
  /** Nobody writes to any of them any more. */
  dropAll(): void
}

/** Undefined where the storage has none. */
export function openPackStages(backend: Backend): PackStages | undefined {
  if (!backend.stage) return undefined
  const stage = backend.stage.bind(backend)
  const files = new Map<number, StagedFile>()
  const drop = (descriptor: number) => {
    const file = files.get(descriptor)
    files.delete(descriptor)
    file?.drop()
  }
  return {
    open() {
      const file = stage()
      files.set(file.descriptor, file)
      return file.descriptor
    },
    async put({ pack, bytes, descriptor }, options) {
      const file = files.get(descriptor)
      if (!file) throw new Error('A pack lies in no file of this writer')
      // The number is free for another file as soon as this one is closed.
      files.delete(descriptor)
      await file.put({ kind: 'pack', name: pack }, bytes, options)
    },
    drop,
    dropAll() {
      for (const descriptor of [...files.keys()]) drop(descriptor)
    },
  }
}
