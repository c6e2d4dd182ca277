// The files of an rpm package as its header lists them.
import { asRaw, type RawText } from '../base/raw-text.ts'
import { entryPathsMax, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { NodeType } from '../model/tree.ts'
import { badRpm, type RpmHeader } from './rpm-header.ts'
import { rpmTag } from './rpm-tags.ts'

export type RpmDigestAlgorithm = 'md5' | 'sha1' | 'sha256' | 'sha384' | 'sha512' | 'sha224'

export interface RpmListedFile {
  /** Of a source package, whose files have names only: below `/`. */
  readonly path: RawPath
  readonly type: NodeType
  readonly mode: number
  readonly user: RawText
  readonly group: RawText
  readonly sizeBytes: number
  readonly mtimeSeconds: number
  /** Of a regular file that the package carries. */
  readonly digest?: { readonly algorithm: RpmDigestAlgorithm; readonly hex: string }
  readonly linkTarget?: RawText
  /** Of a device. */
  readonly device?: number
  /** As `setcap` takes it: `cap_net_raw=ep`. */
  readonly capabilities?: RawText
  readonly isConfiguration: boolean
  /** Kept as the user changed it: the new one is put beside it. */
  readonly isKeptConfiguration: boolean
  readonly isDocumentation: boolean
  /** Of the package, yet not in it. */
  readonly isGhost: boolean
  /** Files of one number are one file under several names. */
  readonly inode: number
}

/** Numbers of OpenPGP (RFC 9580, section 9.5), which rpm uses for digests. */
export const digestAlgorithms: Readonly<Record<number, RpmDigestAlgorithm>> = {
  1: 'md5',
  2: 'sha1',
  8: 'sha256',
  9: 'sha384',
  10: 'sha512',
  11: 'sha224',
}

/** Bits of RPMFILE (rpm, include/rpm/rpmfiles.h). */
const configuration = 1 << 0
const documentation = 1 << 1
const keptConfiguration = 1 << 4
const ghost = 1 << 6

export function readListedFiles(header: RpmHeader): readonly RpmListedFile[] {
  const paths = pathsOf(header)
  const column = columnReader(paths.length)
  const sizes = header.has(rpmTag.longFileSizes)
    ? column(header.numbers(rpmTag.longFileSizes))
    : column(header.numbers(rpmTag.fileSizes))
  const modes = column(header.numbers(rpmTag.fileModes))
  const devices = column(header.numbers(rpmTag.fileDevices))
  const times = column(header.numbers(rpmTag.fileTimes))
  const digests = column(header.texts(rpmTag.fileDigests))
  const targets = column(header.texts(rpmTag.fileLinkTargets))
  const flags = column(header.numbers(rpmTag.fileFlags))
  const users = column(header.texts(rpmTag.fileUsers))
  const groups = column(header.texts(rpmTag.fileGroups))
  const inodes = column(header.numbers(rpmTag.fileInodes))
  const capabilities = header.has(rpmTag.fileCapabilities)
    ? column(header.texts(rpmTag.fileCapabilities))
    : () => ''
  const algorithm = digestAlgorithms[header.number(rpmTag.fileDigestAlgorithm) ?? 1]
  return paths.map((path, index) => {
    const mode = modes(index)
    const type = typeOf(mode)
    const digest = digests(index)
    const flag = flags(index)
    const capability = capabilities(index)
    return {
      path,
      type,
      mode: mode & 0o7777,
      user: users(index),
      group: groups(index),
      sizeBytes: sizes(index),
      mtimeSeconds: times(index),
      ...(type === 'file' && digest !== '' ? { digest: digestOf(digest, algorithm) } : {}),
      ...(type === 'symlink' ? { linkTarget: targets(index) } : {}),
      ...(type === 'dev' || type === 'chardev' ? { device: devices(index) } : {}),
      ...(capability === '' ? {} : { capabilities: asRaw(capability) }),
      isConfiguration: (flag & configuration) !== 0,
      isKeptConfiguration: (flag & keptConfiguration) !== 0,
      isDocumentation: (flag & documentation) !== 0,
      isGhost: (flag & ghost) !== 0,
      inode: inodes(index),
    }
  })
}

function pathsOf(header: RpmHeader): RawPath[] {
  const names = header.texts(rpmTag.baseNames)
  // Packages from before rpm 4 name whole paths.
  if (names.length === 0) return limited(header.texts(rpmTag.oldFileNames)).map(checkedPath)
  const folders = header.texts(rpmTag.directoryNames)
  const indexes = header.numbers(rpmTag.directoryIndexes)
  if (indexes.length !== names.length) throw badRpm('its files have more names than folders, or fewer')
  return limited(names).map((name, index) => {
    const folder = folders[indexes[index] ?? -1]
    if (folder === undefined) throw badRpm('a file lies in a folder that is not named')
    if (name.includes('/')) throw badRpm('the name of a file has a slash')
    // The root itself is the folder "/" with an empty name.
    return checkedPath(folder === '' ? `/${name}` : `${folder}${name}`)
  })
}

function limited(names: readonly RawText[]): readonly RawText[] {
  if (names.length > entryPathsMax) throw badRpm(`it has more than ${entryPathsMax} files`)
  return names
}

function checkedPath(text: string): RawPath {
  const path = parseRawPath(asRaw(text))
  if (path === undefined) throw badRpm('the path of a file is not absolute, or leads out of its folder')
  return path
}

/** A column has a value for each file, or the header is damaged. */
function columnReader(count: number) {
  return <T>(values: readonly T[]): ((index: number) => T) => {
    if (values.length !== count) throw badRpm('what it says of its files is not as long as their list')
    return (index) => {
      const value = values[index]
      if (value === undefined) throw badRpm('a file has no place in the list')
      return value
    }
  }
}

function digestOf(
  hex: RawText,
  algorithm: RpmDigestAlgorithm | undefined,
): { algorithm: RpmDigestAlgorithm; hex: string } {
  if (algorithm === undefined) throw badRpm('its files have digests of an unknown kind')
  if (!/^[0-9a-f]{32,128}$/i.test(hex)) throw badRpm('the digest of a file is none')
  return { algorithm, hex: hex.toLowerCase() }
}

function typeOf(mode: number): NodeType {
  switch (mode & 0o170000) {
    case 0o100000:
      return 'file'
    case 0o040000:
      return 'dir'
    case 0o120000:
      return 'symlink'
    case 0o010000:
      return 'fifo'
    case 0o140000:
      return 'socket'
    case 0o060000:
      return 'dev'
    case 0o020000:
      return 'chardev'
    default:
      return 'irregular'
  }
}
