// Entries that no program of ours would write: trees as raw JSON, packed, indexed and committed without a check.
import { hash } from 'node:crypto'
import type { BlobId, TreeId } from '../../src/model/ids.ts'
import { type IndexedPack, writeIndexFile } from '../../src/store/index-file.ts'
import { type FullPack, openPacker } from '../../src/store/packer.ts'
import { type Vault, writeSealedJson } from '../../src/store/sealed-file.ts'

/** A node of a tree as it stands in JSON; `children` and `text` are stored, and named by their ids. */
export interface ForgedNode {
  readonly name: string
  readonly type: 'file' | 'dir' | 'symlink' | 'dev' | 'fifo'
  readonly children?: readonly ForgedNode[]
  readonly text?: string
  readonly fields?: Readonly<Record<string, unknown>>
}

const modes = { file: 0o644, dir: 0o755, symlink: 0o777, dev: 0o600, fifo: 0o600 } as const
const goDirectoryBit = 2 ** 31
const goSymlinkBit = 2 ** 27

/** Nodes stand in the tree in the order given, be it wrong. Returns the snapshot's id. */
export async function forgeEntry(
  vault: Vault,
  { nodes, title, number }: { nodes: readonly ForgedNode[]; title: string; number: number },
): Promise<string> {
  const packs: IndexedPack[] = []
  const full: FullPack[] = []
  const packer = openPacker({
    cipher: vault.cipher,
    packBytes: 1024 * 1024,
    takeBuffer: () => Buffer.alloc(1024 * 1024),
    onFull: (pack) => void full.push(pack),
  })
  const seen = new Set<string>()
  const add = (type: 'data' | 'tree', bytes: Buffer): string => {
    const id = hash('sha256', bytes)
    if (!seen.has(id)) packer.add({ type, id: id as BlobId | TreeId, payload: bytes })
    seen.add(id)
    return id
  }
  const store = async (children: readonly ForgedNode[]): Promise<string> => {
    const made: unknown[] = []
    for (const node of children) made.push(await encode(node, { add, store }))
    return add('tree', Buffer.from(`${JSON.stringify({ nodes: made })}\n`))
  }
  const tree = await store(nodes)
  packer.flush()
  for (const { pack, blobs, content } of full) {
    await vault.backend.put({ kind: 'pack', name: pack }, content)
    packs.push({ pack, blobs })
  }
  await writeIndexFile(vault, packs)
  return await writeSealedJson(vault, 'snapshot', {
    time: '2026-11-05T10:00:00Z',
    tree,
    paths: ['/'],
    hostname: 'here',
    username: 'mallory',
    tags: [`vml:n=${number}`, 'vml:kind=environment'],
    description: title,
  })
}

async function encode(
  node: ForgedNode,
  into: {
    add: (type: 'data' | 'tree', bytes: Buffer) => string
    store: (children: readonly ForgedNode[]) => Promise<string>
  },
): Promise<unknown> {
  const { name, type, children, text, fields } = node
  const bit = type === 'dir' ? goDirectoryBit : type === 'symlink' ? goSymlinkBit : 0
  const time = '2026-11-05T09:00:00Z'
  const content = text === undefined ? undefined : Buffer.from(text)
  return {
    name,
    type,
    mode: modes[type] + bit,
    mtime: time,
    atime: time,
    ctime: time,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    ...(content ? { size: content.length, content: [into.add('data', content)] } : { content: null }),
    ...(children ? { subtree: await into.store(children) } : {}),
    ...fields,
  }
}
