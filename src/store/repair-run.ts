// Carries a repair out, in an order in which a crash at any line is harmless. See repair.ts for what it promises.
import { hash } from 'node:crypto'
import type { Backend, FileRef } from '../backend/backend.ts'
import { openFresh } from '../backend/fresh.ts'
import { isFailure } from '../base/failure.ts'
import type { Snapshot } from '../model/entry.ts'
import type { BlobId, PackId, TreeId } from '../model/ids.ts'
import { openBlobReader } from './blob-reader.ts'
import { inspectPack } from './check-pack-content.ts'
import { readWhole } from './check-packs.ts'
import { isDamage } from './damage.ts'
import { indexBlobsMax, type IndexedPack, writeIndexFile } from './index-file.ts'
import type { HeldLock } from './lock.ts'
import type { PackedBlob } from './pack-format.ts'
import type { Repair, RepairOptions, RepairResult, RepairTarget } from './repair.ts'
import { openRepairPacker, type RepairPacker } from './repair-packer.ts'
import { comesBack, type Survey, type SurveyedPack, surveyRepository } from './repair-survey.ts'
import { editTree } from './repair-tree.ts'
import type { Vault } from './sealed-file.ts'
import { writeSnapshotFile } from './snapshot-file.ts'
import type { BlobType } from './store.ts'
import { decodeTree, encodeTree } from './tree-codec.ts'

/** Looks at everything; the lock is released with the repair. */
export async function openRepair(
  given: Vault,
  lock: AsyncDisposable & Partial<Pick<HeldLock, 'ensureHeld'>>,
  options: RepairOptions,
): Promise<Repair> {
  // Past copies on this computer, as a check.
  const vault = { ...given, backend: openFresh(given.backend) }
  const survey = await surveyRepository(vault, options)
  const { index, lost, unindexed, found } = survey
  const backend = healing(vault.backend, survey, options)
  const reader = openBlobReader(
    { ...vault, backend },
    { blobs: async () => index, refresh: async () => index },
  )
  // Where an index is damaged nobody knows what it named; then all that is there is named again.
  const needed = new Set<PackId>(found.damagedIndexes.length > 0 ? unindexed : [])
  const has = (type: BlobType, id: BlobId | TreeId) => {
    if (!index.has(type, id)) return false
    if (unindexed.size === needed.size) return true
    const places = index.findAll(type, id)
    const [first] = places
    if (first && places.every(({ pack }) => unindexed.has(pack))) needed.add(first.pack)
    return true
  }
  return {
    survey: found,
    snapshots: survey.snapshots,
    has,
    blobLength(type, id) {
      const [place] = [...index.findAll(type, id), ...lost.findAll(type, id)]
      return place && (place.plainLength ?? place.length - 32)
    },
    readBlob: async (id) => await reader.readBlob('data', id, options),
    async readTree(id) {
      const bytes = await reader.readBlob('tree', id, options)
      try {
        return decodeTree(bytes)
      } catch (error) {
        if (isDamage(error)) return undefined
        throw error
      }
    },
    *trees() {
      for (const { blobs } of index.packContents())
        for (const { type, id } of blobs) if (type === 'tree') yield id as TreeId
    },
    get unindexedNeeded() {
      return needed.size
    },
    async run(work, { signal } = options) {
      if (options.look || !lock.ensureHeld) throw new TypeError('A repair that only looks cannot run')
      const ensureHeld = async () => {
        signal?.throwIfAborted()
        await lock.ensureHeld?.()
      }
      const readTree = async (id: TreeId) => await reader.readBlob('tree', id, options)
      return await runRepair({ vault, survey, needed, has, readTree, ensureHeld, options }, work)
    },
    async [Symbol.asyncDispose]() {
      await lock[Symbol.asyncDispose]()
    },
  }
}

