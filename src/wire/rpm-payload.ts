// The contents of the files in the payload of an rpm package, each compared with what the header says of it.
import { createHash } from 'node:crypto'
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { ByteReader } from './byte-reader.ts'
import { takeCpioContent, takeCpioMember, type CpioMember } from './cpio-read.ts'
import { badRpm } from './rpm-header.ts'
import type { RpmListedFile } from './rpm-listed-files.ts'
import type { RpmPackage } from './rpm-package.ts'

export interface RpmContent {
  /** All names of it; more than one are hard links of each other. Never none. */
  readonly files: readonly RpmListedFile[]
  readonly sizeBytes: number
  /** Fails with `integrity.hash` at its end where it is not what the header says. What is not read is read and compared all the same. */
  readonly bytes: AsyncIterable<Buffer>
}

/** A file under all its names, as the header has it. */
interface FileSet {
  readonly files: readonly RpmListedFile[]
  met: number
  read: boolean
}

/** In the order of the payload. Fails where a file of the payload is not of the package, or one of the package is missing. */
export async function* readRpmContents(
  reader: ByteReader,
  { files }: RpmPackage,
): AsyncGenerator<RpmContent, void> {
  const sets = hardLinkSets(files)
  const byPath = new Map(files.map((file) => [file.path, file]))
  const left = new Set(files.filter(({ isGhost }) => !isGhost))
  for (;;) {
    const member = await takeCpioMember(reader)
    if (member === undefined) break
    const file = member.kind === 'numbered' ? files[member.index] : byPath.get(pathOf(member.name))
    if (file === undefined) throw badRpm('its payload has a file that it does not list')
    if (!left.delete(file)) throw badRpm('its payload has a file twice, or one that it should not have')
    const set = sets.get(file)
    if (set === undefined) {
      for await (const piece of takeCpioContent(reader, plainSize(member, file))) void piece
      continue
    }
    set.met++
    const sizeBytes = storedSize(member, set)
    // The content stands at one name of a file: rpm puts it at the last.
    if (sizeBytes === undefined) continue
    if (set.read || sizeBytes !== file.sizeBytes)
      throw badRpm('a file of its payload has another length than it lists')
    set.read = true
    const bytes = checked(takeCpioContent(reader, sizeBytes), file, member)
    yield { files: set.files, sizeBytes, bytes }
    for await (const piece of bytes) void piece
  }
  for (const file of left) {
    // What the builder left out is no file of the archive, either: only regular files are asked for.
    if (file.type === 'file')
      throw new VmlError(
        'integrity.truncated',
        `Cannot read an rpm package: it lacks "${printable(file.path)}"`,
      )
  }
}

/** Of an archive whose members are numbered: of all but the last name of a file nothing is stored. */
function storedSize(member: CpioMember, { files, met, read }: FileSet): number | undefined {
  const isLast = met === files.length
  if (member.kind === 'numbered') return isLast ? (files[0]?.sizeBytes ?? 0) : undefined
  return (isLast && !read) || member.sizeBytes > 0 ? member.sizeBytes : undefined
}

/** Of what is no regular file: the target of a link, or nothing. */
function plainSize(member: CpioMember, file: RpmListedFile): number {
  const expected = file.type === 'symlink' ? (file.linkTarget ?? '').length : 0
  if (member.kind === 'numbered') return expected
  if (member.sizeBytes !== expected) throw badRpm('a link of its payload leads elsewhere than it lists')
  return member.sizeBytes
}

function hardLinkSets(files: readonly RpmListedFile[]): ReadonlyMap<RpmListedFile, FileSet> {
  const groups = new Map<number, RpmListedFile[]>()
  for (const file of files) {
    if (file.type !== 'file' || file.isGhost) continue
    const group = groups.get(file.inode)
    if (group) group.push(file)
    else groups.set(file.inode, [file])
  }
  const sets = new Map<RpmListedFile, FileSet>()
  for (const group of groups.values()) {
    const set: FileSet = { files: group, met: 0, read: false }
    for (const file of group) sets.set(file, set)
  }
  return sets
}

/** `./usr/bin/a`, of source packages `a`. */
function pathOf(name: RawText): RawPath {
  const path = parseRawPath(asRaw(`/${name}`))
  if (path === undefined) throw badRpm('the path of a file leads out of its folder')
  return path
}

async function* checked(
  content: AsyncIterable<Buffer>,
  { digest, path }: RpmListedFile,
  member: CpioMember,
): AsyncGenerator<Buffer, void> {
  const hash = digest === undefined ? undefined : createHash(digest.algorithm)
  const expectedSum = member.kind === 'named' ? member.sum : undefined
  let sum = 0
  for await (const piece of content) {
    hash?.update(piece)
    if (expectedSum !== undefined) for (const byte of piece) sum = (sum + byte) >>> 0
    yield piece
  }
  if (
    (hash !== undefined && hash.digest('hex') !== digest?.hex) ||
    (expectedSum !== undefined && sum !== expectedSum)
  )
    throw new VmlError(
      'integrity.hash',
      `Cannot read "${printable(path)}" of an rpm package: its content is not what the package says`,
    )
}
