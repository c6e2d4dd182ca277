// Folders of this host by open descriptors: reached name by name, so that no link on the way is ever followed.
import { constants } from 'node:fs'
import { baseName, joinPath, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { RawText } from '../base/raw-text.ts'
import { here, type Libc, openPathOnly } from '../wire/libc.ts'

export interface LocalFolders extends Disposable {
  /**
   * A descriptor for calls relative to it (O_PATH), good until the next `open`. Fails with `ENOTDIR` where the folder, or one
   * above it, is a link or a file.
   */
  open(path: RawPath): number
  /** The path's own folder, and what it is called there. The root has none. */
  openParent(path: RawPath): { readonly folder: number; readonly name: RawText }
  /** Forgets what is open: the next look goes by the names again. */
  clear(): void
}

/** Of one thread; two files of a pack mostly lie in one folder. */
const openMax = 64

const flags = openPathOnly | constants.O_DIRECTORY | constants.O_NOFOLLOW

export function openLocalFolders(libc: Libc): LocalFolders {
  // The last ones are the ones used last.
  const known = new Map<RawPath, number>()

  const clear = () => {
    for (const folder of known.values()) libc.close(folder)
    known.clear()
  }
  const walk = (path: RawPath): number => {
    const names: RawText[] = []
    let above = path
    for (; above !== rootPath && !known.has(above); above = parentPath(above)) names.push(baseName(above))
    const start = known.get(above)
    let at = start ?? libc.openAt(here, rootPath, flags)
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      let next: number
      try {
        next = libc.openAt(at, name, flags)
      } finally {
        if (at !== start) libc.close(at)
      }
      at = next
    }
    return at
  }
  const open = (path: RawPath): number => {
    const found = known.get(path)
    if (found !== undefined) {
      known.delete(path)
      known.set(path, found)
      return found
    }
    const folder = walk(path)
    known.set(path, folder)
    const [oldest] = known
    if (known.size > openMax && oldest) {
      libc.close(oldest[1])
      known.delete(oldest[0])
    }
    return folder
  }
  return {
    open,
    openParent: (path) => ({ folder: open(parentPath(path)), name: baseName(path) }),
    clear,
    [Symbol.dispose]: clear,
  }
}

/** A path that leads to what lies in an open folder, and to nothing else, for calls that take no descriptor. */
export function pathThrough(folder: number, name: RawText): RawPath {
  return joinPath(`/proc/self/fd/${folder}` as RawPath, name as Parameters<typeof joinPath>[1])
}
