// What an rpm package needs, gives and excludes: names with a comparison, and what in it they are for.
import type { RawText } from '../base/raw-text.ts'
import { badRpm, type RpmHeader } from './rpm-header.ts'
import { relationTags, type RelationTags } from './rpm-tags.ts'

export type RpmRelationKind = keyof typeof relationTags

export type RpmComparison = '<' | '<=' | '=' | '>=' | '>'

/** When a requirement must hold; none means: while the package is installed. */
export type RpmPhase =
  | 'pre'
  | 'post'
  | 'preun'
  | 'postun'
  | 'pretrans'
  | 'posttrans'
  | 'preuntrans'
  | 'postuntrans'
  | 'verify'
  | 'interpreter'
  /** The old `PreReq`: before anything of the package runs. */
  | 'prereq'

export interface RpmRelation {
  /** A package, a path, a capability such as `libc.so.6(GLIBC_2.34)(64bit)`, or a condition such as `(a if b)`. */
  readonly name: RawText
  readonly comparison?: RpmComparison
  readonly version?: RawText
  readonly phases: readonly RpmPhase[]
  /** Something that rpm itself must be able to do, such as `rpmlib(CompressedFileNames)`. */
  readonly ofRpm: boolean
  /** Wanted, not needed (the old form of `Recommends`). */
  readonly weak: boolean
}

/** Largest packages of distributions have some 30,000, most of them provided. */
const relationsMax = 1_000_000

const less = 1 << 1
const greater = 1 << 2
const equal = 1 << 3
const missingAllowed = 1 << 19
const ofRpm = 1 << 24
/** Bits of RPMSENSE (rpm, include/rpm/rpmds.h). */
const phaseBits: readonly (readonly [number, RpmPhase])[] = [
  [1 << 5, 'posttrans'],
  [1 << 6, 'prereq'],
  [1 << 7, 'pretrans'],
  [1 << 8, 'interpreter'],
  [1 << 9, 'pre'],
  [1 << 10, 'post'],
  [1 << 11, 'preun'],
  [1 << 12, 'postun'],
  [1 << 13, 'verify'],
  [1 << 20, 'preuntrans'],
  [1 << 21, 'postuntrans'],
]

export function readRelations(header: RpmHeader): Record<RpmRelationKind, readonly RpmRelation[]> {
  return {
    provides: relationsOf(header, relationTags.provides),
    requires: relationsOf(header, relationTags.requires),
    conflicts: relationsOf(header, relationTags.conflicts),
    obsoletes: relationsOf(header, relationTags.obsoletes),
    recommends: relationsOf(header, relationTags.recommends),
    suggests: relationsOf(header, relationTags.suggests),
    supplements: relationsOf(header, relationTags.supplements),
    enhances: relationsOf(header, relationTags.enhances),
  }
}

export function relationsOf(header: RpmHeader, tags: RelationTags): RpmRelation[] {
  const names = header.texts(tags.names)
  if (names.length > relationsMax) throw badRpm(`it has more than ${relationsMax} relations of one kind`)
  // Packages of long ago provide names without versions.
  const flags = header.numbers(tags.flags)
  const versions = header.texts(tags.versions)
  if ((flags.length > 0 && flags.length !== names.length) || versions.length !== flags.length)
    throw badRpm('its relations have more names than versions, or fewer')
  return names.map((name, index) => relation(name, flags[index] ?? 0, versions[index]))
}

function relation(name: RawText, flags: number, version: RawText | undefined): RpmRelation {
  const comparison = comparisonOf(flags)
  return {
    name,
    ...(comparison === undefined || version === undefined || version === '' ? {} : { comparison, version }),
    phases: phaseBits.filter(([bit]) => (flags & bit) !== 0).map(([, phase]) => phase),
    ofRpm: (flags & ofRpm) !== 0,
    weak: (flags & missingAllowed) !== 0,
  }
}

function comparisonOf(flags: number): RpmComparison | undefined {
  const equals = (flags & equal) === 0 ? '' : '='
  if ((flags & less) !== 0) return `<${equals}`
  if ((flags & greater) !== 0) return `>${equals}`
  return equals === '' ? undefined : '='
}
