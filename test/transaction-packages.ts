// Real packages of Debian: a machine on which what they changed was taken back after later work, beside one on which it never happened.
import { openChroot, type Chroot, type ChrootOptions } from './chroot.ts'
import { ruleServiceStarts } from './chroot-services.ts'
import { mirrorPackages } from './mirror-packages.ts'
import { openPackageArchive, type PackageArchive, type PackageArchiveOptions } from './package-archive.ts'
import { apt, type KnownTransaction, transactionsOf } from './transaction-bed.ts'
import { type AllowedDifference, compareTrees, renderComparison } from './tree-compare.ts'
import { readTree } from './tree-read.ts'
import { madePerMachine, otherNumbers, regenerated } from './tree-rules.ts'

/** A machine that starts no service, and its archive. */
export interface RealMachine {
  readonly chroot: Chroot
  readonly archive: PackageArchive
  /** Puts into the archive what apt would take for these words, and what is installed of it now. */
  provide(words: readonly string[]): Promise<void>
  /** The same, and then has apt do it. */
  apt(words: readonly string[]): Promise<void>
}

export type MachineStep = (machine: RealMachine) => Promise<void>

export interface RealCase {
  /** Both machines, before anything is recorded. */
  readonly base?: MachineStep
  /** What is taken back; the other machine never sees it. */
  readonly make: MachineStep
  /** Both machines, after it. */
  readonly later: MachineStep
  /** Default: each is taken back, the oldest first. */
  readonly takeBack?: (machine: RealMachine, made: readonly KnownTransaction[]) => Promise<void>
  /** Both machines, at the end. */
  readonly check?: MachineStep
  /** Users and groups that `later` makes, besides one named so. */
  readonly accounts?: readonly string[]
  /** Besides what may always differ. */
  readonly allowed?: readonly AllowedDifference[]
  /** Default: full. */
  readonly chroot?: ChrootOptions
  readonly archive?: PackageArchiveOptions
}

export interface RealResult {
  /** In words; empty where the undo is exact. */
  readonly difference: string
  /** How many differences each rule allowed. */
  readonly allowed: Readonly<Record<string, number>>
  /** What was taken back, as the list has it. */
  readonly transactions: readonly KnownTransaction[]
  /** Of all of them. */
  readonly packages: number
  readonly paths: number
  readonly storedBytes: number
  readonly makeMs: number
  readonly undoMs: number
}

export async function undoRealPackages(real: RealCase): Promise<RealResult> {
  await using undone = await openRealMachine(real)
  const { chroot } = undone
  await real.base?.(undone)
  await chroot.vml(['tx', 'enable'])
  const [makeMs] = await timed(async () => await real.make(undone))
  // What somebody did by hand before, a test's own files say, is recorded, and no part of it.
  const made = (await transactionsOf(chroot)).filter(({ source }) => source !== 'hand').toReversed()
  if (made.length === 0) throw new Error('No transaction was made')
  const incomplete = made.find(({ complete }) => !complete)
  if (incomplete) throw new Error(`#${incomplete.number} (${incomplete.title}) is incomplete`)
  await real.later(undone)
  await workByHand(undone)
  const [undoMs] = await timed(async () => await (real.takeBack ?? oldestFirst)(undone, made))
  await real.check?.(undone)
  await forget(undone)
  const tree = readTree(chroot.path)
  await using never = await openRealMachine(real)
  await real.base?.(never)
  await never.chroot.vml(['tx', 'enable'])
  await real.later(never)
  await workByHand(never)
  await real.check?.(never)
  await forget(never)
  const names = ['later', ...(real.accounts ?? [])]
  const comparison = compareTrees(tree, readTree(never.chroot.path), {
    allowed: [
      ...regenerated,
      ...madePerMachine,
      otherNumbers({ users: names, groups: names }),
      ...(real.allowed ?? []),
    ],
  })
  const sumOf = (part: (transaction: KnownTransaction) => number) =>
    made.reduce((sum, each) => sum + part(each), 0)
  return {
    difference: renderComparison(comparison),
    allowed: Object.fromEntries(comparison.allowed),
    transactions: made,
    packages: sumOf(({ packages }) => packages.length),
    paths: sumOf(({ counts }) => counts.created + counts.changed + counts.deleted),
    storedBytes: sumOf(({ stored_bytes }) => stored_bytes),
    makeMs,
    undoMs,
  }
}

/** Each undo then has later work to keep. */
async function oldestFirst({ chroot }: RealMachine, made: readonly KnownTransaction[]): Promise<void> {
  for (const { number } of made) await chroot.vml(['tx', 'undo', String(number)])
}

/** A line for whoever reads the output of a test. */
export function renderResult(name: string, result: RealResult): string {
  const { transactions, packages, paths, storedBytes, makeMs, undoMs, allowed } = result
  const modes = [...new Set(transactions.map(({ mode }) => mode))].join(' and ')
  const rules = Object.entries(allowed).map(([rule, times]) => `${rule} ${times}`)
  return [
    `${name}: ${transactions.length} ${transactions.length === 1 ? 'transaction' : 'transactions'}, ${modes}`,
    `${packages} packages, ${paths} paths, ${storedBytes} bytes kept`,
    `made in ${(makeMs / 1000).toFixed(1)} s, undone in ${(undoMs / 1000).toFixed(1)} s`,
    `equal but for: ${rules.length === 0 ? 'nothing' : rules.join(', ')}`,
  ].join('; ')
}

export async function openRealMachine({
  chroot: where,
  archive: options,
}: Pick<RealCase, 'chroot' | 'archive'>): Promise<RealMachine & AsyncDisposable> {
  await using resources = new AsyncDisposableStack()
  const chroot = resources.use(await openChroot({ flavour: 'full', ...where }))
  await ruleServiceStarts(chroot, 'forbidden')
  const archive = await openPackageArchive(chroot, options)
  const known = new Set<string>()
  const provide = async (words: readonly string[]) => {
    const files = await mirrorPackages(chroot, words, { installed: true })
    await archive.publishFiles(files.filter((file) => !known.has(file)))
    for (const file of files) known.add(file)
  }
  const owned = resources.move()
  return {
    chroot,
    archive,
    provide,
    apt: async (words) => {
      await provide(words)
      await apt(chroot, words)
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

async function workByHand({ chroot }: RealMachine): Promise<void> {
  await chroot.sh('echo "# mine" >>/etc/bash.bashrc; echo kept >/etc/later.conf; useradd -r later')
}

async function forget({ chroot }: RealMachine): Promise<void> {
  await chroot.vml(['tx', 'disable'])
  await chroot.sh('rm -rf /var/lib/vml /root/.local /root/.cache')
}

async function timed<Result>(work: () => Promise<Result>): Promise<[number, Result]> {
  const began = performance.now()
  const result = await work()
  return [Math.round(performance.now() - began), result]
}