interface Run {
  readonly vault: Vault
  readonly survey: Survey
  readonly needed: ReadonlySet<PackId>
  readonly has: Repair['has']
  readonly readTree: (id: TreeId) => Promise<Buffer>
  readonly ensureHeld: () => Promise<void>
  readonly options: RepairOptions
}

/**
 * New packs and packs that come back, then an index of them and of what stays, then the snapshots. Only then go, in this order:
 * snapshots that are damaged (while one is there, trees that no snapshot names are taken for its entry), those that are replaced, keys, index files, packs. Until the last index file that names a damaged
 * pack is gone, that pack lies where it was.
 */
async function runRepair(run: Run, work: Parameters<Repair['run']>[0]): Promise<RepairResult> {
  const { vault, survey, ensureHeld } = run
  const packer = openRepairPacker(vault, ensureHeld)
  const back = await salvage(run, packer)
  const target = openTarget(run, packer)
  const { added, replaced } = (await work.store?.(target)) ?? { added: [], replaced: [] }
  const stored = await packer.finish()
  await writeIndexes(run, [...stored, ...back, ...stayingPacks(run)])
  const snapshots: Snapshot[] = []
  for (const snapshot of added) {
    await ensureHeld()
    snapshots.push(await writeSnapshotFile(vault, snapshot))
  }
  const aside: RepairResult['aside'][number][] = []
  const put = async (file: FileRef) => {
    await ensureHeld()
    const place = await setAside(run, file)
    aside.push({ ...file, ...(place === undefined ? {} : { place }) })
  }
  const { damagedSnapshots, damagedKeys, damagedIndexes, wrongIndexes } = survey.found
  for (const name of [...damagedSnapshots.map(({ id }) => id), ...replaced])
    await put({ kind: 'snapshot', name })
  await clearKeys(run, damagedKeys, put)
  for (const { id } of damagedIndexes) await put({ kind: 'index', name: id })
  for (const name of wrongIndexes) {
    await ensureHeld()
    await vault.backend.remove({ kind: 'index', name })
  }
  for (const { pack, state } of survey.damaged.values())
    if (state === 'damaged') await put({ kind: 'pack', name: pack })
  return { snapshots, storedBytes: packer.storedBytes, aside }
}

/** Returns the packs that were put back under their own names and whose index files go. */
async function salvage(run: Run, packer: RepairPacker): Promise<readonly IndexedPack[]> {
  const { vault, survey, ensureHeld, options } = run
  const back: IndexedPack[] = []
  let filesDone = 0
  for (const pack of survey.damaged.values()) {
    options.reporter.progress({
      phase: 'saving what is right',
      filesDone: filesDone++,
      filesTotal: survey.damaged.size,
    })
    if (pack.good.length === 0 && !comesBack(pack)) continue
    const content = await contentOf(vault, pack, options)
    if (!content) continue
    const { intact, header, good } = inspectPack(vault.cipher, {
      pack: pack.pack,
      content,
      named: pack.good,
    })
    if (comesBack(pack) && intact && header) {
      await ensureHeld()
      await vault.backend.put({ kind: 'pack', name: pack.pack }, content)
      if (survey.reindexed.has(pack.pack) || run.needed.has(pack.pack))
        back.push({ pack: pack.pack, blobs: header })
      continue
    }
    const wanted = new Set(pack.good.map(placeOf))
    // Proved once more: what was right an hour ago is copied only if it is right now.
    for (const blob of good.filter((each) => wanted.has(placeOf(each))))
      await packer.addSealed(blob, content.subarray(blob.offset, blob.offset + blob.length))
  }
  return back
}

async function contentOf(
  vault: Vault,
  { pack, healed, partly, bytes }: SurveyedPack,
  options: RepairOptions,
): Promise<Buffer | undefined> {
  const content = healed || partly ? await options.heal?.(pack, [{ offset: 0, length: bytes }]) : undefined
  return content ?? (await readWhole(vault, pack, options))
}

function placeOf({ type, id, offset }: PackedBlob): string {
  return `${type}/${id}/${offset}`
}

