// Single files out of a .deb or an .rpm, as many as are wanted in one pass.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { parentPath, type RawPath } from '../model/raw-path.ts'
import type { Attributes, Segment } from '../model/tree.ts'
import { openDeb } from '../wire/deb-file.ts'
import { openRpmFile } from '../wire/rpm-file.ts'
import type { Shell } from '../wire/shell.ts'

export type PackageFormat = 'deb' | 'rpm'

/** By the ending of a file's name. */
export function packageFormatOf(name: string): PackageFormat | undefined {
  return name.endsWith('.deb') ? 'deb' : name.endsWith('.rpm') ? 'rpm' : undefined
}

/** A package that can be read from its beginning, more than once. */
export interface OpenablePackage {
  readonly format: PackageFormat
  open(): AsyncIterable<Uint8Array>
}

export interface FileOfPackage {
  /** One of those that were asked for. */
  readonly inside: RawPath
  readonly attributes: Attributes
  /** To be read before the next file is asked for. Once only. */
  segments(): AsyncIterable<Segment>
}

interface Reading {
  readonly shell: Shell
  /** For messages. */
  readonly what?: string
  readonly signal?: AbortSignal | undefined
}

/** Where the control archive's files are told to lie, as dpkg-deb has them; no package can have such a folder of its own. */
const controlFolder = '/DEBIAN' as RawPath
const controlAttributes: Attributes = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n }

/**
 * The wanted paths that the package has, in its own order. Another name of a file has that file's content, for which the package may
 * be read a second time. Ends as soon as everything was found.
 */
export async function* readPackageFiles(
  from: OpenablePackage,
  wanted: ReadonlySet<RawPath>,
  reading: Reading,
): AsyncGenerator<FileOfPackage, void, undefined> {
  yield* from.format === 'deb' ? readDebFiles(from, wanted, reading) : readRpmFiles(from, wanted, reading)
}

/** An .rpm has what its header says, or it is a failure; it has no files of control. */
async function* readRpmFiles(
  rpm: OpenablePackage,
  wanted: ReadonlySet<RawPath>,
  { signal }: Reading,
): AsyncGenerator<FileOfPackage, void, undefined> {
  const missing = new Set(wanted)
  const file = await openRpmFile(rpm.open(), { signal })
  try {
    for await (const { files, sizeBytes, bytes } of file.contents()) {
      const names = files.filter(({ path }) => missing.delete(path))
      const of = ({ mode, mtimeSeconds }: (typeof files)[number]): Attributes => ({
        ...controlAttributes,
        mode,
        mtimeNs: BigInt(mtimeSeconds) * 1_000_000_000n,
        size: sizeBytes,
      })
      yield* underAll(
        names.map((one) => ({ inside: one.path, attributes: of(one) })),
        () => segmentsOf(bytes),
      )
      if (missing.size === 0) break
    }
  } finally {
    await file.close()
  }
}

async function* readDebFiles(
  deb: OpenablePackage,
  wanted: ReadonlySet<RawPath>,
  reading: Reading,
): AsyncGenerator<FileOfPackage, void, undefined> {
  const missing = new Set(wanted)
  /** Content that was passed over before it was known that another name of it is wanted. */
  const again = new Map<RawPath, { inside: RawPath; attributes: Attributes }[]>()
  {
    await using file = await openDeb(deb.open(), reading)
    for (const inside of wanted) {
      if (parentPath(inside) !== controlFolder) continue
      const bytes = file.control.files.get(inside.slice(controlFolder.length + 1))
      missing.delete(inside)
      if (bytes === undefined) continue
      const attributes = { ...controlAttributes, size: bytes.length }
      yield { inside, attributes, segments: () => segmentsOf([bytes]) }
    }
    if (missing.size > 0)
      for await (const { path, attributes, hardLinkTo, segments } of file.entries()) {
        if (!missing.delete(path)) continue
        if (hardLinkTo === undefined) yield { inside: path, attributes, segments }
        else again.set(hardLinkTo, [...(again.get(hardLinkTo) ?? []), { inside: path, attributes }])
        if (missing.size === 0) break
      }
  }
  if (again.size === 0) return
  await using file = await openDeb(deb.open(), reading)
  for await (const { path, attributes, segments } of file.entries()) {
    const names = again.get(path) ?? []
    again.delete(path)
    const { size } = attributes
    const sized = names.map((one) => ({
      ...one,
      attributes: { ...one.attributes, ...(size === undefined ? {} : { size }) },
    }))
    yield* underAll(sized, segments)
    if (again.size === 0) return
  }
}

/** One content under each of its names. */
async function* underAll(
  names: readonly Omit<FileOfPackage, 'segments'>[],
  segments: FileOfPackage['segments'],
): AsyncGenerator<FileOfPackage, void, undefined> {
  const [first, ...others] = names
  if (first === undefined) return
  if (others.length === 0) return yield { ...first, segments }
  if ((first.attributes.size ?? 0) > fileBytesMax) throw tooLarge(first.inside)
  const kept = await Array.fromAsync(segments(), copied)
  for (const one of names) yield { ...one, segments: () => iterate(kept) }
}

/** Views of a stream's chunks do not outlive the next chunk's turn. */
function copied(segment: Segment): Segment {
  return segment.kind === 'data' ? { kind: 'data', bytes: Buffer.from(segment.bytes) } : segment
}

async function* segmentsOf(
  pieces: AsyncIterable<Buffer> | Iterable<Buffer>,
): AsyncGenerator<Segment, void, undefined> {
  for await (const bytes of pieces) yield { kind: 'data', bytes }
}

async function* iterate(segments: readonly Segment[]): AsyncGenerator<Segment, void, undefined> {
  yield* segments
}

/** Held in memory; more belongs into a file, by way of `readPackageFiles`, one name of it at a time. */
const fileBytesMax = 512 * 1024 * 1024

function tooLarge(inside: RawPath): VmlError {
  return new VmlError(
    'unsupported',
    `Cannot read "${printable(inside)}" of a package: it has more than ${fileBytesMax} bytes`,
  )
}

/** The bytes of one file; `not-found` where the package does not have it as a file. */
export async function fileOfPackage(
  deb: OpenablePackage,
  inside: RawPath,
  reading: Reading,
): Promise<Buffer> {
  for await (const { attributes, segments } of readPackageFiles(deb, new Set([inside]), reading)) {
    if (attributes.type !== 'file') break
    if ((attributes.size ?? 0) > fileBytesMax) throw tooLarge(inside)
    const pieces: Uint8Array[] = []
    for await (const segment of segments())
      pieces.push(segment.kind === 'data' ? segment.bytes : Buffer.alloc(segment.length))
    return Buffer.concat(pieces)
  }
  throw new VmlError(
    'not-found',
    `Cannot read "${printable(inside)}" of ${reading.what ?? 'a package'}: it has no such file`,
  )
}
