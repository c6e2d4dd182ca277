// Real packages of Debian, each a transaction that is taken back after later work, beside a machine on which it never ran.
import { openChroot, type Chroot } from './chroot.ts'
import { ruleServiceStarts } from './chroot-services.ts'
import { mirrorPackages } from './mirror-packages.ts'
import { openPackageArchive } from './package-archive.ts'
import { apt, transactionsOf } from './transaction-bed.ts'
import { compareTrees, renderComparison } from './tree-compare.ts'
import { readTree } from './tree-read.ts'
import { madePerMachine, otherNumbers, regenerated } from './tree-rules.ts'

export interface RealCase {
  /** For apt-get. */
  readonly words: readonly string[]
  /** What comes after it, on both machines. */
  readonly later: readonly string[]
  /** Users and groups that `later` makes. */
  readonly accounts?: readonly string[]
}

export interface RealResult {
  readonly difference: string
  readonly packages: number
  readonly paths: number
  /** What the record costs, and what all that was there before would. */
  readonly logbookBytes: number
  readonly aptMs: number
  readonly undoMs: number
}

export async function undoRealPackages({ words, later, accounts = [] }: RealCase): Promise<RealResult> {
  await using undone = await openMachine()
  await using never = await openMachine()
  const files = [
    ...(await mirrorPackages(undone, words, { installed: true })),
    ...(await mirrorPackages(never, later, { installed: true })),
  ]
  for (const chroot of [undone, never]) {
    const archive = await openPackageArchive(chroot)
    await archive.publishFiles([...new Set(files)])
    await chroot.vml(['tx', 'enable'])
  }
  const [aptMs] = await timed(async () => await apt(undone, words))
  const [made] = await transactionsOf(undone)
  if (made === undefined) throw new Error(`apt-get ${words.join(' ')} made no transaction`)
  const logbookBytes = await sizeOf(undone)
  for (const chroot of [undone, never]) {
    await apt(chroot, later)
    await chroot.sh('echo "# mine" >>/etc/bash.bashrc; echo kept >/etc/later.conf; useradd -r later')
  }
  const [undoMs] = await timed(async () => await undone.vml(['tx', 'undo', String(made.number)]))
  for (const chroot of [undone, never]) {
    await chroot.vml(['tx', 'disable'])
    await chroot.sh('rm -rf /var/lib/vml /root/.local /root/.cache')
  }
  const names = ['later', ...accounts]
  const comparison = compareTrees(readTree(undone.path), readTree(never.path), {
    allowed: [...regenerated, ...madePerMachine, otherNumbers({ users: names, groups: names })],
  })
  return {
    difference: renderComparison(comparison),
    packages: made.packages.length,
    paths: made.counts.created + made.counts.changed + made.counts.deleted,
    logbookBytes,
    aptMs,
    undoMs,
  }
}

/** A machine that starts nothing. */
async function openMachine(): Promise<Chroot> {
  const chroot = await openChroot({ flavour: 'full' })
  await ruleServiceStarts(chroot, 'forbidden')
  return chroot
}

async function sizeOf(chroot: Chroot): Promise<number> {
  const { stdout } = await chroot.sh('du -sb /var/lib/vml')
  return Number(stdout.split('\t')[0])
}

async function timed<Result>(work: () => Promise<Result>): Promise<[number, Result]> {
  const began = performance.now()
  const result = await work()
  return [Math.round(performance.now() - began), result]
}
