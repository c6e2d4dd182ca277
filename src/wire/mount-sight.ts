// Which mounts of a table can be reached by their names, and which of them answers for a path (mount_namespaces(7), path_resolution(7)).
import { isWithin, joinPath, pathParts, rootPath, type RawPath } from '../model/raw-path.ts'
import type { MountRow } from './mount-table.ts'

export interface MountSight {
  /** Mounts that no other one hides, parents before what lies in them. */
  readonly visible: readonly MountRow[]
  /** The mount that a path lies on; undefined where the table does not list it, as the root of a chroot that is no mount point. */
  mountOf(path: RawPath): MountRow | undefined
}

/** A path is followed as the kernel does: in each folder the mount that was put there, as often as one was put onto another. */
export function seeMounts(rows: readonly MountRow[]): MountSight {
  const known = new Set(rows.map(({ id }) => id))
  const children = new Map<string, MountRow>()
  const key = (parent: number | undefined, path: RawPath) => `${parent ?? '?'} ${path}`
  // The last one put onto the same parent at the same place is the one that is seen.
  // The row of `/` may be its own parent: the first root file system has none that is listed.
  for (const row of rows) {
    const parent = known.has(row.parent) && row.parent !== row.id ? row.parent : undefined
    children.set(key(parent, row.path), row)
  }
  const mountOf = (path: RawPath): MountRow | undefined => {
    let at: MountRow | undefined
    let here: RawPath = rootPath
    const enter = (): void => {
      // Each step goes to a mount of which the present one is the parent: there are no circles, but a forged table may have some.
      for (let steps = 0; steps <= rows.length; steps++) {
        const next = children.get(key(at?.id, here))
        if (next === undefined) return
        at = next
      }
    }
    enter()
    for (const part of pathParts(path)) {
      here = joinPath(here, part)
      enter()
    }
    return at
  }
  const visible = rows.filter((row) => mountOf(row.path) === row)
  visible.sort((one, other) => (one.path < other.path ? -1 : one.path > other.path ? 1 : 0))
  return { visible, mountOf }
}

/** Seen from a folder that is taken for the root, as in a chroot: what lies below it, with the folder's own mount as `/`. */
export function seeMountsBelow(root: RawPath, rows: readonly MountRow[]): MountSight {
  const sight = seeMounts(rows)
  if (root === rootPath) return sight
  const own = sight.mountOf(root)
  const below = sight.visible.flatMap((row) =>
    row.path !== root && isWithin(row.path, root)
      ? [{ ...row, path: row.path.slice(root.length) as RawPath }]
      : [],
  )
  const rest = own === undefined ? '' : root.slice(own.path === rootPath ? 0 : own.path.length)
  const first =
    own === undefined
      ? []
      : [{ ...own, path: rootPath, inside: `${own.inside === '/' ? '' : own.inside}${rest}` || '/' }]
  const visible = [...first, ...below] as MountRow[]
  const ids = new Set(visible.map(({ id }) => id))
  return seeMounts(visible.map((row) => ({ ...row, parent: ids.has(row.parent) ? row.parent : -1 })))
}
