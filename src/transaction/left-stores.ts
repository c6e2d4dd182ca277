// What is left of a stage on a file system that was not mounted when the stage was thrown away: it is removed, or named, before the next one begins.
import { rmSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { printable, rawToBytes } from '../base/raw-text.ts'
import { parentPath, type RawPath } from '../model/raw-path.ts'
import { statusAt, typeOf } from '../stage/fingerprint.ts'
import { type MountPlan, overlaysOf, storeName } from '../stage/mount-plan.ts'
import { isOwnLayer, onHost } from '../stage/stage-folder.ts'
import { namesIn } from '../stage/upper-walk.ts'
import type { Libc } from '../wire/libc.ts'
import type { Workplace } from './workplace.ts'

/** Changes nothing. What is there may be of a stage that is open. */
export function hasLeftStores({ libc }: Pick<Workplace, 'libc'>, plan: MountPlan): boolean {
  return overlaysOf(plan).some(({ layer }) => storeStatus(libc, storeOf(plan, layer)) !== undefined)
}

/**
 * Whoever calls has the one stage of this machine, and has made nothing of it yet: nobody else works there. Layers are of a change that was never made. What a commit
 * kept may be all that is left of a file, of another machine whose disk this is, too: it fails with `exists`, and touches none of it.
 */
export function removeLeftStores(place: Pick<Workplace, 'libc' | 'reporter'>, plan: MountPlan): void {
  for (const { path, layer } of overlaysOf(plan)) {
    const store = storeOf(plan, layer)
    const status = storeStatus(place.libc, store)
    if (status === undefined) continue
    const isOwn = typeOf(status.mode) === 'dir' && status.uid === 0 && (status.mode & 0o077) === 0
    if (!isOwn || namesIn(store).some((name) => name !== 'layers'))
      throw new VmlError(
        'exists',
        `Cannot begin a transaction: "${printable(store)}" holds ${isOwn ? 'what a commit has kept' : "what is not VML's own"}`,
        {
          details: { path: printable(store) },
          hint: 'Nothing was changed. Where the disk is of another machine, vml tx recover there ends that commit; if nobody needs it any more, remove the folder',
        },
      )
    if (!isOwnLayer(plan, onHost(plan, layer)))
      throw new VmlError(
        'exists',
        `Cannot begin a transaction: "${printable(store)}" holds a stage of another system that "${printable(path)}" belongs to, too`,
        {
          details: { path: printable(store) },
          hint: 'Nothing was changed. Wait until the transaction there has ended; if no other system has that file system, remove the folder',
        },
      )
    rmSync(rawToBytes(store), { recursive: true, force: true })
    place.reporter.warn({
      warning: `"${printable(store)}" was removed: it was left of a stage that was thrown away while the file system of "${printable(path)}" was not mounted`,
    })
  }
}

function storeOf(plan: MountPlan, layer: RawPath): RawPath {
  return onHost(plan, parentPath(layer))
}

function storeStatus(libc: Libc, store: RawPath) {
  return store.endsWith(`/${storeName}`) ? statusAt(libc, store) : undefined
}
