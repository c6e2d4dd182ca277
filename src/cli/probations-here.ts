// Which of this machine's own transactions are on probation now.
import { systemFolder } from '../app/system-logbook.ts'
import { isFailure } from '../base/failure.ts'
import { rootPath } from '../model/raw-path.ts'
import {
  isAbandoned,
  numbersOnProbation,
  type ProbationNote,
  readProbation,
} from '../transaction/probation-note.ts'
import { pathIn, type Workplace } from '../transaction/workplace.ts'
import type { Probation, ProbationOf } from './probation-state.ts'

type Place = Pick<Workplace, 'state'>

export function readProbationsHere(): ProbationOf {
  const place = { state: pathIn(rootPath, systemFolder) }
  const found = new Map(
    numbersOnProbation(place).flatMap((number): (readonly [string, Probation])[] => {
      const note = readQuietly(place, number)
      return note ? [[note.transaction, { ...note, isAbandoned: isAbandoned(note) }]] : []
    }),
  )
  // One that was taken back is on probation no more, whatever its file says.
  return ({ entry, undoneBy }) => (undoneBy ? undefined : found.get(entry.id))
}

/** Of a damaged file whoever takes it up tells; the rest of a list is no worse for it. */
function readQuietly(place: Place, number: number): ProbationNote | undefined {
  try {
    return readProbation(place, number)
  } catch (error) {
    if (!isFailure(error, 'integrity.format')) throw error
    return undefined
  }
}
