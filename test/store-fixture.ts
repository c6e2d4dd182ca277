// Small repositories for tests of the store: in memory unless told otherwise, with a key that opens at once.
import { createHash } from 'node:crypto'
import type { Backend } from '../src/backend/backend.ts'
import { openMemory } from '../src/backend/memory.ts'
import type { Clock } from '../src/base/clock.ts'
import type { Reporter } from '../src/base/progress.ts'
import { rawFromString } from '../src/base/raw-text.ts'
import type { Snapshot } from '../src/model/entry.ts'
import type { BlobId, TreeId } from '../src/model/ids.ts'
import { isRawName, type RawName } from '../src/model/raw-path.ts'
import type { TreeNode } from '../src/model/tree.ts'
import { initRepository, type OpenOptions, openRepository } from '../src/store/repository.ts'
import type { NewKey, Repository, StoredFile, Writer } from '../src/store/store.ts'

export const password = Buffer.from('of a test')
export const cheapKey: NewKey = { password, cost: 'cheap', username: 'user', hostname: 'host' }

const ownBytesMax = 4 * 1024 * 1024

export interface FixtureOptions {
  readonly reporter?: Reporter
  readonly packBytes?: number
  /** Little by default, so that content of some MB goes through threads. */
  readonly ownBytesMax?: number
  readonly clock?: Clock
  readonly polynomial?: bigint
  readonly onIndexDamage?: OpenOptions['onIndexDamage']
}

/** A repository, and the files that it lies in. */
export async function makeRepository(
  options: FixtureOptions = {},
): Promise<{ readonly repository: Repository; readonly files: Map<string, Buffer> }> {
  const files = new Map<string, Buffer>()
  const repository = await initRepository({
    backend: openMemory({ files }),
    keys: [cheapKey],
    ownBytesMax,
    ...options,
  })
  return { repository, files }
}

export async function reopen(
  place: Map<string, Buffer> | Backend,
  options: FixtureOptions = {},
): Promise<Repository> {
  const backend = place instanceof Map ? openMemory({ files: place }) : place
  return await openRepository({ backend, secrets: [password], ownBytesMax, ...options })
}

export async function storeFile(writer: Writer, content: Uint8Array): Promise<StoredFile> {
  const sink = writer.openFile()
  await sink.write({ kind: 'data', bytes: content })
  return await sink.finish()
}

export function fileNode(name: string, file: Pick<StoredFile, 'content' | 'size'>): TreeNode {
  const { content, size } = file
  return { name: rawName(name), type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, content, size }
}

export function folderNode(name: string, subtree: TreeId): TreeNode {
  return { name: rawName(name), type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n, subtree }
}

export function snapshotOf(tree: TreeId, tags: readonly string[] = []): Omit<Snapshot, 'id'> {
  return {
    time: '2026-11-21T10:00:00.123456789+01:00',
    tree,
    paths: ['/'],
    hostname: 'lab',
    username: 'ann',
    tags,
  }
}

/** A snapshot of a folder `files` with one file of each content, called by its position. */
export async function save(repository: Repository, contents: readonly Uint8Array[]): Promise<Snapshot> {
  await using writer = await repository.beginWrite()
  const nodes: TreeNode[] = []
  for (const [at, content] of contents.entries())
    nodes.push(fileNode(String(at), await storeFile(writer, content)))
  const tree = await writer.storeTree([folderNode('files', await writer.storeTree(nodes))])
  return await writer.commit(snapshotOf(tree))
}

export async function readContent(repository: Repository, content: readonly BlobId[]): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const segment of repository.readFile(content)) {
    parts.push(segment.kind === 'data' ? Buffer.from(segment.bytes) : Buffer.alloc(segment.length))
  }
  return Buffer.concat(parts)
}

/** Paths of the files of a kind, in the order in which they were put. */
export function namesOf(files: ReadonlyMap<string, Buffer>, kind: string): string[] {
  return [...files.keys()].filter((name) => name.startsWith(`${kind}/`))
}

/** Every file of every snapshot by its path, read to the last byte. */
export async function readAll(repository: Repository): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>()
  const walk = async (id: TreeId, path: string): Promise<void> => {
    for (const node of await repository.readTree(id)) {
      if (node.subtree !== undefined) await walk(node.subtree, `${path}/${node.name}`)
      if (node.content) found.set(`${path}/${node.name}`, await readContent(repository, node.content))
    }
  }
  for await (const { id, tree } of repository.snapshots()) await walk(tree, id)
  return found
}

/** Bytes that do not compress and are the same at every run. */
export function noise(length: number, seed: string): Buffer {
  return createHash('shake256', { outputLength: length }).update(seed).digest()
}

/** Waits for nothing; `pass` moves time on and wakes who slept so long. */
export function fakeClock(
  start = Date.parse('2026-11-21T09:00:00Z'),
): Clock & { pass(ms: number): Promise<void> } {
  let now = start
  const sleepers = new Set<{ readonly until: number; wake(): void }>()
  return {
    now: () => now,
    sleep: async (ms, { signal } = {}) => {
      signal?.throwIfAborted()
      // The pause in which two programs see each other's locks; nothing else happens in these tests meanwhile.
      if (ms < 1000) return
      await new Promise<void>((resolve, reject) => {
        const sleeper = { until: now + ms, wake: resolve }
        sleepers.add(sleeper)
        signal?.addEventListener('abort', () => {
          sleepers.delete(sleeper)
          reject(signal.reason)
        })
      })
    },
    async pass(ms) {
      now += ms
      for (const sleeper of sleepers) {
        if (sleeper.until > now) continue
        sleepers.delete(sleeper)
        sleeper.wake()
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    },
  }
}

function rawName(name: string): RawName {
  const raw = rawFromString(name)
  if (!isRawName(raw)) throw new TypeError('Not a name')
  return raw
}
