// File systems that were mounted when the machine was last looked at and are not now: what lies on them can be neither seen nor put back.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { isWithin, parentPath, type RawPath } from '../model/raw-path.ts'
import { statusAt } from '../stage/fingerprint.ts'
import { mountTopsOf } from '../stage/index-rows.ts'
import { entryOf } from '../stage/root-index.ts'
import { type MountPlan, overlaysOf } from '../stage/mount-plan.ts'
import { onHost } from '../stage/stage-folder.ts'
import { readKnownIndex } from './baseline.ts'
import { statusOfPath } from './path-status.ts'
import type { Workplace } from './workplace.ts'

/** Below an empty mount point everything looks as if it were gone: fails with `conflict` where one of the paths lies there. */
export function requireMounted(place: Workplace, paths: readonly RawPath[]): void {
  const known = readKnownIndex(place)
  if (known === undefined) return
  const away = [...mountTopsOf(known.index)].find(
    (top) =>
      paths.some((path) => isWithin(path, top)) &&
      !isMountTop(place, top) &&
      // Numbers of devices change from one start to the next; the folder is still the one that was looked at.
      entryOf(known.index, top)?.inode !== statusOfPath(place, top)?.inode,
  )
  if (away === undefined) return
  throw new VmlError(
    'conflict',
    `Cannot take it back: the file system of "${printable(away)}" is not mounted`,
    {
      details: { path: printable(away) },
      hint: 'Nothing was changed. Mount it, and repeat. If it is gone for good: rm /var/lib/vml/index, and what is there now counts as known',
    },
  )
}

/** What was kept of a change lies on the file system of each path. Without it nothing on it would seem to have changed. */
export function requireStores(place: Workplace, plan: MountPlan): void {
  const away = overlaysOf(plan).find(({ layer }) => statusAt(place.libc, onHost(plan, layer)) === undefined)
  if (away === undefined) return
  throw new VmlError(
    'conflict',
    `Cannot record what was changed: the file system of "${printable(away.path)}" is not mounted`,
    {
      details: { path: printable(away.path) },
      hint: 'What was changed stays. Mount it, then vml tx recover',
    },
  )
}

function isMountTop(place: Workplace, path: RawPath): boolean {
  const [status, above] = [statusOfPath(place, path), statusOfPath(place, parentPath(path))]
  return status !== undefined && status.deviceId !== above?.deviceId
}
