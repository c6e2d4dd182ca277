// Watches a transaction after its commit: while its time runs its command is asked; when that fails, or nobody has confirmed, it is to be taken back.
import { printableText } from '../base/raw-text.ts'
import type { EntryId } from '../model/ids.ts'
import {
  readProbation,
  readProbationQuietly,
  removeProbation,
  type ProbationNote,
  type ProbationRequest,
  writeProbation,
} from './probation-note.ts'
import { nobody } from './at-work.ts'
import type { StageNote } from './stage-note.ts'
import type { Workplace } from './workplace.ts'

export type ProbationEnd =
  | { readonly kind: 'confirmed' | 'passed' }
  | { readonly kind: 'undone'; readonly reason: string }
  /** `later`: it stays on probation, and whoever comes next takes it back. */
  | { readonly kind: 'gave up' | 'later'; readonly reason: string; readonly why: string }

/** Why it could not be taken back. */
export interface Hindrance {
  readonly why: string
  /** A transaction that is open, or a full disk, passes by itself; something that is written at that moment may. */
  readonly passes: 'by itself' | 'perhaps' | 'never'
}

export interface ProbationParts {
  readonly place: Workplace
  /** One change of a watch at a time, of all processes. */
  withLock<Result>(work: () => Promise<Result>): Promise<Result>
  /** What its stage still asks for, where that was not dropped yet: whoever mends it would begin the watch anew. */
  forgetAsked(number: number): Promise<unknown>
  /** Takes it back, with the reason in the record; that it is taken back already is no failure. */
  takeBack(note: ProbationNote, reason: string): Promise<Hindrance | undefined>
  /** This process waits until what hinders it has passed; else it is left to the next one. */
  readonly waits: boolean
}

/** So often at least within the time, and at most. */
const asksMin = 20
const everyMsMin = 1000
const everyMsMax = 30_000
/** A check that hangs is one that fails. */
const commandSecondsMax = 60
const saidCharactersMax = 1000
/** After so long it is tried again where something hinders it: at first, and at most. */
const [hinderedMs, hinderedMsMax] = [1000, 30_000]

/** Each stops services and starts them again. */
const perhapsTriesMax = 6

export function everyMsOf(withinMs: number): number {
  return Math.min(Math.max(Math.floor(withinMs / asksMin), everyMsMin), everyMsMax)
}

/** Its time begins now. */
async function noteProbation(
  place: Workplace,
  { number, transaction }: Pick<ProbationNote, 'number' | 'transaction'>,
  { command, withinMs, confirm }: ProbationRequest,
  process: ProbationNote['process'],
): Promise<void> {
  await writeProbation(place, {
    schema: 1,
    number,
    transaction,
    ...(command === undefined ? {} : { command }),
    until: new Date(place.clock.now() + withinMs).toISOString(),
    everyMs: everyMsOf(withinMs),
    confirm,
    process,
  })
}

/**
 * Before the stage of a recorded transaction goes, which tells what was asked for: from when this returns on, the watch survives its process. Once it is noted nobody
 * notes it anew: it would come back after it was confirmed.
 */
export async function noteAskedProbation(
  place: Workplace,
  { probation, process }: StageNote,
  recorded: { readonly number: number; readonly transaction: EntryId },
): Promise<void> {
  if (probation === undefined) return
  // Of a logbook that was begun anew another one may have had the number.
  if (readProbationQuietly(place, recorded.number)?.transaction === recorded.transaction) return
  await noteProbation(place, recorded, probation, process)
}

/** Returns when the time is over, or it was confirmed or taken back. Stopped by the signal it goes on with whoever takes it up. */
export async function runProbation(parts: ProbationParts, number: number): Promise<ProbationEnd> {
  const { place } = parts
  const { clock, signal } = place
  for (;;) {
    const note = readProbation(place, number)
    if (note === undefined) return { kind: 'confirmed' }
    // Decided before a crash.
    if (note.reason !== undefined) return await takeBack(parts, note, note.reason)
    const failure = note.command === undefined ? undefined : await askCommand(place, note.command)
    if (failure !== undefined) return await decide(parts, note, failure)
    const leftMs = Date.parse(note.until) - clock.now()
    if (leftMs <= 0)
      return note.confirm
        ? await decide(parts, note, 'Nobody confirmed it in time')
        : await passed(parts, note)
    await clock.sleep(Math.min(note.everyMs, leftMs), { signal })
  }
}

async function passed(
  { place, withLock, forgetAsked }: ProbationParts,
  { number }: ProbationNote,
): Promise<ProbationEnd> {
  await forgetAsked(number)
  return await withLock(async () => ({
    kind: (await removeProbation(place, number)) ? 'passed' : 'confirmed',
  }))
}

/** Who confirms until here has it; afterwards it is taken back, by whoever takes the watch up after a crash, too. */
async function decide(
  parts: ProbationParts,
  { number }: ProbationNote,
  reason: string,
): Promise<ProbationEnd> {
  const { place } = parts
  const decided = await parts.withLock(async () => {
    const note = readProbation(place, number)
    if (note) await writeProbation(place, { ...note, reason })
    return note
  })
  return decided ? await takeBack(parts, decided, reason) : { kind: 'confirmed' }
}

async function takeBack(parts: ProbationParts, note: ProbationNote, reason: string): Promise<ProbationEnd> {
  const { place } = parts
  const { clock, reporter, signal } = place
  for (let tries = 0; ; tries++) {
    const hindrance = await parts.takeBack(note, reason)
    if (hindrance === undefined) {
      await removeProbation(place, note.number)
      return { kind: 'undone', reason }
    }
    const { why, passes } = hindrance
    if (passes === 'never' || (passes === 'perhaps' && tries >= perhapsTriesMax)) {
      await writeProbation(place, { ...note, reason, gaveUp: why.slice(0, saidCharactersMax) })
      return { kind: 'gave up', reason, why }
    }
    if (!parts.waits) {
      // This process goes on with something else.
      await writeProbation(place, { ...note, reason, process: nobody })
      return { kind: 'later', reason, why }
    }
    if (tries === 0)
      reporter.warn({
        warning: `#${note.number} is to be taken back (${reason}), and is as soon as that can be: ${why}`,
      })
    await clock.sleep(Math.min(hinderedMs * 2 ** tries, hinderedMsMax), { signal })
  }
}

/** Undefined where it ended with 0; else what it said. */
async function askCommand({ shell, signal }: Workplace, command: string): Promise<string | undefined> {
  const { status, stderr } = await shell.run({
    // What it prints is kept by its end: as standard error.
    argv: [
      'timeout',
      '--kill-after=5',
      String(commandSecondsMax),
      'sh',
      '-c',
      'exec >&2; eval "$0"',
      Buffer.from(command, 'utf8').toString('latin1'),
    ],
    idleTimeoutMs: (commandSecondsMax + 30) * 1000,
    signal,
  })
  if (status === 0) return undefined
  const said = stderr
    .toString('utf8')
    .trim()
    .slice(-saidCharactersMax)
    .replaceAll(/\s*\n\s*/g, '; ')
  const how = status === 124 ? `did not end within ${commandSecondsMax} s` : `ended with status ${status}`
  return printableText(`"${command.slice(0, 200)}" ${how}${said === '' ? '' : `: ${said}`}`)
}
