// Why packages came and went: what those of one transaction say of each other.
import type { ControlParagraph } from '../model/control-paragraph.ts'
import {
  allowsVersion,
  dependenciesOf,
  formatRelation,
  type DependencyField,
  type Relation,
} from '../model/dependency.ts'
import type { PackageReason } from '../model/package-record.ts'

/** One side of a package that a transaction changed. */
export interface Speaker {
  readonly name: string
  readonly version: string
  readonly paragraph: ControlParagraph
}

/** Of a package whose files were there before, or are there after it, or both. */
export interface SpeakerPair {
  readonly was?: Speaker
  readonly is?: Speaker
}

interface Saying {
  readonly by: Speaker
  readonly field: DependencyField
  /** Any of these is enough. */
  readonly group: readonly Relation[]
}

interface Said {
  readonly needs: readonly Saying[]
  readonly provides: readonly Relation[]
}

const needing: ReadonlySet<DependencyField> = new Set(['Pre-Depends', 'Depends', 'Recommends'])
const refusing: ReadonlySet<DependencyField> = new Set(['Conflicts', 'Breaks'])

/**
 * A function that tells, of each of the pairs: of what is there, who of the others needs it; of what is gone, what it needed that went
 * too or is another version now, and what came and does not bear it.
 */
export function explainPackages(pairs: readonly SpeakerPair[]): (pair: SpeakerPair) => PackageReason[] {
  const said = new Map<Speaker, Said>()
  const needsOf = new Map<string, Saying[]>()
  const refusalsOf = new Map<string, Saying[]>()
  const pairsOf = new Map<string, SpeakerPair[]>()
  for (const pair of pairs) {
    for (const speaker of [pair.was, pair.is]) {
      if (speaker === undefined) continue
      const { sayings, provides } = readSayings(speaker)
      said.set(speaker, { needs: sayings.filter(({ field }) => needing.has(field)), provides })
      if (speaker === pair.is)
        for (const saying of sayings) addByName(needing.has(saying.field) ? needsOf : refusalsOf, saying)
    }
    // What went may have been meant by any name that it provided.
    const { was } = pair
    for (const name of was === undefined ? [] : namesOf(was)) add(pairsOf, name, pair)
  }
  function namesOf(speaker: Speaker): Set<string> {
    return new Set([speaker.name, ...(said.get(speaker)?.provides ?? []).map(({ name }) => name)])
  }
  function means({ group }: Saying, other: Speaker): boolean {
    return group.some((relation) =>
      relation.name === other.name
        ? allowsVersion(relation, other.version)
        : (said.get(other)?.provides ?? []).some(
            (one) => one.name === relation.name && allowsVersion(relation, one.version?.version),
          ),
    )
  }
  function sayingOf(table: ReadonlyMap<string, readonly Saying[]>, speaker: Speaker): PackageReason[] {
    const found = new Set([...namesOf(speaker)].flatMap((name) => table.get(name) ?? []))
    return [...found]
      .filter((saying) => saying.by.name !== speaker.name && means(saying, speaker))
      .map((saying) => reason(saying, saying.by.name))
  }
  function lostBy(speaker: Speaker): PackageReason[] {
    return (said.get(speaker)?.needs ?? []).flatMap((saying) => {
      const gone = new Set(saying.group.flatMap(({ name }) => pairsOf.get(name) ?? []))
      return [...gone].flatMap(({ was, is }) =>
        was !== undefined && was !== speaker && means(saying, was) && (is === undefined || !means(saying, is))
          ? [reason(saying, was.name)]
          : [],
      )
    })
  }
  return ({ was, is }) => {
    if (is !== undefined) return sayingOf(needsOf, is)
    return was === undefined ? [] : [...lostBy(was), ...sayingOf(refusalsOf, was)]
  }
}

function reason({ field, group }: Saying, name: string): PackageReason {
  return { package: name, field, relation: group.map(formatRelation).join(' | ') }
}

function readSayings(by: Speaker): { sayings: Saying[]; provides: readonly Relation[] } {
  const all = dependenciesOf(by.paragraph)
  const sayings = [...all].flatMap(([field, groups]) =>
    needing.has(field) || refusing.has(field) ? groups.map((group) => ({ by, field, group })) : [],
  )
  return { sayings, provides: (all.get('Provides') ?? []).flat() }
}

function addByName(table: Map<string, Saying[]>, saying: Saying): void {
  for (const name of new Set(saying.group.map((relation) => relation.name))) add(table, name, saying)
}

function add<T>(table: Map<string, T[]>, name: string, value: T): void {
  const there = table.get(name)
  if (there === undefined) table.set(name, [value])
  else there.push(value)
}
