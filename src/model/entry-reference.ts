// How people name an entry, and a path inside it: `#42`, a short id, `@latest`, `@-1`, `@{2026-11-03}`, a tag,
// `lab@latest`, `ENTRY:/path`, and `now` for the machine as it is.
import { VmlError } from '../base/failure.ts'
import { asRaw, printableText, type RawText, rawFromString } from '../base/raw-text.ts'
import { type Entry, holdsPathsOnly } from './entry.ts'
import { shortId } from './ids.ts'
import { parseRawPath, type RawPath } from './raw-path.ts'

export type EntryReference =
  | { readonly kind: 'now' }
  | { readonly kind: 'number'; readonly number: number }
  /** A number, a short id or a tag: what it is shows when it is looked up. */
  | { readonly kind: 'word'; readonly word: string }
  /** The last entry, or one before it, of a machine or project (of all where none is named). */
  | { readonly kind: 'back'; readonly line: string | undefined; readonly back: number }
  /** The last entry taken at or before a moment. */
  | { readonly kind: 'at'; readonly line: string | undefined; readonly untilMs: number }

export interface EntryPathReference {
  readonly entry: EntryReference
  /** As it was typed, for messages. */
  readonly typed: string
  readonly path: RawPath | undefined
}

const idDigitsMin = 4
const candidatesShown = 8

/** Fails with `usage` where the text can be no name of an entry. */
export function parseEntryReference(text: string): EntryReference {
  if (text === 'now') return { kind: 'now' }
  const number = /^#(\d{1,15})$/.exec(text)?.[1]
  if (number !== undefined) return { kind: 'number', number: Number(number) }
  const relative = /^(.*)@(?:(latest)|-(\d{1,9})|\{([^{}]*)\})$/s.exec(text)
  if (relative) {
    const [, name, latest, back, moment] = relative
    const line = name === '' ? undefined : name
    if (latest !== undefined) return { kind: 'back', line, back: 0 }
    if (back !== undefined) return { kind: 'back', line, back: Number(back) }
    return { kind: 'at', line, untilMs: parseMoment(moment ?? '', text) }
  }
  if (text === '' || text.startsWith('#') || text.startsWith('@') || text.includes('\0'))
    throw badReference(text)
  return { kind: 'word', word: text }
}

/** `ENTRY` or `ENTRY:/path`. The path's bytes are what was typed, with the escapes that VML prints read back. */
export function parseEntryPath(text: string): EntryPathReference {
  const colon = text.indexOf(':/')
  const typed = colon < 0 ? text : text.slice(0, colon)
  const entry = parseEntryReference(typed)
  if (colon < 0) return { entry, typed, path: undefined }
  return { entry, typed, path: parseTypedPath(text.slice(colon + 1)) }
}

/** An absolute path as a person types it or VML printed it: `\xff`, `\n`, `\t`, `\r`, `\u{202e}` and `\\`. */
export function parseTypedPath(text: string): RawPath {
  const path = parseRawPath(unescapeTyped(text))
  if (path !== undefined) return path
  throw new VmlError(
    'usage',
    `Cannot take "${printableText(text)}" as a path: it must be absolute, without ".."`,
  )
}

/** The other direction of `printable`. A backslash before anything else stands for itself. */
export function unescapeTyped(text: string): RawText {
  if (!text.includes('\\')) return rawFromString(text)
  return asRaw(
    text.replace(
      /\\(?:x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]{1,6})\}|([ntr\\]))|[^\\]+|\\/g,
      (whole: string, byte?: string, code?: string, named?: string) => {
        if (byte !== undefined) return String.fromCharCode(Number.parseInt(byte, 16))
        if (named !== undefined) return namedEscapes[named] ?? whole
        const point = code === undefined ? undefined : Number.parseInt(code, 16)
        if (point !== undefined && point <= 0x10ffff) return rawFromString(String.fromCodePoint(point))
        return rawFromString(whole)
      },
    ),
  )
}

const namedEscapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '\\': '\\' }

/**
 * The one entry that is meant, of entries from oldest to newest. Fails with `not-found`, or with `ambiguous` naming
 * the candidates. `now` is no entry: the caller deals with it before.
 */
export function resolveEntry<Each extends Entry>(
  entries: readonly Each[],
  reference: EntryReference,
  typed: string,
): Each {
  switch (reference.kind) {
    case 'now':
      throw new VmlError('usage', 'Cannot take "now" here: it is the machine as it is, and no entry', {
        hint: 'Name an entry: vml log shows them',
      })
    case 'number':
      return theOnly(
        entries.filter((entry) => entry.number === reference.number),
        { typed, entries },
      )
    case 'word':
      return theOnly(matchWord(entries, reference.word), { typed, entries })
    case 'back': {
      const line = lineOf(entries, reference.line, typed)
      const entry = line.at(-1 - reference.back)
      if (entry) return entry
      throw notFound(typed, line.length === 0 ? undefined : `there are ${line.length} entries in that line`)
    }
    case 'at':
      return lastUntil(lineOf(entries, reference.line, typed), reference.untilMs, typed)
    default:
      return reference satisfies never
  }
}

function lastUntil<Each extends Entry>(line: readonly Each[], untilMs: number, typed: string): Each {
  const entry = line.findLast((each) => each.takenAt.getTime() <= untilMs)
  if (entry) return entry
  throw notFound(typed, 'none was taken by then')
}

function matchWord<Each extends Entry>(entries: readonly Each[], word: string): Each[] {
  const byNumber = /^\d{1,15}$/.test(word) ? Number(word) : undefined
  const byId = word.length >= idDigitsMin && /^[0-9a-f]{1,64}$/.test(word)
  return entries.filter(
    (entry) =>
      (byNumber !== undefined && entry.number === byNumber) ||
      (byId && (entry.id.startsWith(word) || entry.snapshot.id.startsWith(word))) ||
      entry.tags.includes(word),
  )
}

