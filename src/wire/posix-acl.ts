// POSIX access lists: the kernel's binary attribute and the text that tar carries (acl(5)), numeric ids only.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromString } from '../base/raw-text.ts'
import type { RawText } from '../base/raw-text.ts'

export const accessAclName: RawText = rawFromString('system.posix_acl_access')
export const defaultAclName: RawText = rawFromString('system.posix_acl_default')

interface AclEntry {
  readonly tag: number
  readonly permissions: number
  readonly id: number
}

// include/uapi/linux/posix_acl.h and posix_acl_xattr.h: version 2, then tag (2), permissions (2), id (4), little-endian.
const version = 2
const noId = 0xffffffff
const tags = { userOwner: 0x01, user: 0x02, groupOwner: 0x04, group: 0x08, mask: 0x10, other: 0x20 }
/** A file system keeps an attribute of at most 64 KiB. */
const entriesMax = (64 * 1024 - 4) / 8

/** `user::rw-`, one entry a line, in the kernel's order; undefined when the bytes are no access list. */
export function aclToText(binary: Uint8Array): string | undefined {
  const bytes = Buffer.from(binary.buffer, binary.byteOffset, binary.byteLength)
  if (bytes.length < 4 || (bytes.length - 4) % 8 !== 0 || bytes.readUInt32LE(0) !== version) return undefined
  const lines: string[] = []
  for (let at = 4; at < bytes.length; at += 8) {
    const name = nameOfTag(bytes.readUInt16LE(at), bytes.readUInt32LE(at + 4))
    const permissions = bytes.readUInt16LE(at + 2)
    if (name === undefined || permissions > 7) return undefined
    lines.push(`${name}:${formatPermissions(permissions)}`)
  }
  return lines.length === 0 ? undefined : `${lines.join('\n')}\n`
}

/**
 * The kernel's form of a list as text, entries apart by line ends or commas; a fourth field is an id (star,
 * bsdtar). An access list that says no more than the mode (three entries) is undefined: the kernel keeps none.
 * Fails with `integrity.format`, also where a user or group stands by name alone: only its own machine knows the id.
 */
export function aclFromText(text: RawText, kind: 'access' | 'default'): Buffer | undefined {
  const entries: AclEntry[] = []
  for (const line of text.split(/[\n,]/)) {
    const words = line.replace(/#.*/, '').trim()
    if (words === '') continue
    entries.push(parseEntry(words, text))
    if (entries.length > entriesMax) throw badAcl(text)
  }
  if (entries.length === 0 || (kind === 'access' && entries.length === 3)) return undefined
  entries.sort((left, right) => left.tag - right.tag || left.id - right.id)
  const bytes = Buffer.alloc(4 + 8 * entries.length)
  bytes.writeUInt32LE(version, 0)
  entries.forEach(({ tag, permissions, id }, index) => {
    bytes.writeUInt16LE(tag, 4 + 8 * index)
    bytes.writeUInt16LE(permissions, 6 + 8 * index)
    bytes.writeUInt32LE(id, 8 + 8 * index)
  })
  return bytes
}

function parseEntry(words: string, whole: RawText): AclEntry {
  const [kind = '', name = '', permissions = '', id] = words.split(':')
  const match = /^([r-])([w-])([x-])$/.exec(permissions)
  if (!match) throw badAcl(whole)
  const bits = (match[1] === 'r' ? 4 : 0) + (match[2] === 'w' ? 2 : 0) + (match[3] === 'x' ? 1 : 0)
  const named = name !== ''
  const tag =
    kind === 'user' || kind === 'u'
      ? named
        ? tags.user
        : tags.userOwner
      : kind === 'group' || kind === 'g'
        ? named
          ? tags.group
          : tags.groupOwner
        : kind === 'mask' || kind === 'm'
          ? tags.mask
          : kind === 'other' || kind === 'o'
            ? tags.other
            : undefined
  if (tag === undefined || (named && tag > tags.group)) throw badAcl(whole)
  return { tag, permissions: bits, id: named ? parseAclId(id ?? name, whole) : noId }
}

function parseAclId(text: string, whole: RawText): number {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : noId
  if (id >= noId) throw badAcl(whole)
  return id
}

function nameOfTag(tag: number, id: number): string | undefined {
  switch (tag) {
    case tags.userOwner:
      return 'user:'
    case tags.user:
      return `user:${id}`
    case tags.groupOwner:
      return 'group:'
    case tags.group:
      return `group:${id}`
    case tags.mask:
      return 'mask:'
    case tags.other:
      return 'other:'
    default:
      return undefined
  }
}

function formatPermissions(bits: number): string {
  return `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${bits & 1 ? 'x' : '-'}`
}

function badAcl(text: RawText): VmlError {
  const shown = printable(rawFromString(text.slice(0, 200)))
  return new VmlError('integrity.format', `Cannot read an access list of the archive: "${shown}"`)
}
