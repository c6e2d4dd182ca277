// Reads what changed into the store, in rounds, until it held still.
import { printable } from '../base/raw-text.ts'
import type { Writer } from '../store/store.ts'
import { readHere } from './capture-read-here.ts'
import { readStream } from './capture-read-stream.ts'
import { addProblem, forget, type Run } from './capture-run.ts'
import type { Row } from './listing-row.ts'

/** A file that changes while it is read is read this often, then kept with a warning. */
const readsMax = 3

/** Reads in rounds: what moved while it was read is read again, and kept with a warning after the last round. */
export async function readChanged(run: Run, writer: Writer, changed: readonly Row[]): Promise<void> {
  const { local } = run.request.source
  let wanted = changed
  for (let round = 1; wanted.length > 0; round++) {
    const moved = local
      ? await readHere(run, writer, { wanted, local })
      : await readStream(run, writer, wanted)
    if (round === readsMax) {
      for (const row of moved) keepAsRead(run, row)
      return
    }
    wanted = moved
  }
}

function keepAsRead(run: Run, row: Row): void {
  const path = run.listing.path(row)
  if (!run.files.has(row)) {
    addProblem(run, path, 'unreadable', 'It became another kind of file each time it was read')
    forget(run, path)
    return
  }
  addProblem(run, path, 'changed-while-read')
  run.request.reporter.warn({
    warning: 'Changed while it was read; kept as it was read last',
    item: printable(path),
  })
}
