// The part of a check that looks at packs: by name and size, and with `readData` every byte of them.
import { hash } from 'node:crypto'
import { isFailure } from '../base/failure.ts'
import { type PackId, parseId } from '../model/ids.ts'
import type { BlobIndex } from './blob-index.ts'
import { openBlob } from './blob-reader.ts'
import type { Fault, FaultBook } from './check-faults.ts'
import { decodePackHeader, headerLengthBytes, type PackedBlob, parseHeaderLength } from './pack-format.ts'
import type { Vault } from './sealed-file.ts'
import type { CheckOptions } from './store.ts'

type Options = Pick<CheckOptions, 'signal' | 'reporter'>

// restic itself writes at most 128 MiB; a larger one is not read into memory.
const packBytesMax = 512 * 1024 * 1024

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

/** Returns how many bytes were read. */
export async function readPacks(
  vault: Vault,
  {
    index,
    book,
    present,
  }: { readonly index: BlobIndex; readonly book: FaultBook; readonly present: ReadonlyMap<PackId, number> },
  { signal, reporter }: Options,
): Promise<number> {
  const bytesTotal = [...present.values()].reduce((sum, size) => sum + size, 0)
  const unsound = new Map<PackId, { readonly fault: Fault; readonly lost: readonly PackedBlob[] }>()
  let bytesDone = 0
  let filesDone = 0
  for (const { pack, bytes, blobs } of index.packContents()) {
    signal?.throwIfAborted()
    const size = present.get(pack)
    // One of another size was named already.
    if (size === undefined || size > packBytesMax) continue
    const content = await readWhole(vault, pack, { signal })
    if (!content) continue
    const { message, lost } = checkContent(vault, { pack, content, blobs })
    if (message !== undefined && (size === bytes || lost.length > 0)) {
      unsound.set(pack, { fault: book.add({ what: 'pack', id: pack, message }), lost })
    }
    bytesDone += content.length
    reporter.progress({
      phase: 'reading packs',
      bytesDone,
      bytesTotal,
      filesDone: ++filesDone,
      filesTotal: present.size,
    })
  }
  const isLost = (pack: PackId, id: string) => unsound.get(pack)?.lost.some((blob) => blob.id === id) ?? false
  for (const [pack, { fault, lost }] of unsound) {
    for (const blob of lost)
      blameLost({ index, book }, { fault, pack, lost: [blob], sound: (other) => !isLost(other, blob.id) })
  }
  return bytesDone
}

async function readWhole(
  { backend }: Vault,
  pack: PackId,
  options: Pick<CheckOptions, 'signal'>,
): Promise<Buffer | undefined> {
  try {
    return await backend.get({ kind: 'pack', name: pack }, undefined, options)
  } catch (error) {
    // Removed since it was listed: a prune runs beside this check.
    if (isFailure(error, 'not-found')) return undefined
    throw error
  }
}

function checkContent(
  { cipher }: Vault,
  {
    pack,
    content,
    blobs,
  }: { readonly pack: PackId; readonly content: Buffer; readonly blobs: readonly PackedBlob[] },
): { readonly message?: string; readonly lost: readonly PackedBlob[] } {
  const intact = hash('sha256', content) === pack
  const header = checkHeader({ cipher, content, blobs })
  // Opening a blob writes over its sealed bytes, so the two above come first.
  const lost = blobs.filter(({ id, offset, length, plainLength }) => {
    try {
      if (offset + length > content.length) return true
      openBlob(cipher, { id, sealed: content.subarray(offset, offset + length), plainLength })
      return false
    } catch (error) {
      if (isFailure(error)) return true
      throw error
    }
  })
  const problems = [
    ...(intact ? [] : ['its content does not have the hash in its name']),
    ...(header === undefined ? [] : [header]),
    ...(lost.length === 0 ? [] : [`${lost.length} of its ${blobs.length} blobs cannot be read`]),
  ]
  return problems.length === 0 ? { lost } : { message: `The pack is damaged: ${problems.join('; ')}`, lost }
}

function checkHeader({
  cipher,
  content,
  blobs,
}: {
  readonly cipher: Vault['cipher']
  readonly content: Buffer
  readonly blobs: readonly PackedBlob[]
}): string | undefined {
  try {
    const headerEnd = content.length - headerLengthBytes
    if (headerEnd < 0) return 'it has no header'
    const headerBytes = parseHeaderLength(content.subarray(headerEnd), content.length)
    const header = decodePackHeader(
      cipher,
      content.subarray(headerEnd - headerBytes, headerEnd),
      content.length,
    )
    const same =
      header.length === blobs.length &&
      header.every((blob, at) => {
        const other = blobs[at]
        return (
          other?.id === blob.id &&
          other.type === blob.type &&
          other.offset === blob.offset &&
          other.length === blob.length &&
          other.plainLength === blob.plainLength
        )
      })
    return same ? undefined : 'its header names other blobs than the index'
  } catch (error) {
    if (isFailure(error)) return error.message
    throw error
  }
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
