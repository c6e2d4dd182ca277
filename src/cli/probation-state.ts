// What `vml tx list` and `vml tx show` say of a transaction that will be taken back by itself: until when, why, and what keeps it.
import { systemFolder } from '../app/system-logbook.ts'
import { isFailure } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import { rootPath } from '../model/raw-path.ts'
import {
  isAbandoned,
  numbersOnProbation,
  type ProbationNote,
  readProbation,
} from '../transaction/probation-note.ts'
import type { ListedTransaction } from '../transaction/transactions.ts'
import { pathIn } from '../transaction/workplace.ts'
import { formatMoment } from './format.ts'

export type ProbationsHere = (listed: ListedTransaction) => ProbationNote | undefined

/** Of this machine's own transactions. One that was taken back is on probation no more, whatever its file says. */
export function readProbationsHere(): ProbationsHere {
  const place = { state: pathIn(rootPath, systemFolder) }
  const notes = new Map(
    numbersOnProbation(place).flatMap((number) => {
      const note = readQuietly(place, number)
      return note ? [[note.transaction, note] as const] : []
    }),
  )
  return ({ entry, undoneBy }) => (undoneBy ? undefined : notes.get(entry.id))
}

/** Of a damaged file whoever takes it up tells; the rest of a list is no worse for it. */
function readQuietly(place: Parameters<typeof readProbation>[0], number: number): ProbationNote | undefined {
  try {
    return readProbation(place, number)
  } catch (error) {
    if (!isFailure(error, 'integrity.format')) throw error
    return undefined
  }
}

/** Whether it may still be taken back by itself. */
export function isOnProbation(note: ProbationNote | undefined): boolean {
  return note !== undefined && note.gaveUp === undefined
}

export function probationText(note: ProbationNote): string {
  const { number, command, until, confirm, reason, gaveUp } = note
  const keep = `vml tx confirm ${number}`
  if (gaveUp !== undefined)
    return `was to be taken back (${printableText(reason ?? '')}), and could not be: ${printableText(gaveUp)}; ${keep} leaves it at that`
  if (reason !== undefined) return `is being taken back: ${printableText(reason)}`
  const at = formatMoment(new Date(until))
  const asked = command === undefined ? undefined : `"${printableText(command)}"`
  const what = confirm
    ? `taken back by itself at ${at}${asked === undefined ? '' : `, or when ${asked} fails,`} unless ${keep} comes before`
    : `taken back by itself when ${asked} fails until ${at}; ${keep} ends that`
  return isAbandoned(note) ? `${what}. Nobody watches it now: vml tx resume-probation goes on` : what
}

export function describeProbation(note: ProbationNote | undefined) {
  if (note === undefined) return null
  const { command, until, confirm, reason, gaveUp } = note
  return {
    until,
    confirm,
    command: command ?? null,
    watched: gaveUp === undefined && !isAbandoned(note),
    reason: reason ?? null,
    gave_up: gaveUp ?? null,
  }
}
