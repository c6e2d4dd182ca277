// Whether the files that deltas were made against are what they were.
import type { RecordKeeping } from './keep-records.ts'
import { comparePins, dropPins, notePins } from './pins.ts'

/**
 * Files that deltas were made against and that were written into are found by inode, size and time, or with `all` by their content; records that
 * stand on them are said to be incomplete. Gives the number of records that were.
 */
export async function checkPins(keeping: RecordKeeping, { all = false } = {}): Promise<number> {
  const { place } = keeping
  const { altered, notes } = await comparePins(place, { all })
  const count = altered.length === 0 && !all ? 0 : await settle(keeping, altered)
  // Once it is marked: cut off before, they are found again.
  dropPins(place, altered)
  await notePins(place, notes)
  return count
}

/** Each run of apt asks, and nearly none finds one: what rewrites records is imported then. */
async function settle(keeping: RecordKeeping, altered: readonly string[]): Promise<number> {
  const { settleDeltas } = await import('./keep-records.ts')
  return await settleDeltas(keeping, new Set(altered))
}
