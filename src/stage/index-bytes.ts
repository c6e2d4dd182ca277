// How much the files of a root take, by its index: where the file system itself tells of more than this root, as an overlay does.
import { nearestIn, rootPath } from '../model/raw-path.ts'
import { typeOf } from './fingerprint.ts'
import { mountTopsOf } from './index-rows.ts'
import { entryAt, inodeKey, type RootIndex } from './root-index.ts'

/** Of the regular files on the file system of `/`; one of several names counts once. */
export function bytesOfIndex(index: RootIndex): number {
  const tops = new Set(mountTopsOf(index)).add(rootPath)
  const seen = new Set<string>()
  let bytes = 0
  for (const [row, path] of index.paths.entries()) {
    if (typeOf(index.columns.mode[row] ?? 0) !== 'file' || nearestIn(path, tops) !== rootPath) continue
    const entry = entryAt(index, row)
    if (entry.links > 1) {
      if (seen.has(inodeKey(entry))) continue
      seen.add(inodeKey(entry))
    }
    bytes += entry.size
  }
  return bytes
}
