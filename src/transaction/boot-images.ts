// Boot images that were put together in a stage, by a program that had to know on which device `/` lies: there it lies on an overlay.
import { existsSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { printable, rawToBytes } from '../base/raw-text.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import { inRoot, pathIn, type Workplace } from './workplace.ts'

type Changes = readonly Pick<PathChange, 'path' | 'after'>[]

/** dracut(8): by itself it takes what this host needs, told by the mounts. */
const madeByDracut = /^\/boot\/(?:initramfs-[^/]+\.img|initrd-[^/]+)$/
/** initramfs-tools takes modules for every machine. */
const madeByInitramfsTools = /^\/boot\/initrd\.img-[^/]+$/
/**
 * But what opens an encrypted `/` comes in by the source of the mount (cryptsetup-initramfs, `get_mnt_devno`): where that is not found it warns, makes an image
 * all the same, and the machine does not start with it.
 */
const asksForDevice = pathIn(rootPath, '/usr/share/initramfs-tools/hooks/cryptroot')

/** Fails with `conflict`, before anything is changed, where an image would be committed that may not start the machine. */
export function requireBootImages(place: Pick<Workplace, 'root'>, changes: Changes): void {
  const unsure = madeBlind(changes)
  if (unsure && (!unsure.dependsOn || existsSync(rawToBytes(inRoot(place, unsure.dependsOn)))))
    throw madeInStage(unsure.path)
}

/** An image that may not start the machine, where the other path is there, too. */
export function madeBlind(
  changes: Changes,
): { readonly path: RawPath; readonly dependsOn?: RawPath } | undefined {
  const made = changes.filter(({ after }) => after?.type === 'file').map(({ path }) => path)
  const byDracut = made.find((path) => madeByDracut.test(path))
  if (byDracut !== undefined) return { path: byDracut }
  const path = made.find((each) => madeByInitramfsTools.test(each))
  return path && { path, ...(made.includes(asksForDevice) ? {} : { dependsOn: asksForDevice }) }
}

export function madeInStage(path: RawPath): VmlError {
  return new VmlError(
    'conflict',
    `Cannot commit the transaction: ${printable(path)} was made in a stage, where a boot image cannot know on what "/" lies`,
    {
      details: { path: printable(path) },
      hint: 'Nothing of it was committed. On the machine itself: vml tx run --live',
    },
  )
}
