// Marks every blob that a snapshot needs, in the table of places: no set of names, one bit each.
import { isFailure, VmlError } from '../base/failure.ts'
import { mapOrdered, openPool } from '../base/pool.ts'
import type { Reporter } from '../base/progress.ts'
import { parseId, shortId, type SnapshotId, type TreeId } from '../model/ids.ts'
import { openBlob } from './blob-reader.ts'
import { isDamage } from './damage.ts'
import { openPackWindows, type PackWindows } from './pack-windows.ts'
import { placeFlags } from './place-table.ts'
import type { PruneIndex } from './prune-index.ts'
import type { Vault } from './sealed-file.ts'
import { readSnapshotFile } from './snapshot-file.ts'
import type { BlobType, CallOptions } from './store.ts'
import { treeBytesMax } from './tree-codec.ts'
import { readTreeReferences } from './tree-references.ts'

export interface SnapshotRoot {
  readonly id: SnapshotId
  readonly tree: TreeId
}

type Options = CallOptions & { readonly reporter: Reporter }

/** Every snapshot that is not `known`. One that cannot be read fails with `integrity.*`: what it needs is not known. */
export async function readRoots(
  vault: Vault,
  known: ReadonlySet<SnapshotId>,
  { reporter, ...options }: Options,
): Promise<readonly SnapshotRoot[]> {
  const listed: { readonly id: SnapshotId; readonly sizeBytes: number }[] = []
  for await (const { name, size } of vault.backend.list('snapshot', options)) {
    const id = parseId<SnapshotId>(name)
    if (id !== undefined && !known.has(id)) listed.push({ id, sizeBytes: size })
  }
  let filesDone = 0
  const read = async ({ id, sizeBytes }: (typeof listed)[number]): Promise<SnapshotRoot | undefined> => {
    reporter.progress({ phase: 'reading snapshots', filesDone: filesDone++, filesTotal: listed.length })
    try {
      const { tree } = await readSnapshotFile(vault, id, { ...options, sizeBytes })
      return { id, tree }
    } catch (error) {
      // A program that does not heed locks removed it since it was listed.
      if (isFailure(error, 'not-found')) return undefined
      throw refusal(error, id)
    }
  }
  const roots = await mapOrdered(listed, readsAtOnce(vault), read)
  return roots.filter((root) => root !== undefined)
}

/** Each tree is read once, however many snapshots have it. A blob that is missing, or a tree that cannot be read, fails with `integrity.*`. */
export async function markUsed(
  vault: Vault,
  index: PruneIndex,
  roots: readonly SnapshotRoot[],
  { reporter, signal }: Options,
): Promise<void> {
  const windows = openPackWindows(vault.backend)
  const trees = index.table('tree')
  const data = index.table('data')
  const pool = openPool(readsAtOnce(vault))
  // Place of a tree that waits to be read, and the snapshot through which it was met first.
  const waiting: number[] = []
  let treesDone = 0

  const meetTree = (id: TreeId, root: number) => {
    const place = requirePlace(trees.find(id), 'tree', id)
    if (trees.has(place, placeFlags.used)) return
    trees.set(place, placeFlags.used)
    waiting.push(place, root)
  }
  const visit = async (place: number, root: number) => {
    try {
      const bytes = await readTreeAt({ vault, index, windows }, place, { signal })
      readTreeReferences(bytes, {
        data: (id) => data.set(requirePlace(data.find(id), 'data', id), placeFlags.used),
        tree: (id) => meetTree(id, root),
      })
    } catch (error) {
      throw refusal(error, roots[root]?.id)
    }
    reporter.progress({ phase: 'reading trees', filesDone: ++treesDone })
  }
  for (const [root, { id, tree }] of roots.entries()) {
    try {
      meetTree(tree, root)
    } catch (error) {
      throw refusal(error, id)
    }
  }
  for (;;) {
    const root = waiting.pop()
    const place = waiting.pop()
    if (root !== undefined && place !== undefined) {
      signal?.throwIfAborted()
      await pool.start(async () => await visit(place, root))
      continue
    }
    // The last ones under way may name more.
    await pool.drain()
    if (waiting.length === 0) return
  }
}

const readsAtOnceMax = 8

function readsAtOnce({ backend }: Vault): number {
  return Math.max(1, Math.min(backend.traits.connections, readsAtOnceMax))
}

/** From whichever of its places it can be read. */
async function readTreeAt(
  {
    vault,
    index,
    windows,
  }: { readonly vault: Vault; readonly index: PruneIndex; readonly windows: PackWindows },
  first: number,
  options: CallOptions,
): Promise<Buffer> {
  const trees = index.table('tree')
  const id = trees.id(first)
  let failure: unknown
  for (const place of trees.placesOf(first)) {
    const pack = index.packs[trees.pack(place)]
    if (!pack) continue
    const plainLength = trees.plainLength(place)
    const length = trees.length(place)
    try {
      if (Math.max(length, plainLength ?? 0) > treeBytesMax)
        throw new VmlError('integrity.format', `tree ${shortId(id)} is too large`)
      const location = { pack: pack.id, offset: trees.offset(place), length, plainLength }
      const sealed = await windows.read(location, pack.bytes, options)
      return openBlob(vault.cipher, { id, sealed, plainLength })
    } catch (error) {
      if (!isDamage(error) && !isFailure(error, 'not-found')) throw error
      const code = error.code === 'not-found' ? 'integrity.missing' : error.code
      failure ??= new VmlError(
        code,
        `tree ${shortId(id)} in pack ${shortId(pack.id)} cannot be read: ${error.message}`,
        {
          cause: error,
        },
      )
    }
  }
  throw failure ?? new VmlError('integrity.missing', `tree ${shortId(id)} is in no pack`)
}

function requirePlace(place: number, type: BlobType, id: string): number {
  if (place >= 0) return place
  throw new VmlError('integrity.missing', `${type} blob ${shortId(id)} is named by no index`, {
    details: { blob: id, type },
  })
}

/** Where it is not known what is needed, nothing may go. */
function refusal(error: unknown, snapshot: SnapshotId | undefined): unknown {
  if (!isDamage(error) || snapshot === undefined) return error
  return new VmlError(
    error.code,
    `Cannot prune: snapshot ${shortId(snapshot)} cannot be read whole: ${error.message}`,
    {
      cause: error,
      details: { ...error.details, snapshot },
      hint: 'Nothing was deleted. vml check says what is damaged',
    },
  )
}
