// Merges configuration of `[sections]` and `key = value` by key, for what the lines alone leave in conflict (systemd.syntax(7), toml.io of one line each, and many like it).
import { keyWithoutNumber, mergeKeyed, numbered, type KeyedRecord } from './merge-keyed.ts'
import { linesOf } from './merge-lines.ts'
import { bothChanged, outcomeOf, type MergeSides, type TextMerge } from './merge-outcome.ts'
import { mergeLinesMax } from './merge-regions.ts'

/** A file with any line that is no section, key, comment or blank is a conflict: it means something else. */
export const mergeSections: TextMerge = (texts) => {
  const sides = recordsOfSides(texts)
  if (sides === undefined || Object.values(sides).some(({ length }) => length > mergeLinesMax))
    return bothChanged
  const repeated = repeatedInConflict(sides)
  const isRepeated = ({ key }: KeyedRecord) => repeated.has(keyWithoutNumber(key))
  // Of a key that is there more than once, only all together mean something: they stay as ours has them where both changed them.
  const theirs = [...sides.theirs.filter((record) => !isRepeated(record)), ...sides.base.filter(isRepeated)]
  const merged = mergeKeyed({ ...sides, theirs }, undefined, { sortable: false })
  const text = textOf(merged.records)
  if (!meansTheSame(merged.records, text)) return bothChanged
  return outcomeOf(text, [...merged.conflicts, ...repeated].map(shownKey))
}

/** Undefined where a line is none of this kind, or where a section is there twice: then its name does not say which one is meant. */
export function sectionRecords(text: string): KeyedRecord[] | undefined {
  const records: { key: string; text: string }[] = []
  const sections = new Set<string>()
  let section = ''
  let hasKeys = false
  let continues = false
  for (const line of linesOf(text)) {
    const last = records.at(-1)
    if (last !== undefined && hasKeys && (continues || /^[ \t]+[^ \t\r\n#;]/.test(line))) last.text += line
    else {
      const key = keyOf(line, section)
      if (key === undefined || sections.has(key)) return undefined
      if (key.startsWith('[')) sections.add((section = key))
      hasKeys = /[=!]/.test(key.charAt(key.indexOf('\n') + 1)) && !key.startsWith('[')
      records.push({ key: key.startsWith('[') ? key : `${section}${key}`, text: line })
    }
    continues = hasKeys && /\\\r?\n$/.test(line)
  }
  return numbered(records)
}

/** `[section]`, or after a newline: `=key`, `!key` of a key without value, or the line itself. */
function keyOf(line: string, section: string): string | undefined {
  const text = line.replace(/^\xef\xbb\xbf/, '').trim()
  if (text === '' || /^[#;]/.test(text)) return `\n${text}`
  const header = /^\[[^\]]+\]$/.exec(text)
  if (header !== null) return text
  const pair = /^("[^"\\]+"|[\w.@/-]+(?: [\w.-]+)*)\s*=/.exec(text)
  if (pair !== null) return `\n=${pair[1] ?? ''}`
  return section !== '' && /^[\w-]+$/.test(text) ? `\n!${text}` : undefined
}

type Records = Readonly<Record<keyof MergeSides<unknown>, readonly KeyedRecord[]>>

function recordsOfSides(texts: MergeSides<string>): Records | undefined {
  if (texts.base === undefined || texts.ours === undefined || texts.theirs === undefined) return undefined
  const base = sectionRecords(texts.base)
  const ours = sectionRecords(texts.ours)
  const theirs = sectionRecords(texts.theirs)
  if (base === undefined || ours === undefined || theirs === undefined) return undefined
  return mayHaveBlocks({ base, ours, theirs }) ? undefined : { base, ours, theirs }
}

/** Without a header, a key that comes again may begin a block (`bss=` of hostapd): where its lines changed, others may have come to stand in another one. */
function mayHaveBlocks(sides: Records): boolean {
  const groups = [sides.base, sides.ours, sides.theirs].map((records) => groupsOf(records))
  return Object.values(sides).some((records) =>
    records.some(({ key }) => {
      const name = keyWithoutNumber(key)
      return (
        name !== key && name.startsWith('\n=') && new Set(groups.map((group) => group.get(name))).size > 1
      )
    }),
  )
}

function repeatedInConflict(sides: Records): Set<string> {
  const groups = {
    base: groupsOf(sides.base),
    ours: groupsOf(sides.ours),
    theirs: groupsOf(sides.theirs),
  }
  const found = new Set<string>()
  for (const { key } of Object.values(sides).flat()) {
    const name = keyWithoutNumber(key)
    if (name === key || !name.includes('\n=')) continue
    const [base, ours, theirs] = [groups.base.get(name), groups.ours.get(name), groups.theirs.get(name)]
    if (ours !== base && theirs !== base && ours !== theirs) found.add(name)
  }
  return found
}

function groupsOf(records: readonly KeyedRecord[]): Map<string, string> {
  const groups = new Map<string, string>()
  for (const { key, text } of records) {
    const name = keyWithoutNumber(key)
    groups.set(name, `${groups.get(name) ?? ''}${text}`)
  }
  return groups
}

/** The last line of ours may have no newline, and stand in the middle now. */
function textOf(records: readonly KeyedRecord[]): string {
  return records
    .map(({ text }, index) => (index === records.length - 1 || text.endsWith('\n') ? text : `${text}\n`))
    .join('')
}

/** A key may have come to stand in another section, where its own was taken out later. */
function meansTheSame(records: readonly KeyedRecord[], text: string): boolean {
  const again = sectionRecords(text) ?? []
  const names = (list: readonly KeyedRecord[]) => list.map(({ key }) => keyWithoutNumber(key)).join('\0')
  return names(again) === names(records)
}

function shownKey(key: string): string {
  return key.replace('\n=', ' ').replace('\n!', ' ').replace('\n', ' ').trim()
}
