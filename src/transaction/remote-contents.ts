// Contents of files of a machine over ssh: whole and small, or piece by piece into the logbook. Nothing of them becomes a file here.
import { createHash } from 'node:crypto'
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Segment } from '../model/tree.ts'
import type { Source } from '../source/source.ts'
import type { StoredFile, Writer } from '../store/store.ts'
import type { RemoteMachine } from './remote-machine.ts'

/** Those of the paths that are there, and are files. Fails with `unsupported` beyond the limits. */
export async function readRemoteContents(
  machine: RemoteMachine,
  paths: readonly RawPath[],
  { fileBytesMax, allBytesMax }: { readonly fileBytesMax: number; readonly allBytesMax: number },
): Promise<Map<RawPath, Buffer>> {
  const found = new Map<RawPath, Buffer>()
  let all = 0
  for await (const record of machine.source.read(paths, machine.signal)) {
    if (record.kind === 'problem') {
      found.delete(record.path)
      continue
    }
    const parts: Uint8Array[] = []
    let bytes = 0
    for await (const segment of record.segments()) {
      const length = segment.kind === 'data' ? segment.bytes.length : segment.length
      bytes += length
      all += length
      if (bytes > fileBytesMax || all > allBytesMax)
        throw new VmlError(
          'unsupported',
          `Cannot read "${printable(record.path)}" of ${machine.name} at once: it is too large`,
        )
      // A piece is good until the next one is asked for.
      parts.push(segment.kind === 'data' ? Buffer.from(segment.bytes) : Buffer.alloc(length))
    }
    const first = record.hardLinkTo === undefined ? undefined : found.get(record.hardLinkTo)
    if (first) found.set(record.path, first)
    else if (record.attributes.type === 'file') found.set(record.path, Buffer.concat(parts))
  }
  return found
}

/** A file that is to be stored: where it lies there, and what it must be. */
export interface ContentToStore {
  readonly place: RawPath
  readonly size: number
  readonly sha256: string
}

/**
 * What of it could be stored, by its hash. One that is not there, or is another one, is not in it: nothing but what was seen is kept. None is
 * read much further than it was long.
 */
export async function storeRemoteContents(
  machine: { readonly source: Pick<Source, 'read'>; readonly signal?: AbortSignal | undefined },
  writer: Pick<Writer, 'openFile'>,
  wanted: readonly ContentToStore[],
): Promise<Map<string, StoredFile>> {
  const stored = new Map<string, StoredFile>()
  const left = new Map<RawPath, ContentToStore>()
  const sums = new Set<string>()
  for (const each of wanted) {
    if (sums.has(each.sha256)) continue
    sums.add(each.sha256)
    left.set(each.place, each)
  }
  // Once, and once more for each that is much longer than it was: what comes after that one is asked for anew.
  while (left.size > 0) {
    let isCutOff = false
    for await (const record of machine.source.read([...left.keys()], machine.signal)) {
      const content = left.get(record.path)
      left.delete(record.path)
      if (content === undefined || record.kind === 'problem') continue
      const { file, isTooLong } = await storeContent(writer, content, record.segments())
      if (file) stored.set(content.sha256, file)
      isCutOff = isTooLong
      if (isCutOff) break
    }
    if (!isCutOff) break
  }
  return stored
}

/** A log that grows is read to its end, since the next file comes after it. */
const surplusBytesMax = 1024 * 1024 * 1024

async function storeContent(
  writer: Pick<Writer, 'openFile'>,
  { size, sha256 }: ContentToStore,
  segments: AsyncIterable<Segment>,
): Promise<{ readonly file: StoredFile | undefined; readonly isTooLong: boolean }> {
  const hash = createHash('sha256')
  const sink = writer.openFile()
  let bytes = 0
  try {
    for await (const segment of segments) {
      bytes += segment.kind === 'data' ? segment.bytes.length : segment.length
      if (bytes > size + surplusBytesMax) break
      if (bytes > size) continue
      if (segment.kind === 'data') hash.update(segment.bytes)
      else for (const zeros of zeroPieces(segment.length)) hash.update(zeros)
      await sink.write(segment)
    }
    if (bytes === size && hash.digest('hex') === sha256)
      return { file: await sink.finish(), isTooLong: false }
    sink.abort()
    return { file: undefined, isTooLong: bytes > size + surplusBytesMax }
  } catch (error) {
    sink.abort()
    throw error
  }
}

const zeros = Buffer.alloc(64 * 1024)

function* zeroPieces(length: number): Iterable<Buffer> {
  for (let left = length; left > 0; left -= zeros.length)
    yield zeros.subarray(0, Math.min(left, zeros.length))
}
