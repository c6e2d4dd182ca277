// Paragraphs of fields, as Debian writes packages, sources and lists of them (deb822(5)).
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'

/** By the name in lower case. A value has its further lines behind `\n`, each without its first space or tab. */
export type ControlParagraph = ReadonlyMap<string, string>

/**
 * The longest line of Debian's lists has some 40,000 characters (a `Provides` of librust). dpkg takes any, and what it took is installed: whoever reads a text
 * limits it as a whole.
 */
const lineCharactersMax = 256 * 1024 * 1024
const fieldsMax = 1_000_000
/** Any printable character but a colon and white space, not first `#` or `-` (deb-control(5), deb822(5)). */
const fieldPattern = /^[!"$-,.-9;-~][!-9;-~]*$/

interface ParagraphOptions {
  /** Lower case; other fields are passed over. */
  readonly keys?: ReadonlySet<string>
  /** For messages. */
  readonly what?: string
}

/**
 * One after the other. A line that is none of a paragraph's and a field that occurs twice are `integrity.format`. Text is one
 * character per byte, or JavaScript's own: nothing here depends on it.
 */
export function* controlParagraphs(
  text: string,
  options: ParagraphOptions = {},
): Generator<ControlParagraph, void, undefined> {
  for (let start = 0; start < text.length;) {
    const { fields, isEmpty, end } = readParagraph(text, start, options)
    if (!isEmpty) yield fields
    start = end
  }
}

/** From `start` up to the first empty line. */
function readParagraph(
  text: string,
  start: number,
  { keys, what = 'a control file' }: ParagraphOptions,
): { readonly fields: ControlParagraph; readonly isEmpty: boolean; readonly end: number } {
  const bad = (why: string) => new VmlError('integrity.format', `Cannot read ${what}: ${why}`)
  const fields = new Map<string, string>()
  const seen = new Set<string>()
  let key: string | undefined
  let next = start
  for (let at = start; at < text.length; at = next) {
    const newline = text.indexOf('\n', at)
    const end = newline === -1 ? text.length : newline
    next = end + 1
    if (end - at > lineCharactersMax) throw bad(`a line has more than ${lineCharactersMax} characters`)
    const line = text.slice(at, end).trimEnd()
    // A line of white space alone ends a paragraph, as dpkg takes it.
    if (line === '') break
    if (line.startsWith('#')) continue
    if (line.startsWith(' ') || line.startsWith('\t')) {
      if (seen.size === 0) throw bad('it begins with the second line of a field')
      if (key !== undefined) fields.set(key, `${fields.get(key) ?? ''}\n${line.slice(1)}`)
      continue
    }
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(colon, 0))
    if (!fieldPattern.test(name)) throw bad(`"${printableText(line.slice(0, 64))}" is no field`)
    const lower = name.toLowerCase()
    if (seen.has(lower)) throw bad(`"${name.slice(0, 64)}" stands there twice`)
    if (seen.size === fieldsMax) throw bad(`a paragraph has more than ${fieldsMax} fields`)
    seen.add(lower)
    key = keys === undefined || keys.has(lower) ? lower : undefined
    if (key !== undefined) fields.set(key, line.slice(colon + 1).trim())
  }
  return { fields, isEmpty: seen.size === 0, end: next }
}

/** The one paragraph of a binary package's control file. */
export function controlParagraph(text: string, what = 'a control file'): ControlParagraph {
  const [only, more] = [...controlParagraphs(text, { what })]
  if (only === undefined || more !== undefined)
    throw new VmlError(
      'integrity.format',
      `Cannot read ${what}: it has ${only ? 'more than one paragraph' : 'no paragraph'}`,
    )
  return only
}

/** The source package a binary one was made from: its own name and version where the field says nothing else (deb-control(5), "Source"). */
export function sourceOf(paragraph: ControlParagraph): { readonly name: string; readonly version: string } {
  const [, name = '', version] = /^(\S+)(?:\s+\(([^()\s]+)\))?$/.exec(paragraph.get('source') ?? '') ?? []
  return {
    name: name === '' ? (paragraph.get('package') ?? '') : name,
    version: version ?? paragraph.get('version') ?? '',
  }
}
