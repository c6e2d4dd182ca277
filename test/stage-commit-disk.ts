// A disk of which each call that changes something is told, before it is made.
import type { CommitDisk } from '../src/stage/commit-disk.ts'

export type DiskChange = Exclude<keyof CommitDisk, 'look' | 'list' | 'readXattrs' | 'listXattrs'>

const changes: readonly DiskChange[] = [
  'link',
  'rename',
  'renameNew',
  'exchange',
  'remove',
  'makeFolder',
  'makeNode',
  'copyLink',
  'writeFile',
  'copyFile',
  'setMode',
  'setOwner',
  'setMtime',
  'setXattr',
  'removeXattr',
  'syncFolder',
  'syncDisk',
]

export function watchedDisk(
  disk: CommitDisk,
  before: (call: DiskChange, args: readonly unknown[]) => void,
): CommitDisk {
  const watched = Object.fromEntries(
    changes.map((call) => [
      call,
      (...args: unknown[]) => {
        before(call, args)
        return Reflect.apply(disk[call], disk, args)
      },
    ]),
  )
  return { ...disk, ...watched }
}
