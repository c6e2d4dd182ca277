// What is told of a transaction that was cut off by whoever only looks: nothing is mended for it.
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import { type JournalState, readState } from '../stage/journal.ts'
import { isAtWork } from './at-work.ts'
import { pathOfNote, readStageNote } from './stage-note.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'

/** The folder of a stage is there. Undefined where somebody still works on it, or it waits for its commit. */
export function describeLeftBehind(place: Pick<Workplace, 'state'>): string | undefined {
  const folder = openFolder(place)
  const note = readStageNote(pathOfNote(folder))
  if (note && (isAtWork(place, note) || note.waiting === true)) return undefined
  const what = note ? `"${printableText(note.title)}"` : 'A transaction that had not begun'
  switch (stateOf(pathIn(folder, 'journal'))) {
    case 'COMMITTING':
    case 'COMMITTED':
      return `${what} was cut off while it was committed, and what it changed may be in no transaction yet: vml tx recover finishes and records it, vml tx recover --backward takes it back`
    case 'TAKING-BACK':
    case 'TAKEN-BACK':
      return `${what} was cut off while it was taken back: vml tx recover goes on`
    default:
      return `${what} was cut off: vml tx recover ends it, as the next transaction does`
  }
}

/** Of a damaged journal the recovery tells more. */
function stateOf(journal: Parameters<typeof readState>[0]): JournalState | undefined {
  try {
    return readState(journal)
  } catch (error) {
    if (!(error instanceof VmlError)) throw error
    return 'COMMITTING'
  }
}
