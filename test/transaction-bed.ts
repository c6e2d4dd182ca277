// What tests of whole transactions do on a machine: enabling them, runs of apt, the list of what was recorded.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Chroot, RunResult } from './chroot.ts'

export interface KnownTransaction {
  readonly number: number
  readonly source: string
  readonly title: string
  readonly mode: 'staged' | 'live'
  readonly complete: boolean
  readonly stored_bytes: number
  readonly undone_by: number | null
  readonly packages: readonly { readonly name: string }[]
  readonly counts: { readonly created: number; readonly changed: number; readonly deleted: number }
}

export async function apt(chroot: Chroot, words: readonly string[]): Promise<RunResult> {
  return await chroot.run(['apt-get', '-y', '-q', ...words])
}

/** Newest first. */
export async function transactionsOf(chroot: Chroot): Promise<readonly KnownTransaction[]> {
  const { stdout } = await chroot.vml(['tx', 'list', '--json'])
  const { transactions }: { transactions: readonly KnownTransaction[] } = JSON.parse(stdout)
  return transactions
}

/** Numbers that a seed gives, the same each time (xorshift32); below `limit`. */
export function drawsOf(seed: number): (limit: number) => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1
  return (limit) => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % limit
  }
}

/** Until it is there; fails when that lasts longer than any machine would take. */
export async function until<Found>(look: () => Found | undefined): Promise<Found> {
  for (let turn = 0; turn < turnsMax; turn++) {
    const found = look()
    if (found !== undefined) return found
    await sleep(1)
  }
  throw new Error('What was waited for did not come')
}

/** Two minutes at least. */
const turnsMax = 120_000
