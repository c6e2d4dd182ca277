// Puts payloads that are compressed already into packs and stores them, without threads: what a prune needs.
import { openPool } from '../base/pool.ts'
import type { PackId } from '../model/ids.ts'
import type { PackedBlob } from './pack-format.ts'
import { type FullPack, type NewBlob, openPacker } from './packer.ts'
import type { Vault } from './sealed-file.ts'
import type { BlobType } from './store.ts'

export interface PackWriter {
  /** The payload is free again when this returns; it waits while two packs are on their way. */
  add(blob: NewBlob): Promise<void>
  /** Stores what is open and waits for everything; throws the first failure. */
  flush(): Promise<void>
  /** Waits for what is on its way, and forgets what is open. */
  abandon(): Promise<void>
}

export interface PackWriterOptions {
  readonly vault: Vault
  /** A pack is closed before it grows beyond this; a single larger blob has one of its own. */
  readonly packBytes: number
  /** Called when a pack is durable. */
  readonly onStored: (stored: { pack: PackId; blobs: readonly PackedBlob[]; bytes: number }) => Promise<void>
}

const packsOnTheirWay = 2

/** Holds four packs at most: one of each type open, two on their way. */
export function openPackWriter({ vault, packBytes, onStored }: PackWriterOptions): PackWriter {
  const pool = openPool(packsOnTheirWay)
  const full: FullPack[] = []
  // Fresh memory of this size waits long for the collector: buffers are used again.
  const spare: Buffer[] = []
  const packer = openPacker({
    cipher: vault.cipher,
    packBytes,
    takeBuffer: () => spare.pop() ?? Buffer.allocUnsafeSlow(packBytes),
    onFull: (pack) => full.push(pack),
  })

  const close = async (type: BlobType) => {
    packer.close(type)
    for (let next = full.shift(); next; next = full.shift()) {
      const { pack, blobs, content } = next
      await pool.start(async () => {
        await vault.backend.put({ kind: 'pack', name: pack }, content)
        if (content.buffer.byteLength === packBytes) spare.push(Buffer.from(content.buffer))
        await onStored({ pack, blobs, bytes: content.length })
      })
    }
  }
  return {
    async add(blob) {
      // Here rather than in the packer, which does not wait; another caller may have begun a pack meanwhile.
      while (packer.isFullFor(blob)) await close(blob.type)
      packer.add(blob)
    },
    async flush() {
      await close('data')
      await close('tree')
      await pool.drain()
    },
    async abandon() {
      await pool.drain().catch(() => {})
    },
  }
}
