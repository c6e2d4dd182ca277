// What may matter when an entry is opened on another image than it came from (V15, V16): a warning, never a refusal.
import { printable, printableText, type RawText } from '../base/raw-text.ts'
import { systemName } from './compare.ts'
import type { BaseFacts } from './entry.ts'
import { libraryKey, type LibraryNeed, type MachineLibrary } from './libraries.ts'
import { formatImageReference, type ImageReference } from './machine.ts'
import { diffPackages } from './package-diff.ts'
import type { PackageChange, PackageSet } from './packages.ts'
import { baseName, compareRaw } from './raw-path.ts'

export type ReportTopic = 'image' | 'os' | 'kernel' | 'architecture' | 'package' | 'user' | 'library'

export interface ReportLine {
  readonly topic: ReportTopic
  /** `amber`: this may give another result. */
  readonly level: 'same' | 'amber'
  /** A sentence without full stop, safe to print. */
  readonly text: string
}

export interface VersionReport {
  readonly lines: readonly ReportLine[]
  /** How many lines are amber; none means that nothing was found that may matter. */
  readonly amber: number
}

/** An owner of files in the entry. */
export interface FileOwner {
  readonly uid: number
  /** As the entry's machine called it. */
  readonly name: RawText
  readonly files: number
}

export interface ReportEntry {
  readonly image?: ImageReference
  readonly facts: BaseFacts
  readonly packages?: PackageSet
  readonly owners: readonly FileOwner[]
  readonly needs: readonly LibraryNeed[]
  /** What the entry's machine had for its needs. */
  readonly libraries: readonly MachineLibrary[]
}

export interface ReportImage {
  readonly image?: ImageReference
  readonly facts: BaseFacts
  readonly packages?: PackageSet
  /** User names by number; undefined where they could not be read. */
  readonly users?: ReadonlyMap<number, RawText>
  /** What the machine has for the entry's needs. */
  readonly libraries: readonly MachineLibrary[]
  /** Owners that the restore maps to users of this machine, and that are therefore not compared. */
  readonly mappedUids?: ReadonlySet<number>
}

/** In the order in which it is told. What one side does not know is left out, never guessed. */
export function versionReport(entry: ReportEntry, image: ReportImage): VersionReport {
  const libraries = libraryLines(entry, image)
  const lines = [
    ...factLines(entry, image),
    ...libraries.map(({ line }) => line),
    ...packageLines(entry, image, new Set(libraries.flatMap(({ packageName }) => packageName ?? []))),
    ...userLines(entry, image),
  ]
  return { lines, amber: lines.filter(({ level }) => level === 'amber').length }
}

function factLines(entry: ReportEntry, image: ReportImage): ReportLine[] {
  const facts: readonly [ReportTopic, string, string | undefined, string | undefined][] = [
    ['image', 'Image', imageName(entry), imageName(image)],
    ['os', 'System', systemName(entry.facts), systemName(image.facts)],
    ['os', 'CernVM release', entry.facts.cernvmRelease, image.facts.cernvmRelease],
    ['kernel', 'Kernel', entry.facts.kernel, image.facts.kernel],
    ['architecture', 'Architecture', entry.facts.architecture, image.facts.architecture],
  ]
  return facts.flatMap(([topic, label, before, now]): ReportLine[] => {
    if (before === undefined || now === undefined) return []
    const [was, is] = [printableText(before), printableText(now)]
    return before === now
      ? [{ topic, level: 'same', text: `${label}: ${is}, as saved` }]
      : [{ topic, level: 'amber', text: `${label}: saved on ${was}, this is ${is}` }]
  })
}

function imageName({ image }: { readonly image?: ImageReference }): string | undefined {
  return image && formatImageReference(image)
}

/** Names in a sentence before it says only how many more there are. */
const namedMax = 8

