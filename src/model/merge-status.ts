// Merges the databases of dpkg and apt by package: status, available, extended_states (dpkg(1), deb-control(5)).
import type { KeyedRecord } from './merge-keyed.ts'
import { outcomeOf, type MergeSides, type TextMerge, type TextOutcome } from './merge-outcome.ts'
import {
  fieldsOf,
  fieldText,
  fieldValue,
  mergeFields,
  mergeStanzas,
  stanzasOf,
  stanzaText,
} from './merge-stanzas.ts'

const packageKey = ['Package', 'Architecture']

/** Fields that say in what state a package is; all others come with its version, and change together. */
const stateFields: ReadonlySet<string> = new Set([
  'Status',
  'Config-Version',
  'Triggers-Pending',
  'Triggers-Awaited',
])

/** `available` and `extended_states`: field by field. */
export const mergePackageTable: TextMerge = (sides) => {
  const merged = mergeStanzas(sides, packageKey, (stanza) => {
    if (Object.values(stanza).includes(undefined)) return undefined
    const text = mergeFields(stanza, () => undefined)
    return text === undefined ? undefined : { text }
  })
  return outcomeOf(stanzaText(merged.records, sides), merged.conflicts)
}

/**
 * `status`. A package that both moved to another version is a conflict; where only its state was changed later (held, removed), that stays.
 * What comes back must be able to stand beside what is there (Debian policy, 5.6.8 and `Multi-Arch: same`).
 */
export const mergeStatus: TextMerge = (sides) => {
  const merged = mergeStanzas(sides, packageKey, mergePackage)
  if (merged.conflicts.length > 0) return outcomeOf(stanzaText(merged.records, sides), merged.conflicts)
  return keepCompatible(merged.records, sides)
}

function mergePackage(stanza: MergeSides<string>): { text: string | undefined } | undefined {
  const { base, ours, theirs } = stanza
  if (base === undefined || ours === undefined) return undefined
  const removedLater = isConfigFiles(ours) && !isConfigFiles(base)
  // k installed it, and later it was removed but not purged, or only its state was changed (held): nothing of it was there before.
  if (theirs === undefined)
    return removedLater || !changesVersionFields(base, ours) ? { text: undefined } : undefined
  if (!removedLater && changesVersionFields(base, ours) && changesVersionFields(base, theirs))
    return undefined
  const text = mergeFields(stanza, () => undefined)
  return text === undefined ? undefined : { text: withConfigVersion(text, { base, ours, theirs }) }
}

/** `Config-Version`, which a later removal wrote, tells whose configuration files lie there: they are as they were before k, and so is it. */
function withConfigVersion(
  text: string,
  { base, ours, theirs }: Readonly<Record<keyof MergeSides<unknown>, string>>,
): string {
  const name = 'Config-Version'
  const version = fieldValue(ours, name)
  if (version === undefined || fieldValue(base, name) !== undefined) return text
  if (version !== fieldValue(base, 'Version')) return text
  return text.replace(`\n${name}: ${version}`, () => `\n${name}: ${fieldValue(theirs, 'Version') ?? version}`)
}

function isConfigFiles(stanza: string): boolean {
  return fieldValue(stanza, 'Status')?.endsWith(' config-files') ?? false
}

function changesVersionFields(base: string, side: string): boolean {
  return versionFields(base) !== versionFields(side)
}

function versionFields(stanza: string): string {
  return fieldText(fieldsOf(stanza).filter(({ key }) => !stateFields.has(key)))
}

/** A package that comes back beside one of its name that is there now: only if both are `Multi-Arch: same` and of one version. */
function keepCompatible(records: readonly KeyedRecord[], sides: MergeSides<string>): TextOutcome {
  const byName = Map.groupBy(records, ({ text }) => fieldValue(text, 'Package') ?? '')
  const now = new Map(stanzasOf(sides.ours ?? '', packageKey).map(({ key, text }) => [key, text]))
  const conflicts = new Set<string>()
  for (const [name, group] of byName) {
    if (group.length < 2 || group.every(({ key, text }) => now.get(key) === text)) continue
    const installed = group.filter(({ text }) => !isConfigFiles(text))
    const versions = new Set(installed.map(({ text }) => fieldValue(text, 'Version')))
    const beside = installed.every(({ text }) => fieldValue(text, 'Multi-Arch') === 'same')
    if (installed.length > 1 && (!beside || versions.size > 1)) conflicts.add(name)
  }
  if (conflicts.size === 0) return { kind: 'merged', text: stanzaText(records, sides) }
  const kept = records.flatMap(({ key, text }) => {
    if (!conflicts.has(fieldValue(text, 'Package') ?? '')) return [{ key, text }]
    const ours = now.get(key)
    return ours === undefined ? [] : [{ key, text: ours }]
  })
  const text = stanzaText(kept, sides)
  return outcomeOf(text, [...conflicts], 'not-together')
}
