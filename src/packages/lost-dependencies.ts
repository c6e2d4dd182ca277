// What packages need that was offered before a change and is not after it: by a package's own name, or by its `Provides`.
import { differingParagraphs } from '../model/control-differences.ts'
import { controlParagraphs, type ControlParagraph } from '../model/control-paragraph.ts'
import {
  allowsVersion,
  type Dependencies,
  formatRelation,
  parseDependencies,
  type Relation,
} from '../model/dependency.ts'

export interface LostDependency {
  /** The package that needs it. */
  readonly package: string
  readonly needs: string
  /** Who offered it, with the version of then. */
  readonly offeredBy: readonly string[]
}

interface Offer {
  /** `name version` of the package that makes it. */
  readonly by: string
  readonly version: string | undefined
}

const withoutFiles: ReadonlySet<string> = new Set(['not-installed', 'config-files', 'half-installed'])

/** Two texts of `/var/lib/dpkg/status`. Pure. What was not met before is no loss, and is not told. */
export function lostDependencies(before: string, after: string): LostDependency[] {
  // What nobody offers any more was offered by somebody who is not the same: where none is gone or altered, nothing is lost.
  if (installed(differingParagraphs(before, after).before).length === 0) return []
  const now = installed(after)
  const offersBefore = offersOf(installed(before))
  const offersNow = offersOf(now)
  return now.flatMap((paragraph) =>
    needsOf(paragraph).flatMap((group) => {
      if (offering(group, offersNow).length > 0) return []
      const offeredBy = offering(group, offersBefore)
      if (offeredBy.length === 0) return []
      const needs = group.map(formatRelation).join(' | ')
      return [{ package: paragraph.get('package') ?? '', needs, offeredBy }]
    }),
  )
}

const keys: ReadonlySet<string> = new Set([
  'package',
  'status',
  'version',
  'provides',
  'pre-depends',
  'depends',
])

function installed(status: string): ControlParagraph[] {
  return [...controlParagraphs(status, { keys, what: 'the database of dpkg' })].filter(
    (paragraph) => !withoutFiles.has(paragraph.get('status')?.split(/\s+/)[2] ?? 'not-installed'),
  )
}

function needsOf(paragraph: ControlParagraph): Dependencies {
  return ['pre-depends', 'depends'].flatMap((field) => parseDependencies(paragraph.get(field) ?? '', field))
}

function offersOf(paragraphs: readonly ControlParagraph[]): ReadonlyMap<string, readonly Offer[]> {
  const offers = new Map<string, Offer[]>()
  const add = (name: string, offer: Offer) => {
    const known = offers.get(name)
    if (known) known.push(offer)
    else offers.set(name, [offer])
  }
  for (const paragraph of paragraphs) {
    const name = paragraph.get('package') ?? ''
    const version = paragraph.get('version')
    const by = `${name} ${version ?? ''}`
    add(name, { by, version })
    for (const [provided] of parseDependencies(paragraph.get('provides') ?? '', 'provides'))
      if (provided) add(provided.name, { by, version: provided.version?.version })
  }
  return offers
}

function offering(group: readonly Relation[], offers: ReadonlyMap<string, readonly Offer[]>): string[] {
  return group.flatMap((relation) =>
    (offers.get(relation.name) ?? [])
      .filter(({ version }) => allowsVersion(relation, version))
      .map(({ by }) => by),
  )
}
