// How much of a machine a save has read, in words.
import type { EntryStatistics } from '../model/entry.ts'
import { formatCount, plural } from './format.ts'

/** A file that changes while it is read is read again, and one that went meanwhile was read and is not there. */
export function describeRead({ files, filesRead }: Pick<EntryStatistics, 'files' | 'filesRead'>): string {
  const reads = `read ${formatCount(Math.min(files, filesRead))} of ${plural(files, 'file')}`
  return filesRead > files ? `${reads}, some again` : reads
}