function packageLines(
  entry: ReportEntry,
  image: ReportImage,
  ofLibraries: ReadonlySet<string>,
): ReportLine[] {
  if (entry.packages === undefined || image.packages === undefined) return []
  if (entry.packages.manager !== image.packages.manager) {
    const text = `Packages: ${entry.packages.manager} when saved, ${image.packages.manager} here: not comparable`
    return [{ topic: 'package', level: 'amber', text }]
  }
  const changes = diffPackages(entry.packages, image.packages)
  const missing = changes.filter(({ kind }) => kind === 'removed')
  const different = changes.filter(({ kind }) => kind !== 'removed' && kind !== 'installed')
  const more = changes.length - missing.length - different.length
  const also = more === 0 ? '' : `, ${more} more than saved`
  if (missing.length === 0 && different.length === 0) {
    const text = `Packages: all ${entry.packages.packages.length} as saved${also}`
    return [{ topic: 'package', level: 'same', text }]
  }
  // Those that own a library that is needed may change a result: first.
  const first = (list: readonly PackageChange[]) =>
    list.toSorted((a, b) => Number(ofLibraries.has(b.name)) - Number(ofLibraries.has(a.name)))
  return [
    ...listLine('missing', first(missing)),
    ...listLine('in another version', first(different)),
    ...(also === ''
      ? []
      : [{ topic: 'package', level: 'same', text: `Packages: ${more} more than saved` } as const]),
  ]
}

function listLine(what: string, changes: readonly PackageChange[]): ReportLine[] {
  if (changes.length === 0) return []
  const names = changes.slice(0, namedMax).map((change) => {
    const name = printableText(change.name)
    if ('version' in change) return `${name} ${printableText(change.version)}`
    return `${name} ${printableText(change.from)}, here ${printableText(change.to)}`
  })
  const rest = changes.length > namedMax ? `; and ${changes.length - namedMax} more` : ''
  return [
    {
      topic: 'package',
      level: 'amber',
      text: `Packages: ${changes.length} ${what}: ${names.join('; ')}${rest}`,
    },
  ]
}

function userLines(entry: ReportEntry, { users, mappedUids }: ReportImage): ReportLine[] {
  if (users === undefined) return []
  return entry.owners.flatMap(({ uid, name, files }): ReportLine[] => {
    const here = users.get(uid)
    if (mappedUids?.has(uid) === true || name === '' || here === name) return []
    const who = here === undefined ? 'nobody' : `"${printable(here)}"`
    const text = `User ${uid}: owner of ${files} files, was "${printable(name)}", is ${who} here`
    return [{ topic: 'user', level: 'amber', text }]
  })
}

interface LibraryLine {
  readonly line: ReportLine
  /** Owner of the library, on either side. */
  readonly packageName: string | undefined
}

function libraryLines(entry: ReportEntry, image: ReportImage): LibraryLine[] {
  const before = new Map(entry.libraries.map((library) => [libraryKey(library), library]))
  const here = new Map(image.libraries.map((library) => [libraryKey(library), library]))
  const needs = entry.needs.toSorted((a, b) => compareRaw(a.soname, b.soname))
  let same = 0
  const amber = needs.flatMap((need): LibraryLine[] => {
    const [was, is] = [before.get(libraryKey(need)), here.get(libraryKey(need))]
    const text = is === undefined ? missingText(need, was) : was && differenceText(was, is)
    if (text === undefined) {
      same++
      return []
    }
    const [program] = need.neededBy
    const others = need.programs > 1 ? ` and ${need.programs - 1} more` : ''
    const by = program === undefined ? '' : ` (needed by ${printable(program)}${others})`
    const line = {
      topic: 'library',
      level: 'amber',
      text: `Library ${printable(need.soname)}: ${text}${by}`,
    } as const
    return [{ line, packageName: was?.package ?? is?.package }]
  })
  if (same === 0) return amber
  const text = `Libraries: ${same} of the ${needs.length} that the entry's programs need are there as saved`
  return [...amber, { line: { topic: 'library', level: 'same', text }, packageName: undefined }]
}

function missingText(need: LibraryNeed, was: MachineLibrary | undefined): string {
  const kind = `${need.machine}, ${need.bits} bit`
  if (was === undefined) return `missing here (${kind}), and it was not found when saved either`
  const from = was.package === undefined ? '' : `, of package ${printableText(was.package)}`
  return `missing here (${kind}); saved with ${printable(baseName(was.target))}${from}`
}

/** The name of the file behind the links tells the version; else its package; else its bytes. */
function differenceText(was: MachineLibrary, is: MachineLibrary): string | undefined {
  const [before, now] = [baseName(was.target), baseName(is.target)]
  if (before !== now) return `saved with ${printable(before)}, here ${printable(now)}`
  if (was.sha256 !== undefined && was.sha256 === is.sha256) return undefined
  const [old, current] = [was.packageVersion, is.packageVersion]
  if (old !== undefined && current !== undefined && old !== current)
    return `saved with ${printableText(was.package ?? '')} ${printableText(old)}, here ${printableText(current)}`
  return was.sha256 !== undefined && is.sha256 !== undefined ? 'another build than saved' : undefined
}
