// Ground truth for an undo (tx.md 3.1): a machine on which a transaction was taken back, beside one on which it never ran.
import type { Chroot, ChrootOptions } from './chroot.ts'
import { openChroot } from './chroot.ts'
import { openPackageArchive, type PackageArchiveOptions } from './package-archive.ts'
import { exactly } from './tiny-kinds.ts'
import type { TinyKind } from './tiny-packages.ts'
import { apt, transactionsOf } from './transaction-bed.ts'
import { compareTrees, renderComparison } from './tree-compare.ts'
import { readTree } from './tree-read.ts'
import { otherNumbers, regenerated } from './tree-rules.ts'

export type TruthAction = 'install' | 'upgrade' | 'downgrade' | 'remove' | 'purge'

export interface TruthCase {
  /** Each is one transaction that is taken back. */
  readonly kinds: readonly TinyKind[]
  readonly action: TruthAction
  /** Default: staged. */
  readonly mode?: 'staged' | 'live'
  readonly archive?: PackageArchiveOptions
  readonly chroot?: ChrootOptions
  /** For `/bin/sh`, on both machines before anything else, such as further mounts. */
  readonly prepare?: string
  /** The order in which they are taken back; default: as they were made. */
  readonly order?: (numbers: readonly number[]) => readonly number[]
}

/** What the two machines differ in, in words; empty where the undo is exact. */
export async function differenceToTruth(truth: TruthCase): Promise<string> {
  await using resources = new AsyncDisposableStack()
  // Both are waited for, whatever becomes of the other: a chroot that nobody has is never taken away.
  const played = await Promise.allSettled([play(truth, true), play(truth, false)])
  for (const each of played) if (each.status === 'fulfilled') resources.use(each.value)
  const [undone, never] = played.map((each) => {
    if (each.status === 'rejected') throw each.reason
    return each.value
  })
  if (undone === undefined || never === undefined) throw new Error('Two machines are compared')
  const comparison = compareTrees(readTree(undone.path), readTree(never.path), {
    allowed: [...regenerated, otherNumbers({ users: ['later'], groups: ['later'] })],
  })
  return renderComparison(comparison)
}

async function play(truth: TruthCase, withIt: boolean): Promise<Chroot> {
  const { kinds, action, mode = 'staged', archive: options, chroot: where, order } = truth
  await using resources = new AsyncDisposableStack()
  const chroot = resources.use(await openChroot(where))
  if (truth.prepare !== undefined) await chroot.sh(`set -e; ${truth.prepare}`)
  const archive = await openPackageArchive(chroot, options)
  await archive.publish(...kinds.flatMap((kind) => kind.packages(action === 'downgrade' ? 2 : 1)), later)
  if (mode === 'live') await chroot.sh('mkdir /etc/vml && echo "* for a test" >/etc/vml/live-packages')
  // The other machine never had VML at all.
  if (withIt) await chroot.vml(['tx', 'enable'])
  const base = action === 'install' ? undefined : action === 'downgrade' ? 2 : 1
  if (base !== undefined) await apt(chroot, ['install', ...kinds.flatMap((kind) => exactly(kind, base))])
  if (action === 'upgrade') await publish(archive, kinds, 2)
  if (action === 'downgrade') await publish(archive, kinds, 1)
  const numbers: number[] = []
  if (withIt)
    for (const kind of kinds) {
      const before = await highest(chroot)
      await apt(chroot, wordsOf(kind, action))
      const after = await highest(chroot)
      if (after !== before) numbers.push(after)
    }
  await apt(chroot, ['install', 'tiny-later'])
  await chroot.sh(
    'useradd -r later && echo "# mine" >>/etc/bash.bashrc && sed -i "1i10.0.0.9 later" /etc/hosts && echo kept >/etc/later.conf',
  )
  if (withIt) await requireModes(chroot, numbers, truth)
  for (const number of order?.(numbers) ?? numbers) await chroot.vml(['tx', 'undo', String(number)])
  if (withIt) await chroot.vml(['tx', 'disable'])
  await chroot.sh('rm -rf /var/lib/vml /root/.local /root/.cache')
  resources.move()
  return chroot
}

async function requireModes(
  chroot: Chroot,
  numbers: readonly number[],
  { kinds, mode = 'staged' }: TruthCase,
): Promise<void> {
  if (numbers.length !== kinds.length)
    throw new Error(`${kinds.length} runs of apt gave ${numbers.length} transactions`)
  const wrong = (await transactionsOf(chroot)).find(
    (each) => numbers.includes(each.number) && each.mode !== mode,
  )
  if (wrong) throw new Error(`#${wrong.number} was to be ${mode}: ${wrong.title}`)
}

async function publish(
  archive: Awaited<ReturnType<typeof openPackageArchive>>,
  kinds: readonly TinyKind[],
  version: number,
): Promise<void> {
  await archive.publish(...kinds.flatMap((kind) => kind.packages(version)))
}

function wordsOf(kind: TinyKind, action: TruthAction): string[] {
  switch (action) {
    case 'install':
      return ['install', ...exactly(kind, 1)]
    case 'upgrade':
      return ['install', ...exactly(kind, 2)]
    case 'downgrade':
      return ['install', '--allow-downgrades', ...exactly(kind, 1)]
    case 'remove':
    case 'purge':
      return [action, ...kind.packages(1).map(({ name }) => name)]
  }
}

async function highest(chroot: Chroot): Promise<number> {
  return (await transactionsOf(chroot))[0]?.number ?? 0
}

const later = { name: 'tiny-later', version: '1', files: { '/usr/bin/tiny-later': 'later\n' } }
