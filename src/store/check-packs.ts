// The part of a check that looks at packs: by their size, and byte by byte.
import { isFailure } from '../base/failure.ts'
import { readAhead } from '../base/read-ahead.ts'
import { type PackId, parseId } from '../model/ids.ts'
import type { BlobIndex } from './blob-index.ts'
import type { Fault, FaultBook } from './check-faults.ts'
import { inspectPack, packBytesMax, sameBlobs } from './check-pack-content.ts'
import { type PackSample, samplePacks } from './check-sample.ts'
import type { PackedBlob } from './pack-format.ts'
import type { Vault } from './sealed-file.ts'
import type { CheckOptions } from './store.ts'

type Options = Pick<CheckOptions, 'signal' | 'reporter'>

/** Compares what the index names with what is there. A blob that also lies in a sound pack is not lost. */
export async function checkPackFiles(
  { backend }: Vault,
  { index, book }: { readonly index: BlobIndex; readonly book: FaultBook },
  options: Options,
): Promise<{ readonly present: ReadonlyMap<PackId, number>; readonly unused: readonly PackId[] }> {
  const present = new Map<PackId, number>()
  for await (const { name, size } of backend.list('pack', options)) {
    const pack = parseId<PackId>(name)
    if (pack !== undefined) present.set(pack, size)
    options.reporter.progress({ phase: 'listing packs', filesDone: present.size })
  }
  const unsound = new Map<PackId, Fault>()
  for (const { pack, bytes } of index.packs()) {
    const size = present.get(pack)
    if (size === bytes) continue
    const message =
      size === undefined
        ? 'The pack is missing'
        : `The pack has ${size} bytes instead of ${bytes}${size < bytes ? ': it was cut off' : ''}`
    const fault = book.add({ what: 'pack', id: pack, message })
    if ((size ?? 0) < bytes) unsound.set(pack, fault)
  }
  if (unsound.size > 0) {
    for (const { pack, blobs } of index.packContents()) {
      const fault = unsound.get(pack)
      // What lies before the cut can still be read.
      const end = present.get(pack) ?? 0
      const lost = fault ? blobs.filter(({ offset, length }) => offset + length > end) : []
      if (fault) blameLost({ index, book }, { fault, pack, lost, sound: (other) => !unsound.has(other) })
    }
  }
  const unused = [...present.keys()].filter((pack) => !index.hasPack(pack))
  return { present, unused }
}

export interface PackReading {
  readonly index: BlobIndex
  readonly book: FaultBook
  readonly present: ReadonlyMap<PackId, number>
  /** Undefined reads them all. */
  readonly sample: PackSample | undefined
  readonly random: () => number
}

/** What was read. Holds one pack and, of damaged ones, the names of their blobs. */
export async function readPacks(
  vault: Vault,
  { index, book, present, sample, random }: PackReading,
  { signal, reporter }: Options,
): Promise<{ readonly packs: number; readonly bytes: number }> {
  const chosen = sample ? samplePacks(present, sample, random) : present
  const bytesTotal = [...chosen.values()].reduce((sum, size) => sum + size, 0)
  const unsound = new Map<PackId, { readonly fault: Fault; readonly lost: readonly PackedBlob[] }>()
  let bytesDone = 0
  let filesDone = 0
  const wanted = function* () {
    for (const named of index.packContents()) if (chosen.has(named.pack)) yield named
    for (const pack of chosen.keys())
      if (!index.hasPack(pack)) yield { pack, bytes: undefined, blobs: undefined }
  }
  const sizeOf = (pack: PackId) => chosen.get(pack) ?? 0
  for await (const [{ pack, bytes, blobs }, content] of readPacksAhead(vault, wanted(), sizeOf, { signal })) {
    signal?.throwIfAborted()
    // One of another size was named already.
    if (!content) continue
    bytesDone += content.length
    reporter.progress({
      phase: 'reading packs',
      bytesDone,
      bytesTotal,
      filesDone: ++filesDone,
      filesTotal: chosen.size,
    })
    const { message, lost } = findProblems(vault, { pack, content, named: blobs })
    if (message === undefined) continue
    // Nothing needs it: a writer on storage that tears files apart, or an index that is missing, which is told by itself.
    if (!blobs)
      book.add({ severity: 'notice', what: 'pack', id: pack, message: `${message}; no index names it` })
    else if (present.get(pack) === bytes || lost.length > 0)
      unsound.set(pack, { fault: book.add({ what: 'pack', id: pack, message }), lost })
  }
  const isLost = (pack: PackId, id: string) => unsound.get(pack)?.lost.some((blob) => blob.id === id) ?? false
  for (const [pack, { fault, lost }] of unsound) {
    for (const blob of lost)
      blameLost({ index, book }, { fault, pack, lost: [blob], sound: (other) => !isLost(other, blob.id) })
  }
  return { packs: filesDone, bytes: bytesDone }
}

