// What programs make of files is made anew: after an undo, after its take-back, and by whoever mends a crash of either.
import { rmSync } from 'node:fs'
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { asRaw, printable, printableText, rawToBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import {
  commandAgain,
  isMadeItself,
  ruleOf,
  type RegenerationCommand,
  type ToMakeAnew,
} from '../model/regeneration.ts'
import type { Validation } from '../model/transaction-record.ts'
import type { Shell } from '../wire/shell.ts'
import { outlineNow } from './undo-view.ts'
import { inRoot, type Workplace } from './workplace.ts'

type Place = Pick<Workplace, 'shell' | 'signal' | 'reporter'>

/** Right after the commit of an undo: what is required and fails is a reason to take it back. */
export async function regenerate(
  { shell, signal, reporter }: Place,
  commands: readonly RegenerationCommand[],
): Promise<void> {
  for (const command of commands) {
    const failure = await failureOf(shell, command, signal)
    if (failure === undefined) continue
    if (!command.required) {
      reporter.warn({ warning: failure })
      continue
    }
    throw new VmlError('proof', `Cannot make "${command.rule}" anew: ${failure}`, {
      hint: 'Everything was put back as it was before',
    })
  }
}

/**
 * Where nothing is taken back for it any more: by a recovery that has ended the commit of an undo, or after a take-back, when caches may be of what was taken
 * back. It goes on whatever fails, tells what is to be typed then, and gives the required ones for the record.
 */
export async function regenerateAfter(
  what: 'commit' | 'take-back',
  { shell, signal, reporter }: Place,
  toMakeAnew: readonly ToMakeAnew[],
): Promise<Validation[]> {
  const failed: Validation[] = []
  if (toMakeAnew.length > 0) reporter.progress({ phase: 'making caches anew' })
  for (const each of toMakeAnew) {
    // Looked at now: `update-initramfs` makes one anew, or a first one, by different words.
    const present = isMadeItself(each) && (await isThere(shell, each, signal))
    // It came with what was taken back, and is gone with it.
    if (what === 'take-back' && isMadeItself(each) && !present) continue
    const command = commandAgain(each, present)
    const typed = command && wordsOf(command)
    const failure = command
      ? await failureWhatever(shell, command, signal)
      : `this VML knows no such rule for ${printable(each.path)}`
    if (failure === undefined) continue
    reporter.warn({
      warning: `Cannot make "${each.rule}" anew: ${failure}${typed === undefined ? '' : `. Remove the cause, then type: ${typed}`}`,
    })
    if (command?.required !== false)
      failed.push({
        name: typed?.slice(0, nameCharactersMax) ?? each.rule,
        outcome: 'failed',
        message: failure,
      })
  }
  return failed
}

/** Logs, and whatever else nobody makes anew, stay where they are in the way. */
export function isRemade(path: RawPath): boolean {
  const rule = ruleOf(path)
  return rule !== undefined && rule.path !== 'left'
}

/** They are in the way of what is put back at their paths. */
export function removeMadeAnew(place: Workplace, paths: Iterable<RawPath>): void {
  for (const path of paths)
    if (outlineNow(place, path)?.type === 'file') rmSync(rawToBytes(inRoot(place, path)), { force: true })
}

const nameCharactersMax = 1024
const saidCharactersMax = 400
/** An image of a large machine takes minutes, and says nothing meanwhile. */
const idleTimeoutMs = 600_000

/** In words; a program that is not there went with what it made, and is no failure. */
async function failureOf(
  shell: Shell,
  { argv }: RegenerationCommand,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const { status, stderr } = await shell.run({ argv, signal, idleTimeoutMs })
  if (status === 0 || status === 127) return undefined
  const said = printable(asRaw(stderr.toString('latin1').trim())).slice(0, saidCharactersMax)
  return `${wordsOf({ argv })} ended with ${status}: ${said}`
}

/** One that hangs, too, must not keep a recovery from its end; without the machine there is none. */
async function failureWhatever(
  shell: Shell,
  command: RegenerationCommand,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  try {
    return await failureOf(shell, command, signal)
  } catch (error) {
    requireGoingOn(error, signal)
    return `${wordsOf(command)}: ${printableText(messageOf(error)).slice(0, saidCharactersMax)}`
  }
}

/** As they are typed, and shown. */
export function wordsOf({ argv }: Pick<RegenerationCommand, 'argv'>): string {
  return argv.map((word) => printable(asRaw(word))).join(' ')
}

async function isThere(
  shell: Shell,
  { path }: ToMakeAnew,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    return (await shell.run({ argv: ['test', '-e', path], signal })).status === 0
  } catch (error) {
    requireGoingOn(error, signal)
    return true
  }
}

function requireGoingOn(error: unknown, signal: AbortSignal | undefined): void {
  signal?.throwIfAborted()
  if (isFailure(error, 'unavailable.network', 'remote.denied')) throw error
}