/**
 * The entries that `@latest`, `@-1` and `@{…}` count: of one machine or project, or all. Safety entries and transactions are left out:
 * they hold what something was about to change, and nobody means them by "the last one".
 */
function lineOf<Each extends Entry>(
  entries: readonly Each[],
  line: string | undefined,
  typed: string,
): readonly Each[] {
  const counted = entries.filter((entry) => !holdsPathsOnly(entry.kind))
  if (line === undefined) return counted
  const ofMachine = counted.filter((entry) => entry.machine === line)
  const ofProject = counted.filter((entry) => entry.project === line)
  if (ofMachine.length > 0 && ofProject.length > 0 && !sameEntries(ofMachine, ofProject))
    throw new VmlError(
      'ambiguous',
      `Cannot tell what "${printableText(typed)}" means: "${line}" is a machine and a project`,
      {
        hint: 'Name the entry by its number: vml log shows them',
      },
    )
  const found = ofMachine.length > 0 ? ofMachine : ofProject
  if (found.length === 0)
    throw notFound(typed, `no entry is of a machine or project "${printableText(line)}"`)
  return found
}

function sameEntries(left: readonly Entry[], right: readonly Entry[]): boolean {
  return left.length === right.length && left.every((entry, index) => entry.id === right[index]?.id)
}

function theOnly<Each extends Entry>(
  found: readonly Each[],
  { typed, entries }: { readonly typed: string; readonly entries: readonly Entry[] },
): Each {
  const [first, ...others] = found
  if (!first) throw notFound(typed)
  if (others.length === 0) return first
  const shown = found.slice(0, candidatesShown).map((entry) => {
    const number = entry.number === undefined ? '' : ` (#${entry.number})`
    return `${uniqueId(entry, found)}${number} ${printableText(entry.title)}`.trimEnd()
  })
  const more = found.length > candidatesShown ? [`and ${found.length - candidatesShown} more`] : []
  throw new VmlError(
    'ambiguous',
    `Cannot tell which entry "${printableText(typed)}" is: ${[...shown, ...more].join(', ')}`,
    {
      details: { candidates: found.map((entry) => entry.id) },
      hint: hintOf(found, entries),
    },
  )
}

/** The number is what people type; where two entries have it, which programs that write at once can bring about, the id. */
function hintOf(found: readonly Entry[], entries: readonly Entry[]): string {
  const numbered = found.find(
    ({ number }) => number !== undefined && entries.filter((each) => each.number === number).length === 1,
  )
  if (numbered?.number !== undefined) return `Name it by its number, for example ${numbered.number}`
  const [first] = found
  return `Name it by its id${first ? `, for example ${uniqueId(first, found)}` : ''}`
}

/** As many digits as tell an entry from the other candidates. */
function uniqueId(entry: Entry, among: readonly Entry[]): string {
  let digits = shortId(entry.id).length
  const clashes = () => among.some((each) => each !== entry && each.id.startsWith(entry.id.slice(0, digits)))
  while (digits < entry.id.length && clashes()) digits += 4
  return entry.id.slice(0, digits)
}

/** Local time; a day means its end, so that it names the state of that day. */
function parseMoment(moment: string, typed: string): number {
  const match = /^(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?$/.exec(moment)
  if (!match) throw badReference(typed)
  const [year = 0, month = 0, day = 0] = match.slice(1, 4).map(Number)
  const [hour, minute, second] = match.slice(4)
  const start = new Date(
    year,
    month - 1,
    hour === undefined ? day + 1 : day,
    Number(hour ?? 0),
    Number(minute ?? 0),
    // A minute means its end, too.
    second === undefined && hour !== undefined ? 60 : Number(second ?? 0) + (hour === undefined ? 0 : 1),
  )
  const valid = month >= 1 && month <= 12 && day >= 1 && day <= new Date(year, month, 0).getDate()
  if (!valid || Number(hour ?? 0) > 23 || Number(minute ?? 0) > 59 || Number(second ?? 0) > 59)
    throw badReference(typed)
  return start.getTime() - 1
}

function badReference(typed: string): VmlError {
  return new VmlError('usage', `Cannot read "${printableText(typed)}" as the name of an entry`, {
    hint: 'Write a number such as 42, a short id, a tag, @latest, @-1, lab@latest or @{2026-11-03}',
  })
}

function notFound(typed: string, why?: string): VmlError {
  const [, entry, path] = /^([^:{}]+):((?!\/).*)$/s.exec(typed) ?? []
  if (entry !== undefined && path !== undefined) {
    const word = printableText(entry.replace(/^#/, ''))
    return new VmlError(
      'not-found',
      `Cannot find entry "${printableText(typed)}": a path in an entry begins with "/"`,
      {
        details: { entry: typed },
        hint: `Write ${word}:/${printableText(path.replace(/^(?:\.|~)\//, ''))}, with all folders above it; vml ls ${word} shows them`,
      },
    )
  }
  const reason = why === undefined ? '' : `: ${why}`
  return new VmlError('not-found', `Cannot find entry "${printableText(typed)}"${reason}`, {
    details: { entry: typed },
    hint: almost(typed) ?? 'vml log shows the entries',
  })
}

/** What is written nearly so. */
function almost(typed: string): string | undefined {
  if (/^(latest|last)$/i.test(typed)) return 'The last entry is @latest'
  const [, from, to] = /^#?(\d{1,15})-#?(\d{1,15})$/.exec(typed) ?? []
  return from === undefined ? undefined : `vml rm takes several at once as ${from}..${to}`
}
