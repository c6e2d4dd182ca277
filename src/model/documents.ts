// The documents under `/.vml/` of an entry, from and to JSON (docs/format.md). They are untrusted input: a share or a
// foreign program may have written them.
import { VmlError } from '../base/failure.ts'
import { printableText, type RawText } from '../base/raw-text.ts'
import { parseDocumentJson } from './document-json.ts'
import { bytesPath, bytesText, encodeBytes, listMax, sha256, text } from './document-fields.ts'
import { entryCheck } from './entry-schema.ts'
import type { EntryDocument } from './entry.ts'
import {
  type Check,
  count,
  flag,
  isMisfit,
  listOf,
  objectOf,
  oneOf,
  optional,
  suchThat,
  textOf,
} from './field-check.ts'
import type { LibrariesDocument } from './libraries.ts'
import type { PackageSet } from './packages.ts'
import { nameBytesMax } from './raw-path.ts'

/** Linux passes a program 6 MiB at most in all (ARG_MAX), and one string of 128 KiB. */
const variablesMax = 100_000
const variableBytesMax = 1024 * 1024
const packagesMax = 200_000
const librariesMax = 20_000

export function encodeEntryDocument(document: EntryDocument): Buffer {
  return encodeReadable('entry.json', entryCheck, document)
}

/** Takes the bytes of the file, or what JSON.parse made of them. `integrity.format` names the field that is wrong. */
export function parseEntryDocument(input: unknown): EntryDocument {
  return parse('entry.json', entryCheck, input)
}

const environmentCheck = objectOf({
  schema: oneOf(1),
  variables: listOf(
    objectOf({
      name: suchThat(bytesText(variableBytesMax), (name) => /^[^=\0]+$/.test(name), 'no name of a variable'),
      value: suchThat(bytesText(variableBytesMax), (value) => !value.includes('\0'), 'holds a NUL'),
    }),
    variablesMax,
  ),
})

/** Sorted by name. Text where it is UTF-8, else `{ "raw": base64 }`. */
export function encodeEnvironment(variables: ReadonlyMap<RawText, RawText>): Buffer {
  const sorted = [...variables].toSorted(([left], [right]) => (left < right ? -1 : 1))
  return encodeReadable('environment.json', environmentCheck, {
    schema: 1,
    variables: sorted.map(([name, value]) => ({ name: encodeBytes(name), value: encodeBytes(value) })),
  })
}

export function parseEnvironment(input: unknown): ReadonlyMap<RawText, RawText> {
  const { variables } = parse('environment.json', environmentCheck, input)
  return new Map(variables.map(({ name, value }) => [name, value]))
}

const packageField = textOf({ pattern: /^[\x21-\x7e]{1,256}$/ })
const packagesCheck = objectOf({
  schema: oneOf(1),
  manager: oneOf('dpkg', 'rpm', 'apk'),
  packages: listOf(
    objectOf({ name: packageField, version: packageField, architecture: packageField }),
    packagesMax,
  ),
})

export function encodePackages(set: PackageSet): Buffer {
  return encodeReadable('packages.json', packagesCheck, { schema: 1, ...set })
}

export function parsePackages(input: unknown): PackageSet {
  const { manager, packages } = parse('packages.json', packagesCheck, input)
  return { manager, packages }
}

const soname = suchThat(bytesText(nameBytesMax), (name) => /^[^/\0]+$/.test(name), 'no file name')
const kind = { bits: oneOf(32, 64), machine: textOf({ charactersMax: 64 }) }
const librariesCheck = objectOf({
  schema: oneOf(1),
  complete: flag,
  needs: listOf(
    objectOf({
      soname,
      ...kind,
      folders: listOf(bytesPath, listMax),
      neededBy: listOf(bytesPath, listMax),
      programs: count,
    }),
    librariesMax,
  ),
  libraries: listOf(
    objectOf({
      soname,
      ...kind,
      path: bytesPath,
      target: bytesPath,
      package: optional(text),
      packageVersion: optional(text),
      sha256: optional(sha256),
    }),
    librariesMax,
  ),
})

export function encodeLibraries({ needs, libraries, complete }: LibrariesDocument): Buffer {
  return encode({
    schema: 1,
    complete,
    needs: needs.map((need) => ({
      ...need,
      soname: encodeBytes(need.soname),
      folders: need.folders.map(encodeBytes),
      neededBy: need.neededBy.map(encodeBytes),
    })),
    libraries: libraries.map((library) => ({
      ...library,
      soname: encodeBytes(library.soname),
      path: encodeBytes(library.path),
      target: encodeBytes(library.target),
    })),
  })
}

export function parseLibraries(input: unknown): LibrariesDocument {
  const { needs, libraries, complete } = parse('libraries.json', librariesCheck, input)
  return { needs, libraries, complete }
}

/**
 * What could not be read back must not be written: an entry whose document cannot be read is one that cannot be restored.
 * Fails with `unsupported`.
 */
function encodeReadable<Document>(name: string, check: Check<Document>, document: unknown): Buffer {
  try {
    const bytes = encode(document)
    parse(name, check, bytes)
    return bytes
  } catch (cause) {
    // A text longer than JavaScript's longest is a RangeError.
    const isFormat = cause instanceof VmlError
    if (!isFormat && !(cause instanceof RangeError)) throw cause
    throw new VmlError(
      'unsupported',
      isFormat
        ? `Cannot make the entry: ${cause.message.replace(/^Cannot read /, 'VML could not read back ')}`
        : `Cannot make the entry: /.vml/${name} would be too long`,
      {
        cause,
        details: isFormat ? cause.details : {},
        hint: 'No entry was made. Leave out whole folders instead of many files, or do it in parts',
      },
    )
  }
}

/** Two spaces deep: people look at these files after a plain `restic restore`. */
function encode(document: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(document, undefined, 2)}\n`, 'utf8')
}

function parse<Document>(name: string, check: Check<Document>, input: unknown): Document {
  const value = input instanceof Uint8Array ? parseDocumentJson(name, input) : input
  const result = check(value)
  if (!isMisfit(result)) return result
  const field = printableText(result.path.join('.')).slice(0, 200)
  throw new VmlError(
    'integrity.format',
    isNewer(value)
      ? `Cannot read /.vml/${name}: a newer version of VML wrote it`
      : `Cannot read /.vml/${name}: ${field === '' ? 'it' : `field "${field}"`} is not as it must be`,
    {
      details: { document: name, field, problem: result.problem },
      ...(isNewer(value) ? { hint: 'Use the newest version of VML' } : {}),
    },
  )
}

function isNewer(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    'schema' in value &&
    typeof value.schema === 'number' &&
    value.schema > 1
  )
}
