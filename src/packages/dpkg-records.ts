// What a transaction did to packages: two states of dpkg's and apt's databases, compared.
import { differingParagraphs } from '../model/control-differences.ts'
import { sourceOf, controlParagraphs, type ControlParagraph } from '../model/control-paragraph.ts'
import type { PackageFate, PackageOrigin, PackageRecord, PackageVersion } from '../model/package-record.ts'
import { compareRaw } from '../model/raw-path.ts'
import { compareDpkgVersions } from '../model/version-dpkg.ts'
import { explainPackages, type Speaker, type SpeakerPair } from './package-reasons.ts'

/** Texts of `/var/lib/dpkg/status` and `/var/lib/apt/extended_states`; the latter is empty where apt never was. */
export interface DpkgState {
  readonly status: string
  readonly extendedStates: string
}

interface Known {
  readonly name: string
  readonly architecture: string
  readonly paragraph: ControlParagraph
  readonly version: PackageVersion
}

/** `name:architecture=version`, to look up where a version comes from. */
export function versionKey(name: string, architecture: string, version: string): string {
  return `${name}:${architecture}=${version}`
}

/** Every package that differs, by name, then architecture. `origins` has what is known of versions by `versionKey`. */
export function packageRecords({
  before,
  after,
  origins = new Map(),
}: {
  readonly before: DpkgState
  readonly after: DpkgState
  readonly origins?: ReadonlyMap<string, PackageOrigin>
}): PackageRecord[] {
  // A mark of apt's may differ where the paragraph is the same.
  const differing =
    before.extendedStates === after.extendedStates
      ? differingParagraphs(before.status, after.status)
      : { before: before.status, after: after.status }
  const old = readState({ ...before, status: differing.before }, origins)
  const now = readState({ ...after, status: differing.after }, origins)
  const changed: Changed[] = []
  for (const key of new Set([...old.keys(), ...now.keys()])) {
    const [was, is] = [old.get(key), now.get(key)]
    const fate = fateOf(was, is)
    const { name, architecture } = is ?? was ?? {}
    if (fate === undefined || name === undefined || architecture === undefined) continue
    // What a package without files says of others is not in force.
    const pair = { ...(hasFiles(was) && { was: speaker(was) }), ...(hasFiles(is) && { is: speaker(is) }) }
    changed.push({ name, architecture, fate, pair, ...(was && { was }), ...(is && { is }) })
  }
  const explain = explainPackages(changed.map(({ pair }) => pair))
  return changed
    .map((one) => ({
      name: one.name,
      architecture: one.architecture,
      fate: one.fate,
      ...(one.was === undefined ? {} : { before: one.was.version }),
      ...(one.is === undefined ? {} : { after: one.is.version }),
      reasons: explain(one.pair),
    }))
    .toSorted(
      (one, other) => compareRaw(one.name, other.name) || compareRaw(one.architecture, other.architecture),
    )
}

interface Changed {
  readonly name: string
  readonly architecture: string
  readonly fate: PackageFate
  readonly was?: Known
  readonly is?: Known
  readonly pair: SpeakerPair
}

function speaker({ name, paragraph, version: { version } }: Known): Speaker {
  return { name, paragraph, version }
}

function readState(
  { status, extendedStates }: DpkgState,
  origins: ReadonlyMap<string, PackageOrigin>,
): Map<string, Known> {
  const automatic = new Set<string>()
  for (const fields of controlParagraphs(extendedStates, { what: 'the extended states of apt' }))
    if (fields.get('auto-installed') === '1')
      automatic.add(`${fields.get('package')}:${fields.get('architecture')}`)
  const found = new Map<string, Known>()
  for (const paragraph of controlParagraphs(status, { what: 'the database of dpkg' })) {
    const name = paragraph.get('package') ?? ''
    const architecture = paragraph.get('architecture') ?? ''
    const version = paragraph.get('version')
    const state = paragraph.get('status')?.split(/\s+/)[2] ?? ''
    // What is only known, such as one that another recommends, has no version and no files.
    if (version === undefined || state === 'not-installed') continue
    const section = paragraph.get('section')
    const origin = origins.get(versionKey(name, architecture, version))
    found.set(`${name}:${architecture}`, {
      name,
      architecture,
      paragraph,
      version: {
        version,
        state,
        source: sourceOf(paragraph),
        ...(section === undefined ? {} : { section }),
        component: section?.includes('/') === true ? section.slice(0, section.indexOf('/')) : 'main',
        automatic: isAutomatic(automatic, name, architecture),
        ...(origin === undefined ? {} : { origin }),
      },
    })
  }
  return found
}

/** apt keeps the mark of a package for all architectures under the machine's own one. */
function isAutomatic(automatic: ReadonlySet<string>, name: string, architecture: string): boolean {
  if (automatic.has(`${name}:${architecture}`)) return true
  if (architecture !== 'all') return false
  for (const key of automatic) if (key.startsWith(`${name}:`)) return true
  return false
}

/** Whether its files are on the machine (dpkg(1), "Package states"). */
function hasFiles(known: Known | undefined): known is Known {
  return known !== undefined && known.version.state !== 'config-files'
}

function fateOf(was: Known | undefined, is: Known | undefined): PackageFate | undefined {
  if (is === undefined) return was === undefined ? undefined : 'purged'
  if (!hasFiles(is)) return hasFiles(was) ? 'removed' : differs(was, is) ? 'reconfigured' : undefined
  if (!hasFiles(was)) return 'installed'
  const order = compareDpkgVersions(was.version.version, is.version.version)
  if (order !== 0) return order < 0 ? 'upgraded' : 'downgraded'
  if (differs(was, is)) return 'reconfigured'
  return was.version.automatic === is.version.automatic ? undefined : 'marked'
}

function differs(was: Known | undefined, is: Known): boolean {
  if (was === undefined || was.paragraph.size !== is.paragraph.size) return true
  for (const [key, value] of is.paragraph) if (was.paragraph.get(key) !== value) return true
  return false
}
