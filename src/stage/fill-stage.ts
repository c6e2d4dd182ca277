// Puts a planned change into a stage before it is entered: into the upper folders of its overlays, as the kernel would have written it there (overlayfs.rst).
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { nearestIn, nearestOf, parentPath, rootPath, type RawPath } from '../model/raw-path.ts'
import { here, type Libc } from '../wire/libc.ts'
import { statusAt, typeOf } from './fingerprint.ts'
import { overlaysOf, type MountPlan } from './mount-plan.ts'
import { makeFolderLike, onHost } from './stage-folder.ts'
import { upperOf } from './upper-walk.ts'

/** Nobody may have entered yet. Paths come in the order of their bytes: a folder before what lies in it. */
export interface StageFill {
  /** Where the new thing of this path is to be made; the folders above it are there. */
  placeOf(path: RawPath): RawPath
  /** In the stage nothing is there. */
  remove(path: RawPath): void
}

export function fillStage(plan: MountPlan, libc: Libc): StageFill {
  const mounts = new Map(overlaysOf(plan).map((overlay) => [overlay.path, overlay]))
  const kinds = new Map(plan.mounts.map(({ path, kind }) => [path, kind]))
  // What is gone, or no folder any more, covers all that lies below it.
  const covered = new Set<RawPath>()
  const inUpper = (path: RawPath): RawPath => {
    const mount = nearestIn(path, kinds)
    const overlay = nearestOf(path, mounts)
    if (overlay === undefined || mount === undefined || kinds.get(mount) !== 'overlay')
      throw new VmlError(
        'unsupported',
        `Cannot change "${printable(path)}" in a stage: no overlay lies there`,
        {
          details: { path: printable(path) },
          hint: 'Nothing was changed',
        },
      )
    const rest = overlay.path === rootPath ? path : path.slice(overlay.path.length)
    return `${upperOf(plan, overlay)}${rest === '/' ? '' : rest}` as RawPath
  }
  const makeParents = (path: RawPath): void => {
    const folder = parentPath(path)
    if (folder === path || statusAt(libc, inUpper(folder)) !== undefined) return
    makeParents(folder)
    makeFolderLike(onHost(plan, folder), inUpper(folder), libc)
  }
  return {
    placeOf(path) {
      makeParents(path)
      return inUpper(path)
    },
    remove(path) {
      if (nearestIn(parentPath(path), covered) !== undefined) return
      covered.add(path)
      const folder = statusAt(libc, inUpper(parentPath(path)))
      if (folder !== undefined && typeOf(folder.mode) !== 'dir') return
      makeParents(path)
      libc.makeNodeAt(here, inUpper(path), whiteout)
    },
  }
}

/** A device of characters with the number 0. */
const whiteout = { mode: 0o020000, device: 0n }
