// What lies at some paths of another machine, for a plan that asks a disk. What is not in it is not there: whoever makes it names all that a plan may ask for.
import type { RawText } from '../base/raw-text.ts'
import { baseName, parentPath, rootPath, type RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import { type MountSight, seeMounts } from '../wire/mount-sight.ts'
import { parseMountRows } from '../wire/mount-table.ts'
import type { LookedDisk } from './commit-disk.ts'
import { listedStatus } from './listed-index.ts'

/** `mountInfo` is the machine's own `/proc/self/mountinfo`. */
export function openListedDisk(mountInfo: RawText, things: ReadonlyMap<RawPath, Attributes>): LookedDisk {
  const mountOf = mountNumbers(seeMounts(parseMountRows(mountInfo)))
  const byName = new Map<string, Attributes>(things)
  const names = new Map<string, RawText[]>()
  for (const path of things.keys()) {
    if (path === rootPath) continue
    const folder = parentPath(path)
    const others = names.get(folder)
    if (others) others.push(baseName(path))
    else names.set(folder, [baseName(path)])
  }
  return {
    look(path) {
      const found = byName.get(path)
      return found && listedStatus(found, mountOf(path as string as RawPath))
    },
    list: (folder) => names.get(folder) ?? [],
    readXattrs: (path) => [...(byName.get(path)?.xattrs ?? [])],
  }
}

function mountNumbers({ mountOf }: MountSight): (path: RawPath) => bigint {
  const known = new Map<RawPath, bigint>()
  return (path) => {
    const before = known.get(path)
    if (before !== undefined) return before
    const number = BigInt(mountOf(path)?.id ?? -1)
    known.set(path, number)
    return number
  }
}

/** A path and all folders above it. */
export function* withFoldersAbove(path: RawPath): Iterable<RawPath> {
  for (let at = path; ; at = parentPath(at)) {
    yield at
    if (at === rootPath) return
  }
}
