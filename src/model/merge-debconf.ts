// Merges debconf's databases: config.dat, templates.dat, passwords.dat (debconf-devel(7); Debconf::Format::822).
import { mergeKeyed, mergeWords, numbered } from './merge-keyed.ts'
import { outcomeOf, type MergeSides, type TextMerge } from './merge-outcome.ts'
import { fieldsOf, fieldText, fieldValue, mergeFields, mergeStanzas, stanzaText } from './merge-stanzas.ts'

/** By name; owners and flags are sets, variables merge one by one. A question that a later package owns too stays, without the owners that k brought. */
export const mergeDebconf: TextMerge = (sides) => {
  const merged = mergeStanzas(sides, ['Name'], mergeQuestion)
  return outcomeOf(stanzaText(merged.records, sides), merged.conflicts)
}

function mergeQuestion(sides: MergeSides<string>): { text: string | undefined } | undefined {
  if (sides.theirs === undefined) return withoutOwners(sides)
  const text = mergeFields(sides, (name, values) => {
    if (name === 'Owners' || name === 'Flags') return { text: mergeList(name, values) }
    return name === 'Variables' ? mergeVariables(values) : undefined
  })
  return text === undefined ? undefined : { text }
}

/** k made the question: it goes unless somebody who came later owns it, too, and then it is as that one has it. */
function withoutOwners({ base, ours }: MergeSides<string>): { text: string | undefined } | undefined {
  if (base === undefined || ours === undefined) return undefined
  const owners = mergeWords({ base: wordsOf(base, 'Owners'), ours: wordsOf(ours, 'Owners'), theirs: [] })
  if (owners.length === 0) return undefined
  const fields = fieldsOf(ours).map(({ key, text }) =>
    key === 'Owners' ? { key, text: `Owners: ${owners.join(', ')}` } : { key, text },
  )
  return { text: fieldText(fields) }
}

function mergeList(name: string, { base, ours, theirs }: MergeSides<string>): string | undefined {
  const words = (field: string | undefined) => wordsOf(field ?? '', name)
  const merged = mergeWords({ base: words(base), ours: words(ours), theirs: words(theirs) })
  return merged.length === 0 ? undefined : `${name}: ${merged.join(', ')}`
}

/** `Variables:`, then lines of ` name = value`. */
function mergeVariables(sides: MergeSides<string>): { text: string | undefined } | undefined {
  const lines = (field: string | undefined) =>
    numbered(
      (field ?? '')
        .split('\n')
        .slice(1)
        .map((line) => ({ key: line.split(' = ', 1)[0] ?? line, text: line })),
    )
  const merged = mergeKeyed({ base: lines(sides.base), ours: lines(sides.ours), theirs: lines(sides.theirs) })
  if (merged.conflicts.length > 0) return undefined
  return { text: merged.records.length === 0 ? undefined : `Variables:\n${fieldText(merged.records)}` }
}

function wordsOf(stanza: string, name: string): string[] {
  const value = fieldValue(stanza, name) ?? ''
  return value === '' ? [] : value.split(/,\s*/)
}
