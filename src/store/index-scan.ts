// Reads an index file pack by pack, for whoever cannot hold all of it as objects: a million blobs would take 300 MB for a moment.
import { VmlError } from '../base/failure.ts'
import { type BlobId, type IndexId, type PackId, parseId } from '../model/ids.ts'
import type { IndexedPack, IndexFile } from './index-file.ts'
import { jsonKeys, JsonProblem, JsonReader } from './json-reader.ts'
import type { PackedBlob } from './pack-format.ts'
import { fileTitle, readSealed, type Vault } from './sealed-file.ts'
import type { BlobType, CallOptions } from './store.ts'

export interface ScannedIndex {
  /** To be taken once; a field that is not what restic writes is `integrity.format`. */
  readonly packs: Iterable<IndexedPack>
  /** Complete when all packs have been taken. */
  readonly supersedes: readonly IndexId[]
}

const numberMax = 0xffff_ffff

export async function scanIndexFile(
  vault: Pick<Vault, 'backend' | 'cipher'>,
  id: IndexId,
  options: CallOptions & { readonly sizeBytes?: number } = {},
): Promise<ScannedIndex> {
  const file = { kind: 'index', name: id } as const
  const plain = await readSealed(vault, file, (bytes) => bytes, options)
  return scanIndex(plain, fileTitle(file))
}

/** All of it, for whoever relies on nothing of a file that is damaged anywhere. */
export async function readIndexFile(
  vault: Pick<Vault, 'backend' | 'cipher'>,
  id: IndexId,
  options: CallOptions & { readonly sizeBytes?: number } = {},
): Promise<IndexFile> {
  const parse = (plain: Buffer) => {
    const supersedes: IndexId[] = []
    return { packs: [...scanPacks(plain, supersedes)], supersedes }
  }
  return await readSealed(vault, { kind: 'index', name: id }, parse, options)
}

/** `title` is what the file is called in failures. */
export function scanIndex(plain: Uint8Array, title: string): ScannedIndex {
  const supersedes: IndexId[] = []
  return { packs: explained(scanPacks(plain, supersedes), title), supersedes }
}

function* explained(packs: Iterable<IndexedPack>, title: string): Iterable<IndexedPack> {
  try {
    yield* packs
  } catch (cause) {
    if (!(cause instanceof JsonProblem)) throw cause
    throw new VmlError('integrity.format', `Cannot read ${title}: it ${cause.message}`, {
      cause,
      hint: 'Run vml check to see what is affected',
    })
  }
}

const fileKeys = jsonKeys(['supersedes', 'packs'])
const packKeys = jsonKeys(['id', 'blobs'])
const blobKeys = jsonKeys(['id', 'type', 'offset', 'length', 'uncompressed_length'])

function* scanPacks(plain: Uint8Array, supersedes: IndexId[]): Iterable<IndexedPack> {
  const json = new JsonReader(plain)
  json.expect('{')
  for (let first = true; json.more('}', first); first = false) {
    const key = json.key(fileKeys, 0)
    if (key === -1) json.skip()
    else if (json.null()) continue
    else {
      json.expect('[')
      for (let next = true; json.more(']', next); next = false) {
        if (key === 0) supersedes.push(readId<IndexId>(json))
        else yield readPack(json)
      }
    }
  }
  json.end()
}

function readPack(json: JsonReader): IndexedPack {
  let pack: PackId | undefined
  const blobs: PackedBlob[] = []
  json.expect('{')
  for (let first = true; json.more('}', first); first = false) {
    const key = json.key(packKeys, 0)
    if (key === 0) pack = readId<PackId>(json)
    else if (key === -1) json.skip()
    else if (!json.null()) {
      json.expect('[')
      for (let next = true; json.more(']', next); next = false) blobs.push(readBlob(json))
    }
  }
  if (pack === undefined) throw new JsonProblem('names a pack without an id')
  return { pack, blobs }
}

function readBlob(json: JsonReader): PackedBlob {
  let id: BlobId | undefined
  let type: BlobType | undefined
  let offset: number | undefined
  let length: number | undefined
  let plainLength = 0
  json.expect('{')
  let from = 0
  for (let first = true; json.more('}', first); first = false) {
    const key = json.key(blobKeys, from)
    from = key + 1
    if (key === 0) id = readId<BlobId>(json)
    else if (key === 1) type = readType(json)
    else if (key === 2) offset = json.count(numberMax)
    else if (key === 3) length = json.count(numberMax)
    else if (key === 4) plainLength = json.count(numberMax)
    else json.skip()
  }
  if (id === undefined || type === undefined || offset === undefined || length === undefined)
    throw new JsonProblem('names a blob without its id, type, offset or length')
  if (offset + length > numberMax) throw new JsonProblem('names a blob beyond the end of any pack')
  return { id, type, offset, length, ...(plainLength === 0 ? {} : { plainLength }) }
}

function readType(json: JsonReader): BlobType {
  const type = json.string()
  if (type === 'data' || type === 'tree') return type as BlobType
  throw new JsonProblem('has a blob that is neither data nor tree')
}

function readId<T extends BlobId | PackId | IndexId>(json: JsonReader): T {
  const id = parseId<T>(json.string())
  if (id === undefined) throw new JsonProblem('has an id that is none')
  return id
}
