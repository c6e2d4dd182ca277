// How long what a record says may be, and what comes from outside brought within that where it is written: what is found too long after a commit could
// not be recorded any more.
import { cutRaw, cutText } from '../base/cut-text.ts'
import { asRaw, rawFromString, type RawText } from '../base/raw-text.ts'
import { listMax, textCharactersMax } from './document-fields.ts'
import { pathBytesMax } from './raw-path.ts'
import type { NotKept, PackageTransition, TransactionDocument, Validation } from './transaction-record.ts'

/** A command line has 2 MiB at most on Linux; 6 where the stack is larger. */
export const argumentsMax = 100_000
export const argumentBytesMax = 128 * 1024
export const packagesMax = 200_000
export const actionsMax = 10_000
export const outputCharactersMax = 64 * 1024
export const ownersMax = 10_000
export const lineCharactersMax = 4096
export const noteCharactersMax = 1024 * 1024
export const packageWord = /^[\x21-\x7e]{1,256}$/

export const cutLine = (line: string): string => cutText(line, lineCharactersMax)
export const cutField = (text: string): string => cutText(text, textCharactersMax)

/** Of words that are too many the last one says so. */
export function cutCommand(words: readonly RawText[]): RawText[] {
  const most = words.length > argumentsMax ? [...words.slice(0, argumentsMax - 1), rawFromString('…')] : words
  return most.map((word) => cutRaw(word, argumentBytesMax))
}

export interface User {
  readonly name: string
  readonly uid: number
  readonly login?: string | undefined
}

export function cutUser({ name, uid, login }: User): { name: string; uid: number; login?: string } {
  return { name: cutField(name), uid, ...(login === undefined ? {} : { login: cutField(login) }) }
}

export function cutValidations(validations: readonly Validation[]): Validation[] {
  return validations.slice(0, actionsMax).map(({ name, outcome, message }) => ({
    name: cutLine(name),
    outcome,
    ...(message === undefined ? {} : { message: cutText(message, outputCharactersMax) }),
  }))
}

/** A name, version or architecture in the form that records have: longer ones, and characters that none should have, are told by `...` and `?`. */
export function cutPackageWord(word: string): string {
  if (packageWord.test(word)) return word
  const plain = word.replaceAll(/[^\x21-\x7e]/g, '?')
  if (plain === '') return '?'
  return plain.length <= packageWordMax ? plain : `${plain.slice(0, packageWordMax - 3)}...`
}

const packageWordMax = 256

/**
 * The same but for what was cut. A package of which the name or a version had to be changed is not known by it any more, and packages that are too many are
 * not there: these are gaps. Of a document that is within its limits it changes nothing.
 */
export function withinLimits(document: TransactionDocument): TransactionDocument {
  const { modeReason, notKept, preImageBytes } = document
  const packages = document.packages.slice(0, packagesMax).map(cutTransition)
  const altered = packages.filter((each, at) => isAltered(each, document.packages[at]))
  const gaps = [
    ...document.gaps,
    ...altered.map(({ name }) => gap(`what is recorded of the package ${name} was too long, and is cut`)),
    ...(document.packages.length > packagesMax
      ? [gap(`${document.packages.length - packagesMax} more packages are not in the record`)]
      : []),
  ]
  return {
    ...document,
    command: cutCommand(document.command),
    user: cutUser(document.user),
    ...(modeReason === undefined ? {} : { modeReason: cutLine(modeReason) }),
    packages,
    validations: cutValidations(document.validations),
    services: document.services
      .slice(0, actionsMax)
      .map((each) => ({ ...each, unit: cutLine(each.unit), ...positive('stoppedMs', each.stoppedMs) })),
    complete: document.complete && gaps.length === 0,
    gaps: cutReasoned(gaps),
    ...(notKept === undefined ? {} : { notKept: cutReasoned(notKept) }),
    preImageBytes: Math.min(preImageBytes, Number.MAX_SAFE_INTEGER),
  }
}

/** Of no path by itself. */
function gap(reason: string): NotKept {
  return { path: asRaw('/'), reason }
}

/** A clock may be set back meanwhile. */
function positive<Name extends string>(name: Name, ms: number | undefined): { [name in Name]?: number } {
  return ms === undefined ? {} : ({ [name]: Math.max(0, Math.trunc(ms)) } as { [name in Name]?: number })
}

function cutTransition(transition: PackageTransition): PackageTransition {
  const { from, to, neededBy, origin, section, source, ...rest } = transition
  return {
    ...rest,
    name: cutPackageWord(transition.name),
    architecture: cutPackageWord(transition.architecture),
    ...(from === undefined ? {} : { from: cutPackageWord(from) }),
    ...(to === undefined ? {} : { to: cutPackageWord(to) }),
    ...(neededBy === undefined ? {} : { neededBy: neededBy.slice(0, ownersMax).map(cutPackageWord) }),
    ...(origin === undefined ? {} : { origin: cutLine(origin) }),
    ...(section === undefined ? {} : { section: cutLine(section) }),
    ...(source === undefined ? {} : { source: cutLine(source) }),
  }
}

/** What an undo goes by; where it came from is only for people. */
function isAltered(one: PackageTransition, other: PackageTransition | undefined): boolean {
  const words = ['name', 'architecture', 'from', 'to'] as const
  return words.some((word) => one[word] !== other?.[word])
}

/** A document of 256 MiB is read: the last ones of too many are counted by one. */
const reasonedBytesMax = 48 * 1024 * 1024
/** Of one in JSON, beside what it says. */
const reasonedOtherBytes = 80

function cutReasoned(all: readonly NotKept[]): NotKept[] {
  const cut: NotKept[] = []
  let bytes = 0
  for (const { path, reason } of all) {
    const each = { path: cutRaw(path, pathBytesMax), reason: cutLine(reason) }
    bytes += 2 * each.path.length + Buffer.byteLength(JSON.stringify(each.reason)) + reasonedOtherBytes
    if (bytes > reasonedBytesMax || cut.length >= listMax - 1) {
      const more = all.length - cut.length
      return [...cut, { path: each.path, reason: cutLine(`${each.reason} (it and ${more - 1} more)`) }]
    }
    cut.push(each)
  }
  return cut
}
