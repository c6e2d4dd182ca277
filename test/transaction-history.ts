// Random histories of a machine: packages come, change and go, files are edited, transactions are taken back and brought back; what must hold is asked after each step.
import { openChroot, type Chroot, type ChrootOptions } from './chroot.ts'
import { openPackageArchive } from './package-archive.ts'
import { exactly, tinyKinds } from './tiny-kinds.ts'
import { drawsOf, transactionsOf, type KnownTransaction } from './transaction-bed.ts'
import { compareTrees, renderComparison } from './tree-compare.ts'
import { readTree } from './tree-read.ts'
import { regenerated } from './tree-rules.ts'

export interface HistoryTally {
  steps: number
  changes: number
  edits: number
  undone: number
  redone: number
  /** Undone, at once redone, and everything was as before. */
  identities: number
  /** What stood in the way was named, and nothing was changed. */
  refused: number
  /** Taken back but for paths that were changed since, which are left beside. */
  conflicts: number
}

export function newTally(): HistoryTally {
  return { steps: 0, changes: 0, edits: 0, undone: 0, redone: 0, identities: 0, refused: 0, conflicts: 0 }
}

/** Versions of each kind that the archive has. */
const versionsMax = 3
/** `conflict` of base/failure.ts: the only failure of an undo that a history may have. */
const conflictStatus = 14
/** Some paths were changed since, and stay. */
const partialStatus = 3

/** Fails with the whole history where anything does not hold. */
export async function runHistory(
  {
    seed,
    steps,
    chroot: options = {},
  }: { readonly seed: number; readonly steps: number; readonly chroot?: ChrootOptions },
  tally: HistoryTally,
): Promise<void> {
  const draw = drawsOf(seed)
  const done: string[] = []
  await using chroot = await openChroot(options)
  const archive = await openPackageArchive(chroot)
  await archive.publish(
    ...tinyKinds.flatMap((kind) =>
      Array.from({ length: versionsMax }, (_, index) => kind.packages(index + 1)).flat(),
    ),
  )
  await chroot.vml(['tx', 'enable'])
  try {
    for (let step = 0; step < steps; step++) {
      done.push(await oneStep(chroot, draw, tally))
      tally.steps++
      await requireWhole(chroot, draw)
    }
  } catch (error) {
    throw new Error(
      `History of seed ${seed}:\n${done.map((line) => `  ${line}\n`).join('')}${String(error)}`,
      {
        cause: error,
      },
    )
  }
}

async function oneStep(
  chroot: Chroot,
  draw: (limit: number) => number,
  tally: HistoryTally,
): Promise<string> {
  const known = await transactionsOf(chroot)
  const undoable = known.filter(
    ({ undone_by, source }) => undone_by === null && source !== 'undo' && source !== 'redo',
  )
  const undone = known.filter(
    ({ undone_by, source }) => undone_by !== null && source !== 'undo' && source !== 'redo',
  )
  const what = draw(10)
  if (what < 3 && undoable.length > 0) return await takeBack(chroot, draw, undoable, tally)
  if (what < 5 && undone.length > 0) {
    const { number, title } = pick(draw, undone)
    return `redo #${number} (${title}): ${await asked(chroot, ['tx', 'redo', String(number)], tally, 'redone')}`
  }
  if (what === 5) {
    const line = `# edited ${draw(1000)}`
    const path = pick(draw, [
      '/etc/hosts',
      '/etc/adduser.conf',
      '/etc/tiny-conffile/main.conf',
      '/etc/bash.bashrc',
    ])
    await chroot.sh(`[ ! -e ${path} ] || echo '${line}' >>${path}`)
    tally.edits++
    return `${line} in ${path}`
  }
  const kind = pick(draw, tinyKinds)
  const version = draw(versionsMax) + 1
  const words =
    draw(4) === 0
      ? [pick(draw, ['remove', 'purge']), ...kind.packages(version).map(({ name }) => name)]
      : ['install', '--allow-downgrades', ...exactly(kind, version)]
  const line = `apt-get ${words.join(' ')}`
  const { status, stdout, stderr } = await chroot.run(
    ['apt-get', '-y', '-q', '-o', 'Dpkg::Options::=--force-confold', ...words],
    { mayFail: true },
  )
  if (status !== 0) throw new Error(`${line} ended with ${status}\n${stdout}${stderr}`)
  tally.changes++
  return line
}

