// An undo that is put into a stage, beside the same undo that is not: every kind of package goes back in both, and only one hands data over.
import { type ChrootOptions, openChroot } from './chroot.ts'
import { openPackageArchive } from './package-archive.ts'
import { setHook, tinyData, tinyDataHook } from './tiny-data.ts'
import { exactly, tinyKinds } from './tiny-kinds.ts'
import { apt, transactionsOf } from './transaction-bed.ts'
import { type AllowedDifference, compareTrees, renderComparison } from './tree-compare.ts'
import { readTree } from './tree-read.ts'
import { regenerated } from './tree-rules.ts'

export interface FilledStage {
  /** What differs after it, but for the data that was handed over. */
  readonly difference: string
  /** What differs from the machine before it when it was brought back. */
  readonly redone: string
  /** Of the data after it. */
  readonly form: string
}

const handedOver: AllowedDifference = {
  name: 'data',
  allows: ({ path }) => path.startsWith('/var/lib/tiny-data/'),
}

export async function undoInStage(options: ChrootOptions = {}): Promise<FilledStage> {
  await using chroot = await openChroot(options)
  const archive = await openPackageArchive(chroot)
  const packages = (version: number) => [
    ...tinyKinds.flatMap((kind) => kind.packages(version)),
    tinyData(version),
  ]
  const words = (version: number) => [
    'install',
    ...tinyKinds.flatMap((kind) => exactly(kind, version)),
    `tiny-data=${version}`,
  ]
  await archive.publish(...packages(1))
  await setHook(chroot, { ...tinyDataHook, package: 'tiny-data', data: ['/var/lib/tiny-data'] })
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, words(1))
  await archive.publish(...packages(2))
  await apt(chroot, words(2))
  const number = String((await transactionsOf(chroot))[0]?.number)
  // A file that both sides changed, so that something is put beside it; later work where the transaction wrote, too.
  await chroot.sh(
    'tiny-data add two; sed -i "s/^version = .*/version = mine/" /etc/tiny-conffile/main.conf; mkdir /etc/later; echo later >>/etc/hosts; useradd -r later',
  )
  const undo = async (kind: 'undo' | 'redo', ...more: readonly string[]) => {
    // What stays as it is is told by its status.
    const { status, stderr } = await chroot.vml(['tx', kind, number, ...more], { mayFail: true })
    if (status !== 0 && status !== 3) throw new Error(stderr)
    return readTree(chroot.path)
  }
  const upgraded = readTree(chroot.path)
  const plain = await undo('undo', '--leave-data')
  await undo('redo', '--leave-data')
  const staged = await undo('undo')
  const { stdout: form } = await chroot.sh('cat /var/lib/tiny-data/form')
  const again = await undo('redo')
  const allowed = [...regenerated, handedOver]
  return {
    difference: renderComparison(compareTrees(staged, plain, { allowed })),
    redone: renderComparison(compareTrees(again, upgraded, { allowed: regenerated })),
    form: form.trim(),
  }
}
