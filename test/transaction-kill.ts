// Ends a run of VML on a real machine by SIGKILL at a random moment, recovers it, and says what the machine is then.
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Chroot } from './chroot.ts'
import { drawsOf, transactionsOf, until } from './transaction-bed.ts'
import { compareTrees, renderComparison } from './tree-compare.ts'
import { readTree, type Tree } from './tree-read.ts'
import { regenerated } from './tree-rules.ts'

/** A change that can be made and taken back again and again. */
export interface KilledWork {
  readonly name: string
  /** Words of the command whose VML is ended, and what that VML's own words contain. */
  readonly command: readonly string[]
  readonly words: readonly string[]
}

export interface KillTally {
  kills: number
  /** It had ended before the signal came. */
  late: number
  /** Kills while the journal of the commit was there. */
  committing: number
  before: number
  after: number
  byScript: number
}

/**
 * `make` is what is killed, `back` brings the machine to where it was before it. Every second time recover.sh goes first, alone. Fails with
 * the difference where the machine is neither as before nor as after, where its record says otherwise, or where the next one cannot be made.
 */
export async function killAndRecover(
  chroot: Chroot,
  {
    seed,
    times,
    make,
    back,
  }: {
    readonly seed: number
    readonly times: number
    readonly make: KilledWork
    back(chroot: Chroot): Promise<unknown>
  },
): Promise<KillTally> {
  const draw = drawsOf(seed)
  const tally: KillTally = { kills: 0, late: 0, committing: 0, before: 0, after: 0, byScript: 0 }
  const before = readTree(chroot.path)
  const recordsBefore = await count(chroot)
  const took = await timed(async () => await chroot.run(make.command))
  const after = readTree(chroot.path)
  if ((await count(chroot)) === recordsBefore) throw new Error(`${make.name} made no transaction`)
  await back(chroot)
  same(readTree(chroot.path), before, `${make.name}, taken back`)
  let longest = took
  for (let turn = 0; turn < times; turn++) {
    const known = await count(chroot)
    // Most of a run is reading and recording: every second one waits for the commit.
    const atCommit = turn % 2 === 1
    const wait = atCommit ? draw(Math.ceil(longest / 3)) : draw(Math.ceil(longest))
    const state = await killOnce(chroot, make, { wait, atCommit })
    const label = `${make.name}, seed ${seed}, turn ${turn}, ${state.committing ? 'while it was committed' : 'elsewhere'}`
    tally.kills++
    if (state.late) tally.late++
    if (state.committing) tally.committing++
    if (turn % 4 >= 2 && existsSync(join(chroot.path, script))) {
      // Without VML: what it leaves is one of both, and VML agrees with it.
      await chroot.sh(`sh /${script}`, { mayFail: true })
      sideOf(readTree(chroot.path), { before, after }, `${label}, recover.sh`)
      tally.byScript++
    }
    await chroot.vml(['tx', 'recover'])
    const side = sideOf(readTree(chroot.path), { before, after }, `${label}, vml tx recover`)
    const records = (await count(chroot)) - known
    if (records !== (side === 'after' ? 1 : 0))
      throw new Error(`${label}: the machine is as ${side}, and the logbook has ${records} more`)
    await chroot.sh('test -z "$(dpkg --audit)" && apt-get check -qq')
    tally[side]++
    if (side === 'after') await back(chroot)
    if (!atCommit) longest = Math.max(took, wait)
  }
  same(readTree(chroot.path), before, `${make.name}, at the end`)
  return tally
}

const script = 'var/lib/vml/stage/open/journal/recover.sh'
const journal = 'var/lib/vml/stage/open/journal'

async function killOnce(
  chroot: Chroot,
  { command, words }: KilledWork,
  { wait, atCommit }: { readonly wait: number; readonly atCommit: boolean },
): Promise<{ readonly late: boolean; readonly committing: boolean }> {
  const child = chroot.start(command)
  child.stdin.end()
  child.stdout.resume()
  child.stderr.resume()
  const exit = new Promise<void>((resolve) => child.on('exit', () => resolve()))
  const ended = () => child.exitCode !== null || child.signalCode !== null
  const pid = await until(() => processWith(chroot, words) ?? (ended() ? 0 : undefined))
  if (atCommit) await until(() => (ended() || existsSync(join(chroot.path, journal)) ? true : undefined))
  await sleep(wait)
  const committing = existsSync(join(chroot.path, journal))
  let late = pid === 0
  try {
    if (pid !== 0) process.kill(pid, 'SIGKILL')
  } catch {
    late = true
  }
  await exit
  return { late, committing }
}

/** The number by which this computer knows a process of the chroot that was started with these words. */
function processWith(chroot: Chroot, words: readonly string[]): number | undefined {
  const namespace = namespaceOf(dirname(chroot.path))
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const line = readFileSync(`/proc/${name}/cmdline`, 'latin1').split('\0')
      if (!line[0]?.endsWith('/node') || !words.every((word) => line.includes(word))) continue
      if (namespaceOf(`/proc/${name}`) === namespace) return Number(name)
    } catch {
      // It has ended meanwhile.
    }
  }
  return undefined
}

function namespaceOf(folder: string): string {
  return readlinkSync(join(folder, 'ns/pid'))
}

function sideOf(
  now: Tree,
  { before, after }: { readonly before: Tree; readonly after: Tree },
  label: string,
): 'before' | 'after' {
  const toBefore = differences(now, before)
  if (toBefore === '') return 'before'
  const toAfter = differences(now, after)
  if (toAfter === '') return 'after'
  throw new Error(`${label}: neither before:\n${toBefore}\nnor after:\n${toAfter}`)
}

function same(now: Tree, wanted: Tree, label: string): void {
  const text = differences(now, wanted)
  if (text !== '') throw new Error(`${label}:\n${text}`)
}

function differences(one: Tree, other: Tree): string {
  return renderComparison(compareTrees(one, other, { allowed: regenerated }))
}

async function count(chroot: Chroot): Promise<number> {
  return (await transactionsOf(chroot)).length
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}
