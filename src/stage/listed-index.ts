// The index of a root that another machine listed, and its rows in the form of this host's own calls.
import { VmlError } from '../base/failure.ts'
import { compareRaw, entryPathsMax, type RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import type { FileStatus } from '../wire/libc.ts'
import { typeBits } from './fingerprint.ts'
import { type IndexEntry, makeColumns, type RootIndex } from './root-index.ts'

/** Each path once, in any order. Until they are sorted each is some hundred bytes of memory: of more than an entry may have, it fails with `unsupported`. */
export async function readListedIndex(
  listed: AsyncIterable<{ readonly path: RawPath; readonly attributes: Attributes }>,
): Promise<RootIndex> {
  const rows: { readonly path: RawPath; readonly attributes: Attributes }[] = []
  for await (const row of listed) {
    if (rows.length >= entryPathsMax)
      throw new VmlError(
        'unsupported',
        `Cannot take stock of the system: it has more than ${entryPathsMax} files and folders`,
      )
    rows.push(row)
  }
  rows.sort((one, other) => compareRaw(one.path, other.path))
  const columns = makeColumns(rows.length)
  for (const [at, { attributes }] of rows.entries()) {
    const row = listedStatus(attributes)
    for (const name of ['mode', 'uid', 'gid', 'links', 'size'] as const) columns[name][at] = row[name]
    for (const name of ['inode', 'deviceId', 'mtimeNs', 'ctimeNs'] as const) columns[name][at] = row[name]
  }
  return { paths: rows.map(({ path }) => path), columns }
}

/** `mountId` where it matters which mount it lies on. */
export function listedStatus(attributes: Attributes, mountId = 0n): FileStatus {
  const { type, mode, uid, gid, links = 1, size = 0, mtimeNs, ctimeNs = 0n, inode = 0n } = attributes
  const { deviceId = 0n, device = 0n } = attributes
  const at = { uid, gid, links, size, mtimeNs, ctimeNs, inode, deviceId, device, mountId }
  return { ...at, mode: typeBits[type] | mode, blocks: 0 }
}

export function indexedStatus(entry: IndexEntry): FileStatus {
  return { ...entry, blocks: 0, device: 0n, mountId: 0n }
}
