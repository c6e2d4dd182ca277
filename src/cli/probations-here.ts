// Which of this machine's own transactions are on probation now.
import { systemFolder } from '../app/system-logbook.ts'
import { rootPath } from '../model/raw-path.ts'
import { isAbandoned, numbersOnProbation, readProbationQuietly } from '../transaction/probation-note.ts'
import { pathIn } from '../transaction/workplace.ts'
import type { Probation, ProbationOf } from './probation-state.ts'

export function readProbationsHere(): ProbationOf {
  const place = { state: pathIn(rootPath, systemFolder) }
  const found = new Map(
    numbersOnProbation(place).flatMap((number): (readonly [string, Probation])[] => {
      // Of a damaged file whoever takes it up tells.
      const note = readProbationQuietly(place, number)
      return note ? [[note.transaction, { ...note, isAbandoned: isAbandoned(note) }]] : []
    }),
  )
  // One that was taken back is on probation no more, whatever its file says.
  return ({ entry, undoneBy }) => (undoneBy ? undefined : found.get(entry.id))
}
