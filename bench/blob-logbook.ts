// Fills a logbook with very many small blobs in seconds: real packs, index files and a snapshot, without files to read.
import { hash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { zstdCompressSync } from 'node:zlib'
import { openLocal } from '../src/backend/local.ts'
import type { BlobId, TreeId } from '../src/model/ids.ts'
import { isRawName } from '../src/model/raw-path.ts'
import type { TreeNode } from '../src/model/tree.ts'
import { openCipher } from '../src/store/cipher.ts'
import { type IndexedPack, indexBlobsMax, writeIndexFile } from '../src/store/index-file.ts'
import { openKeys } from '../src/store/keys.ts'
import { openPackWriter } from '../src/store/pack-writer.ts'
import type { Vault } from '../src/store/sealed-file.ts'
import { writeSnapshotFile } from '../src/store/snapshot-file.ts'
import { encodeTree } from '../src/store/tree-codec.ts'

/** So that a pack of small blobs fits into one index file. */
const packBytes = 4 * 1024 * 1024
const blobsPerFile = 1000
const filesPerFolder = 100
/** Older than every entry, so that `@latest` is one of those. */
const savedAt = '2026-01-01T00:00:00Z'
const mtimeNs = BigInt(Date.parse(savedAt)) * 1_000_000n

export interface Filling {
  readonly repository: string
  readonly password: string
  readonly blobs: number
  readonly signal: AbortSignal
}

/** Packs, then index, then the snapshot that names all of it. Nobody else may know the logbook yet: no lock is taken. */
export async function fillWithBlobs({ repository, password, blobs, signal }: Filling): Promise<void> {
  await using backend = openLocal(repository)
  const vault = await openVault(backend, password, signal)
  let waiting: IndexedPack[] = []
  let waitingBlobs = 0
  const writeIndex = async () => {
    const packs = waiting
    waiting = []
    waitingBlobs = 0
    if (packs.length > 0) await writeIndexFile(vault, packs, { signal })
  }
  const packs = openPackWriter({
    vault,
    packBytes,
    async onStored({ pack, blobs: stored }) {
      if (waitingBlobs + stored.length > indexBlobsMax) await writeIndex()
      waiting.push({ pack, blobs: stored })
      waitingBlobs += stored.length
    },
  })
  const storeTree = async (nodes: readonly TreeNode[]): Promise<TreeId> => {
    const plain = encodeTree(nodes)
    const id = hash('sha256', plain) as TreeId
    await packs.add({ type: 'tree', id, payload: zstdCompressSync(plain), plainLength: plain.length })
    return id
  }
  const folders: TreeNode[] = []
  const content = Buffer.alloc(40, 'of a measurement ')
  for (let done = 0; done < blobs;) {
    const files: TreeNode[] = []
    for (let index = 0; index < filesPerFolder && done < blobs; index++) {
      const ids: BlobId[] = []
      for (; ids.length < blobsPerFile && done < blobs; done++) {
        content.writeUInt32LE(done)
        const id = hash('sha256', content) as BlobId
        await packs.add({ type: 'data', id, payload: content })
        ids.push(id)
      }
      files.push({
        ...attributes('file'),
        name: nameOf(`file-${index}`),
        size: ids.length * content.length,
        content: ids,
      })
      await setImmediate()
      signal.throwIfAborted()
    }
    folders.push({
      ...attributes('dir'),
      name: nameOf(`folder-${folders.length}`),
      subtree: await storeTree(files),
    })
  }
  const tree = await storeTree(folders)
  await packs.flush()
  await writeIndex()
  const snapshot = { time: savedAt, tree, paths: ['/'], hostname: 'many-blobs', username: 'nobody', tags: [] }
  await writeSnapshotFile(vault, snapshot, { signal })
}

async function openVault(backend: Vault['backend'], password: string, signal: AbortSignal): Promise<Vault> {
  const passwords = [Buffer.from(password)]
  for await (const { masterKey } of openKeys({ backend, passwords }, { signal }))
    return { backend, cipher: openCipher(masterKey), version: 2 }
  throw new Error('The password opens no key of the logbook')
}

function attributes(type: 'file' | 'dir') {
  return { type, mode: type === 'dir' ? 0o755 : 0o644, uid: 0, gid: 0, mtimeNs } as const
}

function nameOf(text: string): TreeNode['name'] {
  if (!isRawName(text)) throw new TypeError(`"${text}" is no name`)
  return text
}
