// Which folders the bytes of many files are in, in a few lines.
import { parentPath, rootPath, type RawPath } from '../model/raw-path.ts'

export interface FolderSum {
  readonly path: RawPath
  readonly files: number
  readonly bytes: number
}

/** A folder with less than this share of all bytes counts for the one around it. */
const shareMin = 0.05

/** The largest first, at most `max`. Each file counts once: in the deepest folder that is large enough to be named. */
export function largestFolders(
  files: Iterable<{ readonly path: RawPath; readonly bytes: number }>,
  max: number,
): readonly FolderSum[] {
  const sums = new Map<RawPath, { files: number; bytes: number }>()
  const add = (path: RawPath, count: number, bytes: number) => {
    const sum = sums.get(path)
    if (sum) {
      sum.files += count
      sum.bytes += bytes
    } else sums.set(path, { files: count, bytes })
  }
  let total = 0
  for (const { path, bytes } of files) {
    add(parentPath(path), 1, bytes)
    total += bytes
  }
  for (const folder of [...sums.keys()])
    for (let at = folder; at !== rootPath; at = parentPath(at)) add(parentPath(at), 0, 0)
  const named: FolderSum[] = []
  // A folder comes after what lies in it.
  for (const path of [...sums.keys()].sort().reverse()) {
    const sum = sums.get(path)
    if (!sum || sum.bytes === 0) continue
    if (sum.bytes >= total * shareMin) named.push({ path, ...sum })
    else if (path !== rootPath) add(parentPath(path), sum.files, sum.bytes)
  }
  return named
    .sort((left, right) => right.bytes - left.bytes || (left.path < right.path ? -1 : 1))
    .slice(0, max)
}