/** Every second time it is brought back at once: then nothing is different from before (I5). */
async function takeBack(
  chroot: Chroot,
  draw: (limit: number) => number,
  undoable: readonly KnownTransaction[],
  tally: HistoryTally,
): Promise<string> {
  const { number, title } = pick(draw, undoable)
  const before = readTree(chroot.path)
  const outcome = await asked(chroot, ['tx', 'undo', String(number)], tally, 'undone')
  const line = `undo #${number} (${title}): ${outcome}`
  if (outcome === 'refused') {
    requireSame(chroot, before, `${line}, which changes nothing`)
    return line
  }
  if (outcome !== 'done' || draw(2) === 0) return line
  const [newest] = await transactionsOf(chroot)
  // Everything may have been as before already: then there is nothing to bring back.
  if (newest === undefined || newest.source !== 'undo' || newest.undone_by !== null) return line
  const back = await chroot.vml(['tx', 'undo', String(newest.number)], { mayFail: true })
  if (back.status !== 0)
    throw new Error(`${line}, and back at once: ${back.status}\n${back.stdout}${back.stderr}`)
  requireSame(chroot, before, `${line}, and back at once`)
  tally.identities++
  return `${line}, and back at once`
}

async function asked(
  chroot: Chroot,
  words: readonly string[],
  tally: HistoryTally,
  counts: 'undone' | 'redone',
): Promise<'done' | 'refused' | 'conflict'> {
  const { status, stdout, stderr } = await chroot.vml(words, { mayFail: true })
  if (status === conflictStatus) {
    tally.refused++
    return 'refused'
  }
  if (status !== 0 && status !== partialStatus)
    throw new Error(`vml ${words.join(' ')} ended with ${status}\n${stdout}${stderr}`)
  tally[counts]++
  if (status === 0) return 'done'
  tally.conflicts++
  return 'conflict'
}

/** I1, I2, I4, I7, as far as they can be seen from outside. */
async function requireWhole(chroot: Chroot, draw: (limit: number) => number): Promise<void> {
  const { stdout, stderr } = await chroot.sh('dpkg --audit; apt-get check -qq', { mayFail: true })
  if (`${stdout}${stderr}` !== '') throw new Error(`The packages are not whole: ${stdout}${stderr}`)
  const known = await transactionsOf(chroot)
  const incomplete = known.find(({ complete }) => !complete)
  if (incomplete) throw new Error(`#${incomplete.number} is not complete`)
  const open = known.filter(({ undone_by }) => undone_by === null)
  if (open.length === 0) return
  const { number } = pick(draw, open)
  const dry = await chroot.vml(['tx', 'undo', String(number), '--dry-run'], { mayFail: true })
  if (dry.status !== 0 && dry.status !== conflictStatus)
    throw new Error(`vml tx undo ${number} --dry-run ended with ${dry.status}\n${dry.stdout}${dry.stderr}`)
}

function requireSame(chroot: Chroot, before: ReturnType<typeof readTree>, label: string): void {
  const text = renderComparison(compareTrees(readTree(chroot.path), before, { allowed: regenerated }))
  if (text !== '') throw new Error(`${label}:\n${text}`)
}

function pick<Item>(draw: (limit: number) => number, from: readonly Item[]): Item {
  const item = from[draw(from.length)]
  if (item === undefined) throw new Error('There is nothing to choose from')
  return item
}
