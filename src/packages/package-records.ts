// Turns what a package manager printed into a PackageSet: limits, and no trust in what a machine says.
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import { compareRaw } from '../model/raw-path.ts'
import type { InstalledPackage, PackageManagerName, PackageSet } from '../model/packages.ts'

/** What a manager may print: a database of 200,000 packages is ten times the largest distribution's. */
export const inventoryBytesMax = 256 * 1024 * 1024
const packagesMax = 200_000
const fieldCharactersMax = 256

/** Printable ASCII without white space: what all three managers allow in names, versions and architectures. */
const fieldPattern = /^[\x21-\x7e]+$/

/** Sorted and without repeats; `remote.protocol` where a field cannot be one. */
export function packageSet(
  manager: PackageManagerName,
  found: Iterable<InstalledPackage>,
  label: string,
): PackageSet {
  const packages = new Map<string, InstalledPackage>()
  for (const { name, version, architecture } of found) {
    for (const field of [name, version, architecture]) checkField(field, { manager, label })
    packages.set(`${name} ${architecture} ${version}`, { name, version, architecture })
    if (packages.size > packagesMax)
      throw protocolError({ manager, label }, `names more than ${packagesMax} packages`)
  }
  return { manager, packages: [...packages.values()].toSorted(comparePackages) }
}

function comparePackages(left: InstalledPackage, right: InstalledPackage): number {
  return (
    compareRaw(left.name, right.name) ||
    compareRaw(left.architecture, right.architecture) ||
    compareRaw(left.version, right.version)
  )
}

interface Asked {
  readonly manager: PackageManagerName
  readonly label: string
}

function checkField(field: string, asked: Asked): void {
  if (field.length <= fieldCharactersMax && fieldPattern.test(field)) return
  throw protocolError(asked, `has "${printableText(field.slice(0, 64))}" where a name or version must stand`)
}

function protocolError({ manager, label }: Asked, what: string): VmlError {
  return new VmlError(
    'remote.protocol',
    `Cannot read the packages of ${label}: the answer of ${manager} ${what}`,
  )
}

/** A line of three fields with tabs between; fewer or more are `remote.protocol`. */
export function parseTabbed(line: string, asked: Asked): InstalledPackage {
  const [name, version, architecture, more] = line.split('\t', 4)
  if (name === undefined || version === undefined || architecture === undefined || more !== undefined)
    throw protocolError(asked, `holds the line "${printableText(line.slice(0, 64))}"`)
  return { name, version, architecture }
}

/**
 * Paragraphs of `Key: value` lines with empty lines between (deb822, apk's database), with the wanted keys only.
 * Continuation lines are passed over.
 */
export function* paragraphs(text: string, keys: ReadonlySet<string>): Iterable<ReadonlyMap<string, string>> {
  let fields = new Map<string, string>()
  for (const line of lines(text)) {
    if (line === '') {
      if (fields.size > 0) yield fields
      fields = new Map()
      continue
    }
    const colon = line.indexOf(':')
    if (colon <= 0 || line.startsWith(' ') || line.startsWith('\t')) continue
    const key = line.slice(0, colon)
    if (keys.has(key)) fields.set(key, line.slice(colon + 1).trim())
  }
  if (fields.size > 0) yield fields
}

/** Without the ends of line; no array of them all. */
export function* lines(text: string): Iterable<string> {
  let start = 0
  while (start < text.length) {
    const end = text.indexOf('\n', start)
    if (end === -1) {
      yield text.slice(start)
      return
    }
    yield text.slice(start, end)
    start = end + 1
  }
}