function openTarget({ has, readTree }: Run, packer: RepairPacker): RepairTarget {
  const addTree = async (bytes: Buffer) =>
    (await packer.add('tree', bytes, (id) => has('tree', id))) as TreeId
  return {
    addData: async (content) => (await packer.add('data', content, (id) => has('data', id))) as BlobId,
    addTree: async (nodes) => await addTree(encodeTree(nodes)),
    editTree: async (id, edit) => await addTree(editTree(await readTree(id), edit)),
  }
}

function* stayingPacks({ survey, needed }: Run): Iterable<IndexedPack> {
  const { index, damaged, reindexed } = survey
  if (reindexed.size === 0 && needed.size === 0) return
  for (const { pack, blobs } of index.packContents())
    if (!damaged.has(pack) && (reindexed.has(pack) || needed.has(pack))) yield { pack, blobs }
}

async function writeIndexes({ vault, ensureHeld }: Run, packs: Iterable<IndexedPack>): Promise<void> {
  let open: IndexedPack[] = []
  let blobs = 0
  const close = async () => {
    if (open.length === 0) return
    await ensureHeld()
    await writeIndexFile(vault, open)
    open = []
    blobs = 0
  }
  for (const pack of packs) {
    if (blobs + pack.blobs.length > indexBlobsMax) await close()
    open.push(pack)
    blobs += pack.blobs.length
  }
  await close()
}

/**
 * A key that still opens is there under its right name before it goes under the wrong one. Only where two took each other's names, one of
 * them is for a moment in neither place; the other one opens meanwhile.
 */
async function clearKeys(
  { vault: { backend }, ensureHeld }: Run,
  keys: Survey['found']['damagedKeys'],
  put: (file: FileRef) => Promise<void>,
): Promise<void> {
  const wrong = new Set(keys.map(({ id }) => id))
  const contents = new Map<string, Buffer>()
  for (const { id, renamedTo } of keys) {
    const content = await backend.get({ kind: 'key', name: id })
    if (renamedTo !== undefined && hash('sha256', content) === renamedTo) contents.set(renamedTo, content)
  }
  const keep = async (name: string) => {
    const content = contents.get(name)
    if (!content) return
    await ensureHeld()
    await backend.put({ kind: 'key', name }, content)
  }
  for (const name of contents.keys()) if (!wrong.has(name)) await keep(name)
  for (const { id } of keys) {
    await put({ kind: 'key', name: id })
    await keep(id)
  }
}

/** Undefined where it must stay: nothing of the repository names it any more. */
async function setAside({ vault: { backend }, options }: Run, file: FileRef): Promise<string | undefined> {
  try {
    if (backend.setAside) return await backend.setAside(file)
    // Packs are large, and one that no index names harms nobody: a prune takes it.
    if (file.kind === 'pack' || !options.keepCopy) return undefined
    const place = await options.keepCopy(file, await backend.get(file))
    await backend.remove(file)
    return place
  } catch (error) {
    // Set aside already, by a repair that was cut off.
    if (isFailure(error, 'not-found')) return undefined
    throw error
  }
}

/** Packs that came back by other means are read by those. */
function healing(backend: Backend, { damaged }: Survey, { heal }: RepairOptions): Backend {
  let last: { readonly name: string; readonly content: Buffer } | undefined
  return {
    ...backend,
    async get(file, range, options) {
      const pack = damaged.get(file.name as PackId)
      if (file.kind !== 'pack' || !(pack?.healed || pack?.partly))
        return await backend.get(file, range, options)
      if (last?.name !== file.name) {
        const content = await heal?.(pack.pack, [{ offset: 0, length: pack.bytes }])
        if (!content) return await backend.get(file, range, options)
        last = { name: file.name, content }
      }
      const { offset, length } = range ?? { offset: 0, length: last.content.length }
      return Buffer.from(last.content.subarray(offset, offset + length))
    },
  }
}
