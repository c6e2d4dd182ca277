// What `vml tx list` and `vml tx show` say of a transaction that will be taken back by itself: until when, why, and what keeps it.
import { printableText } from '../base/raw-text.ts'
import type { ProbationNote } from '../transaction/probation-note.ts'
import type { ListedTransaction } from '../transaction/transactions.ts'
import { formatMoment } from './format.ts'

export interface Probation extends ProbationNote {
  /** systemd where the program is gone, and its timer goes on. */
  readonly watchedBy: 'its program' | 'systemd' | 'nobody'
}

export type ProbationOf = (listed: ListedTransaction) => Probation | undefined

/** Whether it may still be taken back by itself. */
export function isOnProbation(note: Probation | undefined): boolean {
  return note !== undefined && note.gaveUp === undefined
}

export function probationText(note: Probation): string {
  const { number, command, until, confirm, reason, gaveUp } = note
  const keep = `vml tx confirm ${number}`
  if (gaveUp !== undefined)
    return `was to be taken back (${printableText(reason ?? '')}), and could not be: ${printableText(gaveUp)}; ${keep} leaves it at that`
  if (reason !== undefined)
    return note.watchedBy === 'nobody'
      ? `is to be taken back: ${printableText(reason)}. Nobody is at it now: vml tx resume-probation goes on, and whatever makes or takes back a transaction next`
      : `is being taken back: ${printableText(reason)}`
  const at = formatMoment(new Date(until))
  const asked = command === undefined ? undefined : `"${printableText(command)}"`
  const what = confirm
    ? `taken back by itself at ${at}${asked === undefined ? '' : `, or when ${asked} fails,`} unless ${keep} comes before`
    : `taken back by itself when ${asked} fails until ${at}; ${keep} ends that`
  switch (note.watchedBy) {
    case 'its program':
      return what
    case 'systemd':
      return `${what}. The program that watched it is gone: systemd takes it up, which may be up to a minute late`
    case 'nobody':
      return `${what}. Nobody watches it now: vml tx resume-probation goes on`
  }
}

export function describeProbation(note: Probation | undefined) {
  if (note === undefined) return null
  const { command, until, confirm, reason, gaveUp } = note
  return {
    until,
    confirm,
    command: command ?? null,
    watched: gaveUp === undefined && note.watchedBy !== 'nobody',
    reason: reason ?? null,
    gave_up: gaveUp ?? null,
  }
}
