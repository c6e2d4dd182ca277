// Merges files of stanzas: paragraphs of `Field: value`, with a blank line between them (deb-control(5), debconf-devel(7)).
import { mergeKeyed, numbered, type KeyedRecord, type RecordMerge } from './merge-keyed.ts'
import type { MergeSides } from './merge-outcome.ts'

export interface StanzaMerge {
  readonly records: readonly KeyedRecord[]
  readonly conflicts: readonly string[]
}

/** `keyFields` together name a stanza; one that has none of them is named by its first line. Texts of records are without the blank lines around them. */
export function mergeStanzas(
  sides: MergeSides<string>,
  keyFields: readonly string[],
  mergeStanza: RecordMerge,
): StanzaMerge {
  const stanzas = (text: string | undefined) => stanzasOf(text ?? '', keyFields)
  return mergeKeyed(
    { base: stanzas(sides.base), ours: stanzas(sides.ours), theirs: stanzas(sides.theirs) },
    mergeStanza,
  )
}

export function stanzasOf(text: string, keyFields: readonly string[]): KeyedRecord[] {
  const texts = text.split(/(?:^|\r?\n)(?:\r?\n)+/).map((part) => part.replace(/\r?\n$/, ''))
  return numbered(
    texts
      .filter((stanza) => stanza !== '')
      .map((stanza) => ({ key: keyOf(stanza, keyFields), text: stanza })),
  )
}

/** Ends as ours does, or theirs where ours is not there; gone where nothing is left and it was not there before k or is not now. */
export function stanzaText(
  records: readonly { readonly text: string }[],
  { ours, theirs }: MergeSides<string>,
): string | undefined {
  if (records.length === 0) return theirs === undefined || ours === undefined ? undefined : ''
  const like = ours === undefined || ours === '' ? (theirs ?? '') : ours
  const newline = like.includes('\r\n') ? '\r\n' : '\n'
  return records.map(({ text }) => text).join(newline + newline) + blankEnd(like)
}

/** The newlines at the end. A regular expression would look for them from every newline on. */
function blankEnd(text: string): string {
  let start = text.length
  while (start > 0 && (text[start - 1] === '\n' || text[start - 1] === '\r')) start--
  return text.slice(start)
}

/** Field by field; `mergeField` is asked by the field's name for what both changed. Undefined where a field stays in conflict. */
export function mergeFields(
  sides: MergeSides<string>,
  mergeField: (name: string, values: MergeSides<string>) => { readonly text: string | undefined } | undefined,
): string | undefined {
  const fields = (stanza: string | undefined) => fieldsOf(stanza ?? '')
  const { records, conflicts } = mergeKeyed(
    { base: fields(sides.base), ours: fields(sides.ours), theirs: fields(sides.theirs) },
    (values) => mergeField(fieldName(values.ours ?? values.theirs ?? ''), values),
    { sortable: false },
  )
  return conflicts.length > 0 ? undefined : fieldText(records)
}

/** A field with its continuation lines; its key is its name. */
export function fieldsOf(stanza: string): KeyedRecord[] {
  if (stanza === '') return []
  const texts = stanza.split(/\n(?![ \t])/)
  return numbered(texts.map((text) => ({ key: fieldName(text), text })))
}

export function fieldText(records: readonly KeyedRecord[]): string {
  return records.map(({ text }) => text).join('\n')
}

/** The value of a field, without the space around it, continuation lines and all. */
export function fieldValue(stanza: string, name: string): string | undefined {
  const field = fieldsOf(stanza).find(({ key }) => key === name)
  return field?.text.slice(name.length + 1).trim()
}

function fieldName(field: string): string {
  return /^[^\s:]+(?=:)/.exec(field)?.[0] ?? field
}

function keyOf(stanza: string, keyFields: readonly string[]): string {
  const values = keyFields.flatMap((name) => fieldLine(stanza, name) ?? [])
  return values.length > 0 ? values.join(' ') : (stanza.split('\n', 1)[0] ?? stanza)
}

/** Faster than to take the stanza apart: the database of a large system has ten thousands of them. */
function fieldLine(stanza: string, name: string): string | undefined {
  const mark = `${name}:`
  const start = stanza.startsWith(mark) ? 0 : stanza.indexOf(`\n${mark}`) + 1
  if (start === 0 && !stanza.startsWith(mark)) return undefined
  const end = stanza.indexOf('\n', start)
  return stanza.slice(start + mark.length, end === -1 ? undefined : end).trim()
}
