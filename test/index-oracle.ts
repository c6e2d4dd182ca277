// An index file as JSON.parse reads it, checked field by field: the oracle for the reader of the store, which goes through its bytes.
import { VmlError } from '../src/base/failure.ts'
import { type BlobId, type IndexId, type PackId, parseId } from '../src/model/ids.ts'
import type { IndexedPack, IndexFile } from '../src/store/index-file.ts'
import { jsonCount, jsonId, jsonList, jsonObject } from '../src/store/json-fields.ts'
import type { PackedBlob } from '../src/store/pack-format.ts'
import type { BlobType } from '../src/store/store.ts'

const numberMax = 0xffff_ffff

export function parseIndexFile(value: unknown): IndexFile {
  const json = jsonObject(value, 'index')
  return {
    supersedes: jsonList(json['supersedes'], 'supersedes').map((id, index) =>
      jsonId(id, `supersedes[${index}]`, (text) => parseId<IndexId>(text)),
    ),
    packs: jsonList(json['packs'], 'packs').map((pack, index) => parsePack(pack, `packs[${index}]`)),
  }
}

function parsePack(value: unknown, path: string): IndexedPack {
  const json = jsonObject(value, path)
  return {
    pack: jsonId(json['id'], `${path}.id`, (text) => parseId<PackId>(text)),
    blobs: jsonList(json['blobs'], `${path}.blobs`).map((blob, index) =>
      parseBlob(blob, `${path}.blobs[${index}]`),
    ),
  }
}

function parseBlob(value: unknown, path: string): PackedBlob {
  const json = jsonObject(value, path)
  const plainLength = jsonCount(json['uncompressed_length'] ?? 0, `${path}.uncompressed_length`, numberMax)
  const offset = jsonCount(json['offset'], `${path}.offset`, numberMax)
  return {
    id: jsonId(json['id'], `${path}.id`, (text) => parseId<BlobId>(text)),
    type: parseBlobType(json['type'], `${path}.type`),
    offset,
    // No pack has 4 GiB, so where a blob ends has 32 bits too.
    length: jsonCount(json['length'], `${path}.length`, numberMax - offset),
    ...(plainLength === 0 ? {} : { plainLength }),
  }
}

function parseBlobType(value: unknown, path: string): BlobType {
  if (value === 'data' || value === 'tree') return value
  throw new VmlError('integrity.format', `"${path}" is not "data" or "tree"`)
}
