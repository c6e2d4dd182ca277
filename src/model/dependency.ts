// What a package says of others: dependencies of all kinds, with alternatives, versions, architectures and build profiles.
// (deb-control(5); Debian Policy, chapter 7; deb-src-control(5) for architectures and profiles.)
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import type { ControlParagraph } from './control-paragraph.ts'
import { compareDpkgVersions } from './version-dpkg.ts'

export type VersionOperator = '<<' | '<=' | '=' | '>=' | '>>'

/** One package that is meant, or not. */
export interface Relation {
  readonly name: string
  /** Behind the colon: an architecture, `any` or `native`. */
  readonly architecture?: string
  readonly version?: { readonly operator: VersionOperator; readonly version: string }
  /** On which architectures it counts; `except` those, or only those. In sources alone. */
  readonly on?: { readonly except: boolean; readonly architectures: readonly string[] }
  /** One of the lists must hold, all terms of it; a term with `!` in front where the profile is not active. In sources alone. */
  readonly profiles?: readonly (readonly string[])[]
}

/** All groups must be met, each by any of its alternatives. */
export type Dependencies = readonly (readonly Relation[])[]

export const binaryDependencyFields = [
  'Pre-Depends',
  'Depends',
  'Recommends',
  'Suggests',
  'Enhances',
  'Breaks',
  'Conflicts',
  'Provides',
  'Replaces',
  'Built-Using',
  'Static-Built-Using',
] as const

export const sourceDependencyFields = [
  'Build-Depends',
  'Build-Depends-Arch',
  'Build-Depends-Indep',
  'Build-Conflicts',
  'Build-Conflicts-Arch',
  'Build-Conflicts-Indep',
] as const

export type DependencyField =
  | (typeof binaryDependencyFields)[number]
  | (typeof sourceDependencyFields)[number]

/** Debian's longest, a `Provides`, has some 3,000. */
const relationsMax = 100_000

/** Everything a paragraph says of other packages, by field; fields that it does not have are left out. */
export function dependenciesOf(paragraph: ControlParagraph): ReadonlyMap<DependencyField, Dependencies> {
  const found = new Map<DependencyField, Dependencies>()
  for (const field of [...binaryDependencyFields, ...sourceDependencyFields]) {
    const value = paragraph.get(field.toLowerCase())
    if (value !== undefined) found.set(field, parseDependencies(value, field))
  }
  return found
}

/** Empty places between commas are passed over, as dpkg does. */
export function parseDependencies(value: string, field = 'a dependency'): Dependencies {
  const groups = value
    .split(',')
    .map((group) => group.trim())
    .filter((group) => group !== '')
    .map((group) => group.split('|').map((text) => parseRelation(text.trim(), field)))
  if (groups.reduce((sum, { length }) => sum + length, 0) > relationsMax)
    throw malformed(field, `more than ${relationsMax} packages`)
  return groups
}

const relationPattern =
  /^(?<name>[A-Za-z0-9][A-Za-z0-9+.-]*)(?::(?<architecture>[A-Za-z0-9][A-Za-z0-9-]*))?\s*(?:\((?<version>[^()]*)\))?\s*(?:\[(?<on>[^[\]]*)\])?\s*(?<profiles>(?:<[^<>]*>\s*)*)$/
const versionPattern = /^(?<operator><<|<=|<|=|>=|>>|>)?\s*(?<version>[A-Za-z0-9.+~:-]+)$/

/** The single signs are old and mean what those with an equals sign do (deb-control(5)); a version alone means that version. */
const operators: Readonly<Record<string, VersionOperator>> = {
  '<<': '<<',
  '<=': '<=',
  '<': '<=',
  '=': '=',
  '': '=',
  '>=': '>=',
  '>': '>=',
  '>>': '>>',
}

function parseRelation(text: string, field: string): Relation {
  const groups = text.length > 10_000 ? undefined : relationPattern.exec(text)?.groups
  const name = groups?.['name']
  if (groups === undefined || name === undefined) throw malformed(field, text)
  const { architecture, version, on, profiles = '' } = groups
  return {
    name,
    ...(architecture === undefined ? {} : { architecture }),
    ...(version === undefined ? {} : { version: parseVersion(version.trim(), field) }),
    ...(on === undefined ? {} : { on: parseArchitectures(on, field) }),
    ...(profiles === ''
      ? {}
      : { profiles: [...profiles.matchAll(/<([^<>]*)>/g)].map(([, terms = '']) => words(terms)) }),
  }
}

function parseVersion(text: string, field: string): NonNullable<Relation['version']> {
  const groups = versionPattern.exec(text)?.groups
  const operator = operators[groups?.['operator'] ?? '']
  const version = groups?.['version']
  if (operator === undefined || version === undefined) throw malformed(field, text)
  return { operator, version }
}

function parseArchitectures(text: string, field: string): NonNullable<Relation['on']> {
  const names = words(text)
  const except = names[0]?.startsWith('!') === true
  if (names.length === 0 || names.some((name) => name.startsWith('!') !== except))
    throw malformed(field, text)
  return { except, architectures: except ? names.map((name) => name.slice(1)) : names }
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}

function malformed(field: string, text: string): VmlError {
  return new VmlError(
    'integrity.format',
    `Cannot read "${field}": "${printableText(text.slice(0, 64))}" is no relation`,
  )
}

/** Written as dpkg would read it again. */
export function formatRelation({ name, architecture, version, on, profiles = [] }: Relation): string {
  return [
    architecture === undefined ? name : `${name}:${architecture}`,
    version === undefined ? '' : ` (${version.operator} ${version.version})`,
    on === undefined ? '' : ` [${on.architectures.map((one) => (on.except ? `!${one}` : one)).join(' ')}]`,
    ...profiles.map((terms) => ` <${terms.join(' ')}>`),
  ].join('')
}

/**
 * Whether this version is one that is meant. What is only provided counts where it is provided in a version, and for a relation
 * without one (deb-control(5), "Provides"): give undefined for a provision without a version.
 */
export function allowsVersion({ version: wanted }: Relation, version: string | undefined): boolean {
  if (wanted === undefined) return true
  if (version === undefined) return false
  const order = compareDpkgVersions(version, wanted.version)
  switch (wanted.operator) {
    case '<<':
      return order < 0
    case '<=':
      return order <= 0
    case '=':
      return order === 0
    case '>=':
      return order >= 0
    case '>>':
      return order > 0
  }
}
