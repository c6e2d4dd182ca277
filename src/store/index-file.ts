// Index files: which blobs lie in which pack (restic, doc/design.rst, "Indexing").
import type { IndexId, PackId } from '../model/ids.ts'
import type { PackedBlob } from './pack-format.ts'
import { type Vault, writeSealedBytes } from './sealed-file.ts'
import type { CallOptions } from './store.ts'

export interface IndexedPack {
  readonly pack: PackId
  readonly blobs: readonly PackedBlob[]
}

export interface IndexFile {
  readonly supersedes: readonly IndexId[]
  readonly packs: readonly IndexedPack[]
}

/** restic ends an index at so many blobs, or at 8 MiB. */
export const indexBlobsMax = 50_000

interface NamedPack {
  readonly pack: PackId
  readonly blobs: Iterable<PackedBlob> & { readonly length: number }
}

/** The packs must be durable. */
export async function writeIndexFile(
  vault: Vault,
  packs: readonly NamedPack[],
  options: CallOptions = {},
): Promise<IndexId> {
  return (await writeSealedBytes(vault, 'index', encodeIndex(packs), options)) as IndexId
}

/** An object and a string of all of it would be four times as much memory as what comes out. */
function encodeIndex(packs: readonly NamedPack[]): Buffer {
  const most = packs.reduce((sum, { blobs }) => sum + packTextMax + blobs.length * blobTextMax, packTextMax)
  const bytes = Buffer.allocUnsafeSlow(most)
  let used = 0
  for (const piece of indexText(packs)) used += bytes.write(piece, used, 'latin1')
  return bytes.subarray(0, used)
}

/** What stands around the blobs of a pack, and what one of them takes: an id, and numbers below 2^32. */
const packTextMax = 128
const blobTextMax = 192

function* indexText(packs: readonly NamedPack[]): IterableIterator<string> {
  let text = '{"packs":['
  let packsDone = 0
  for (const { pack, blobs } of packs) {
    text += `${packsDone++ === 0 ? '' : ','}{"id":"${pack}","blobs":[`
    let blobsDone = 0
    for (const { id, type, offset, length, plainLength } of blobs) {
      const plain = plainLength === undefined ? '' : `,"uncompressed_length":${plainLength}`
      text += `${blobsDone++ === 0 ? '' : ','}{"id":"${id}","type":"${type}","offset":${offset},"length":${length}${plain}}`
      if (text.length < textBytes) continue
      yield text
      text = ''
    }
    text += ']}'
  }
  yield `${text}]}`
}

const textBytes = 64 * 1024
