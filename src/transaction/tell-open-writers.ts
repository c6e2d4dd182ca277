// Tells which programs have a file open that a commit, or its take-back, has moved aside.
import { firstFew } from '../base/first-few.ts'
import { printable } from '../base/raw-text.ts'
import type { Journal } from '../stage/journal.ts'
import { findOpenWriters, type WriterSearch } from '../stage/open-writers.ts'
import type { Workplace } from './workplace.ts'

/** Nobody loses it unasked: it is told while the program still has what it wrote. */
export function tellOpenWriters(
  { disk, clock, reporter }: Pick<Workplace, 'disk' | 'clock' | 'reporter'>,
  journal: Journal,
  aside: WriterSearch['aside'],
): void {
  const until = clock.now() + searchMs
  const found = findOpenWriters(disk, journal, { aside, mayGoOn: () => clock.now() < until })
  if (found.length === 0) return
  const named = firstFew(
    found,
    namedMax,
    ({ path, processId, program }) => `${printable(program)} (${processId}): ${printable(path)}`,
  )
  reporter.warn({
    warning: `A program has a file open for writing that was replaced or removed, and what it writes is lost until it opens it again; restart it: ${named}`,
  })
}

const searchMs = 1000
const namedMax = 10
