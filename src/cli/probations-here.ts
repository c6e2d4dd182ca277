// Which of this machine's own transactions are on probation now.
import { isProbationTimerActive } from '../app/probation-timer.ts'
import { systemFolder } from '../app/system-logbook.ts'
import { rootPath } from '../model/raw-path.ts'
import { isAbandoned, numbersOnProbation, readProbationQuietly } from '../transaction/probation-note.ts'
import { pathIn } from '../transaction/workplace.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import type { Probation, ProbationOf } from './probation-state.ts'

export async function readProbationsHere(): Promise<ProbationOf> {
  const place = { state: pathIn(rootPath, systemFolder) }
  // Of a damaged file whoever takes it up tells.
  const notes = numbersOnProbation(place).flatMap((number) => readProbationQuietly(place, number) ?? [])
  const byTimer =
    notes.some((note) => isAbandoned(place, note)) && (await isProbationTimerActive(openLocalShell()))
  const found = new Map(
    notes.map((note): readonly [string, Probation] => {
      const watchedBy = isAbandoned(place, note) ? (byTimer ? 'systemd' : 'nobody') : 'its program'
      return [note.transaction, { ...note, watchedBy }]
    }),
  )
  // One that was taken back is on probation no more, whatever its file says.
  return ({ entry, undoneBy }) => (undoneBy ? undefined : found.get(entry.id))
}
