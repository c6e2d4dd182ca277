// What GNU find and `stat -c` are asked to print of a path, and how it is read back. Nothing they print is trusted.
import type { RawText } from '../base/raw-text.ts'
import { parseRawPath, pathBytesMax, rootPath, type RawPath } from '../model/raw-path.ts'
import type { Attributes, NodeType } from '../model/tree.ts'

/** What the walk decided on a path: read on, do not enter, cannot enter. */
export type Verdict = 'item' | 'pruned' | 'unreadable'

/**
 * The last starting point of a walk. find takes them in order, so a walk that printed this one has been through all
 * others; a walk that died on the way has not, whatever its status says.
 */
export const endMark = '/.'

export interface FoundRecord {
  readonly verdict: Verdict
  /** The record is the end mark's. */
  readonly isEnd: boolean
  readonly path: RawPath
  readonly attributes: Attributes
}

/** Longer than any path that can be walked to, and any link target; one field of a record never is. */
export const fieldBytesMax = 80 * 1024
const ownerBytesMax = 256

const verdicts: Readonly<Record<string, Verdict>> = { i: 'item', p: 'pruned', u: 'unreadable' }
const findTypes: Readonly<Record<string, NodeType>> = {
  f: 'file',
  d: 'dir',
  l: 'symlink',
  p: 'fifo',
  s: 'socket',
  b: 'dev',
  c: 'chardev',
}
/** S_IFMT of stat(2). */
const modeTypes: Readonly<Record<number, NodeType>> = {
  0o100000: 'file',
  0o040000: 'dir',
  0o120000: 'symlink',
  0o010000: 'fifo',
  0o140000: 'socket',
  0o060000: 'dev',
  0o020000: 'chardev',
}

/** For find's -printf, behind one letter for the verdict. `\0` ends each field, since names hold everything else. */
export const findFormat = [
  '%y',
  '%m',
  '%U',
  '%G',
  '%u',
  '%g',
  '%s',
  '%T@',
  '%A@',
  '%C@',
  '%i',
  '%D',
  '%n',
  '%l',
  '%p',
]
  .map((field) => `${field}\\0`)
  .join('')
export const findFieldCount = 15

/**
 * For a walk: without the names of owners, for each of which find opens /etc/passwd and /etc/group anew, and without
 * the time of access.
 */
export const walkFormat = ['%y', '%m', '%U', '%G', '%s', '%T@', '%C@', '%i', '%D', '%n', '%l', '%p']
  .map((field) => `${field}\\0`)
  .join('')
export const walkFieldCount = 12

/** A record of `walkFormat`, or undefined when it is not one. */
export function parseWalkRecord(fields: readonly string[]): FoundRecord | undefined {
  const [head = '', mode, uid, gid, size, mtime, ctime, inode, device, links, target, name] = fields
  const owners = ['', '']
  const times = [mtime, '0', ctime]
  const full = [head, mode, uid, gid, ...owners, size, ...times, inode, device, links, target, name]
  return full.some((field) => field === undefined) ? undefined : parseFindRecord(full as string[])
}

/** A record of `findFormat`, or undefined when it is not one. */
export function parseFindRecord(fields: readonly string[]): FoundRecord | undefined {
  const [
    head = '',
    mode,
    uid,
    gid,
    user,
    group,
    size,
    mtime,
    atime,
    ctime,
    inode,
    device,
    links,
    target,
    name,
  ] = fields
  const verdict = verdicts[head[0] ?? '']
  if (verdict === undefined || head.length !== 2 || name === undefined || target === undefined)
    return undefined
  const type = findTypes[head[1] ?? ''] ?? 'irregular'
  const isEnd = name === endMark
  const path = isEnd ? rootPath : exactPath(name)
  const attributes = makeAttributes({
    type,
    mode: octal(mode),
    uid: integer(uid),
    gid: integer(gid),
    user,
    group,
    mtimeNs: findTime(mtime),
    atimeNs: findTime(atime),
    ctimeNs: findTime(ctime),
    inode: big(inode),
    deviceId: big(device),
    links: integer(links),
    size: integer(size),
    linkTarget: type === 'symlink' ? target : undefined,
  })
  return path === undefined || attributes === undefined ? undefined : { verdict, isEnd, path, attributes }
}

const statPattern =
  /^([0-9a-f]+)\/(\d+)\/(\d+)\/([^/]*)\/([^/]*)\/(\d+)\/(\d+)\/(\d+)\/(\d+)\/(-?\d+)\/(-?\d+)\/(-?\d+)\/([^/]*)\/([^/]*)\/([^/]*)\/(.*)$/s

/** For `stat -c`; the nonce begins each record and stands before the last field. Slashes part the fields. */
export function statFormat(nonce: string): string {
  return `${nonce}/%f/%u/%g/%U/%G/%s/%i/%d/%h/%X/%Y/%Z/%x/%y/%z/%n${nonce}:%N`
}

/**
 * A record of `statFormat` without its leading nonce and slash, or undefined when it is not one. `linkTargets` says
 * that `%N` is busybox's: `'NAME' -> 'TARGET'`, unquoted, which can be taken apart because the name is known.
 */
