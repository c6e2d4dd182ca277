// The transactions that a kill comes into: the end of a run of apt, an undo, and an undo of an installation.
import { openChroot } from './chroot.ts'
import { openPackageArchive } from './package-archive.ts'
import { exactly, tinyKinds } from './tiny-kinds.ts'
import { apt, transactionsOf } from './transaction-bed.ts'
import { killAndRecover, type KillTally } from './transaction-kill.ts'

export type KillCase = 'the end of an upgrade' | 'the undo of an upgrade' | 'the undo of an installation'

const names = [
  'tiny-plain',
  'tiny-hardlink',
  'tiny-diversion',
  'tiny-alternative',
  'tiny-rights',
  'tiny-swap',
  'tiny-user',
]
const kinds = tinyKinds.filter(({ name }) => names.includes(name))

export async function killCase(
  what: KillCase,
  { seed, times }: { readonly seed: number; readonly times: number },
): Promise<KillTally> {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(...kinds.flatMap((kind) => kind.packages(1)))
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', ...kinds.flatMap((kind) => exactly(kind, 1))])
  await archive.publish(...kinds.flatMap((kind) => kind.packages(2)))
  const upgrade = ['install', ...kinds.flatMap((kind) => exactly(kind, 2))]
  const newest = async () => String((await transactionsOf(chroot))[0]?.number)
  if (what === 'the end of an upgrade')
    return await killAndRecover(chroot, {
      seed,
      times,
      make: { name: what, command: ['apt-get', '-y', '-q', ...upgrade], words: ['tx', 'hook', 'end'] },
      back: async () => await chroot.vml(['tx', 'undo', await newest()]),
    })
  if (what === 'the undo of an upgrade') await apt(chroot, upgrade)
  const number = await newest()
  return await killAndRecover(chroot, {
    seed,
    times,
    make: { name: what, command: ['/usr/bin/vml', 'tx', 'undo', number], words: ['tx', 'undo'] },
    back: async () => await chroot.vml(['tx', 'redo', number]),
  })
}
