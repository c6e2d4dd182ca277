// What each file system has its own way with (rights, links, types, whole folders), on each that can hold a stage, with folders on mounts of their own.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ChrootOptions } from '../chroot.ts'
import { tinyKinds } from '../tiny-kinds.ts'
import { differenceToTruth } from '../transaction-truth.ts'

const kinds = tinyKinds.filter(({ name }) =>
  ['tiny-plain', 'tiny-conffile', 'tiny-hardlink', 'tiny-rights', 'tiny-swap', 'tiny-user'].includes(name),
)

interface Place {
  readonly name: string
  readonly chroot: ChrootOptions
  readonly prepare?: string
}

/** The same folder by two names: what lies in it is told by one of them. */
const boundShare = `mkdir /data && cp -a /usr/share /data/share && find /usr/share -mindepth 1 -delete
  mount --bind /data/share /usr/share`

const places: readonly Place[] = [
  { name: 'ext4, /var and /home on others', chroot: { fileSystem: 'ext4', apart: ['/var', '/home'] } },
  { name: 'xfs, /usr and /var on others', chroot: { fileSystem: 'xfs', apart: ['/usr', '/var'] } },
  {
    name: 'btrfs, /var and /home in subvolumes, /usr/share bound',
    chroot: { fileSystem: 'btrfs', apart: ['/var', '/home'] },
    prepare: boundShare,
  },
  {
    name: 'btrfs, /var/lib in a subvolume',
    chroot: { fileSystem: 'btrfs', apart: ['/var/lib'] },
  },
  { name: 'tmpfs', chroot: { fileSystem: 'tmpfs' } },
]

for (const { name, chroot, prepare } of places)
  for (const mode of ['staged', 'live'] as const)
    for (const action of ['upgrade', 'purge'] as const)
      test(`${action}, ${mode}, is taken back on ${name}`, async (context) => {
        const difference = await differenceToTruth({
          kinds,
          action,
          mode,
          chroot,
          // The newest is the first to go: any order is for transaction-truth.test.ts.
          order: (numbers) => numbers.toReversed(),
          ...(prepare === undefined ? {} : { prepare }),
        })
        assert.equal(difference, '')
        context.diagnostic(`${action}, ${mode}, ${name}: ${kinds.length} transactions taken back`)
      })
