// Index files: which blobs lie in which pack (restic, doc/design.rst, "Indexing").
import { VmlError } from '../base/failure.ts'
import { type BlobId, type IndexId, type PackId, parseId } from '../model/ids.ts'
import { jsonCount, jsonId, jsonList, jsonObject } from './json-fields.ts'
import type { PackedBlob } from './pack-format.ts'
import { readSealedJson, type Vault, writeSealedJson } from './sealed-file.ts'
import type { BlobType, CallOptions } from './store.ts'

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
const numberMax = 0xffff_ffff

export async function readIndexFile(
  vault: Vault,
  id: IndexId,
  options: CallOptions & { readonly sizeBytes?: number } = {},
): Promise<IndexFile> {
  return parseIndexFile(await readSealedJson(vault, { kind: 'index', name: id }, options))
}

/** The packs must be durable. */
export async function writeIndexFile(
  vault: Vault,
  packs: readonly IndexedPack[],
  options: CallOptions = {},
): Promise<IndexId> {
  const value = {
    packs: packs.map(({ pack, blobs }) => ({
      id: pack,
      blobs: blobs.map(({ id, type, offset, length, plainLength }) => ({
        id,
        type,
        offset,
        length,
        ...(plainLength === undefined ? {} : { uncompressed_length: plainLength }),
      })),
    })),
  }
  return (await writeSealedJson(vault, 'index', value, options)) as IndexId
}

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