/** Packs of usual size are read ahead, which storage far away takes most of the time for; a larger one in its turn. */
const aheadBytesMax = 32 * 1024 * 1024
const aheadMax = 2

/** Each pack with its bytes; undefined for one that is gone or too large for memory. Holds three packs of usual size. */
export async function* readPacksAhead<Item extends { readonly pack: PackId }>(
  vault: Pick<Vault, 'backend'>,
  items: Iterable<Item>,
  sizeOf: (pack: PackId) => number,
  options: Pick<CheckOptions, 'signal'>,
): AsyncIterable<readonly [Item, Buffer | undefined]> {
  const ahead = Math.min(aheadMax, vault.backend.traits.connections - 1)
  const early = async ({ pack }: Item) =>
    sizeOf(pack) <= aheadBytesMax ? { content: await readWhole(vault, pack, options) } : undefined
  for await (const [item, read] of readAhead(items, ahead, early)) {
    if (read) yield [item, read.content]
    else
      yield [item, sizeOf(item.pack) > packBytesMax ? undefined : await readWhole(vault, item.pack, options)]
  }
}

/** Undefined for one that is gone since it was listed: a prune runs beside this. */
export async function readWhole(
  { backend }: Pick<Vault, 'backend'>,
  pack: PackId,
  options: Pick<CheckOptions, 'signal'>,
): Promise<Buffer | undefined> {
  try {
    return await backend.get({ kind: 'pack', name: pack }, undefined, options)
  } catch (error) {
    if (isFailure(error, 'not-found')) return undefined
    throw error
  }
}

function findProblems(
  { cipher }: Vault,
  {
    pack,
    content,
    named,
  }: {
    readonly pack: PackId
    readonly content: Buffer
    readonly named: readonly PackedBlob[] | undefined
  },
): { readonly message?: string; readonly lost: readonly PackedBlob[] } {
  const { intact, header, headerProblem, lost } = inspectPack(cipher, { pack, content, named: named ?? [] })
  const otherHeader = header && named && !sameBlobs(header, named)
  const known = named ?? header ?? []
  const problems = [
    ...(intact ? [] : ['its content does not have the hash in its name']),
    ...(headerProblem === undefined ? [] : [headerProblem]),
    ...(otherHeader ? ['its header names other blobs than the index'] : []),
    ...(lost.length === 0
      ? []
      : [`${lost.length} of its ${Math.max(known.length, lost.length)} blobs cannot be read`]),
  ]
  return problems.length === 0 ? { lost } : { message: `The pack is damaged: ${problems.join('; ')}`, lost }
}

function blameLost(
  { index, book }: { readonly index: BlobIndex; readonly book: FaultBook },
  {
    fault,
    pack,
    lost,
    sound,
  }: {
    readonly fault: Fault
    readonly pack: PackId
    readonly lost: readonly PackedBlob[]
    readonly sound: (other: PackId) => boolean
  },
): void {
  for (const { type, id } of lost) {
    const elsewhere = index.findAll(type, id).some((place) => place.pack !== pack && sound(place.pack))
    if (!elsewhere) book.blame(fault, type, id)
  }
}