export function parseStatRecord(
  text: string,
  options: { readonly nonce: string; readonly linkTargets: boolean },
): { readonly path: RawPath; readonly attributes: Attributes } | undefined {
  const split = text.indexOf(`${options.nonce}:`)
  if (split < 0) return undefined
  const head = text.slice(0, split)
  const quoted = text.slice(split + options.nonce.length + 1)
  const match = statPattern.exec(head)
  if (!match) return undefined
  const [, rawMode = '', uid, gid, user, group, size, inode, device, links, ...times] = match
  const [atime, mtime, ctime, atimeText, mtimeText, ctimeText, name = ''] = times
  const mode = Number.parseInt(rawMode, 16)
  const type = modeTypes[mode & 0o170000] ?? 'irregular'
  const path = name === endMark ? rootPath : exactPath(name)
  if (path === undefined) return undefined
  const before = `'${name}' -> '`
  const hasTarget =
    type === 'symlink' && options.linkTargets && quoted.startsWith(before) && quoted.endsWith("'")
  const attributes = makeAttributes({
    type,
    mode: mode & 0o7777,
    uid: integer(uid),
    gid: integer(gid),
    user: user === 'UNKNOWN' ? undefined : user,
    group: group === 'UNKNOWN' ? undefined : group,
    mtimeNs: statTime(mtime, mtimeText),
    atimeNs: statTime(atime, atimeText),
    ctimeNs: statTime(ctime, ctimeText),
    inode: big(inode),
    deviceId: big(device),
    links: integer(links),
    size: integer(size),
    linkTarget: hasTarget ? quoted.slice(before.length, -1) : undefined,
  })
  return attributes && { path, attributes }
}

interface RawAttributes {
  readonly type: NodeType
  readonly mode: number | undefined
  readonly uid: number | undefined
  readonly gid: number | undefined
  readonly user: string | undefined
  readonly group: string | undefined
  readonly mtimeNs: bigint | undefined
  readonly atimeNs: bigint | undefined
  readonly ctimeNs: bigint | undefined
  readonly inode: bigint | undefined
  readonly deviceId: bigint | undefined
  readonly links: number | undefined
  readonly size: number | undefined
  readonly linkTarget: string | undefined
}

/** Undefined when a field that every path has is not what it should be. */
function makeAttributes(from: RawAttributes): Attributes | undefined {
  const { type, mode, uid, gid, user, group, mtimeNs, atimeNs, ctimeNs, inode, deviceId, links, size } = from
  if (mode === undefined || uid === undefined || gid === undefined || mtimeNs === undefined) return undefined
  if (atimeNs === undefined || ctimeNs === undefined || inode === undefined || deviceId === undefined)
    return undefined
  if (links === undefined || size === undefined) return undefined
  return {
    type,
    mode,
    uid,
    gid,
    // A number in place of a name says that the machine knows no name.
    ...(isOwnerName(user, uid) ? { user } : {}),
    ...(isOwnerName(group, gid) ? { group } : {}),
    mtimeNs,
    atimeNs,
    ctimeNs,
    inode,
    deviceId,
    links,
    ...(type === 'file' ? { size } : {}),
    ...(from.linkTarget === undefined || from.linkTarget === ''
      ? {}
      : { linkTarget: from.linkTarget as RawText }),
  }
}

function isOwnerName(name: string | undefined, id: number): name is RawText {
  return name !== undefined && name !== '' && name.length <= ownerBytesMax && name !== String(id)
}

/** The path when it is written in its one form; a machine that writes another one is not to be trusted. */
export function exactPath(text: string): RawPath | undefined {
  // Most are: no empty part, none that begins with a dot, no slash at the end.
  const simple = text.startsWith('/') && text.length <= pathBytesMax && !text.endsWith('/')
  if (simple && !text.includes('//') && !text.includes('/.')) return text as RawPath
  const path = parseRawPath(text as RawText)
  return path === text ? path : undefined
}

function integer(text: string | undefined): number | undefined {
  if (text === undefined || text.length > 16) return undefined
  let value = 0
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 0x30
    if (digit < 0 || digit > 9) return undefined
    value = value * 10 + digit
  }
  return text.length > 0 && Number.isSafeInteger(value) ? value : undefined
}

function octal(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-7]{1,4}$/.test(text) ? Number.parseInt(text, 8) : undefined
}

function big(text: string | undefined): bigint | undefined {
  return text !== undefined && /^\d{1,20}$/.test(text) ? BigInt(text) : undefined
}

/** find prints the seconds, which may be negative, and behind the point always counts upwards. */
function findTime(text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined
  const point = text.indexOf('.')
  const whole = point < 0 ? text : text.slice(0, point)
  const negative = whole.startsWith('-')
  const digits = negative ? whole.slice(1) : whole
  const seconds = digits.length <= 12 ? integer(digits) : undefined
  const fraction = point < 0 ? '0' : text.slice(point + 1)
  const nanoseconds = fraction.length <= 10 ? integer(fraction.slice(0, 9).padEnd(9, '0')) : undefined
  if (seconds === undefined || nanoseconds === undefined || fraction === '') return undefined
  const from = BigInt(seconds) * 1_000_000_000n
  return (negative ? -from : from) + BigInt(nanoseconds)
}

function statTime(seconds: string | undefined, text: string | undefined): bigint | undefined {
  if (seconds === undefined || !/^-?\d{1,12}$/.test(seconds)) return undefined
  const fraction = /\.(\d{1,9})(?: |$)/.exec(text ?? '')?.[1] ?? ''
  return BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'))
}
