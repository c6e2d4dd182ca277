// Which paths of a machine lead to VML's own folder: a bind mount, a file system mounted twice or a subvolume shows it at a second one.
import { isWithin, outermost, rootPath, type RawPath } from '../model/raw-path.ts'
import type { MountSight } from '../wire/mount-sight.ts'

/**
 * Pure. `state` first, then all other paths at which it, or what is mounted in it, can be seen. A folder has one place on its file system, and the table tells
 * which place each mount shows. `besides` are folders that links in it lead to, without links on the way.
 */
export function ownFolders(
  sight: MountSight,
  state: RawPath,
  besides: readonly RawPath[] = [],
): readonly RawPath[] {
  const named = [state, ...besides]
  const mounted = sight.visible.filter(({ path }) => named.some((folder) => isWithin(path, folder)))
  const found = new Set(named)
  for (const folder of [...named, ...mounted.map(({ path }) => path)])
    for (const view of viewsOf(sight, folder)) found.add(view)
  // What holds the state folder is the machine's, whatever is mounted or linked where.
  const own = [...found].filter((path) => path === state || !isWithin(state, path))
  return outermost(own)
}

function viewsOf(sight: MountSight, folder: RawPath): RawPath[] {
  const holder = sight.mountOf(folder)
  if (holder === undefined) return []
  const place = moved(folder, holder.path, holder.inside as RawPath)
  return sight.visible.flatMap((row) => {
    const inside = row.inside as RawPath
    if (row.device !== holder.device || !isWithin(place, inside)) return []
    const path = moved(place, inside, row.path)
    // Another mount may lie on it there.
    return sight.mountOf(path) === row ? [path] : []
  })
}

/** A path below `from`, as it is below `to`. */
function moved(path: RawPath, from: RawPath, to: RawPath): RawPath {
  const rest = from === rootPath ? path : path.slice(from.length)
  return (`${to === rootPath ? '' : to}${rest === rootPath ? '' : rest}` || rootPath) as RawPath
}
