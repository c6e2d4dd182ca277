// One node of a tree from restic's JSON, checked field by field.
import { asRaw, rawFromBytes, type RawText } from '../base/raw-text.ts'
import { parseId, type BlobId, type TreeId } from '../model/ids.ts'
import { isRawName, pathBytesMax, type RawName } from '../model/raw-path.ts'
import type { TreeNode, Xattr } from '../model/tree.ts'
import { goZeroTime, parseGoTime } from './go-json.ts'
import { fromGoMode, parseNodeType } from './go-mode.ts'
import { goUnquote } from './go-quote.ts'
import { jsonKeys, JsonProblem, type JsonReader } from './json-reader.ts'

/** XATTR_NAME_MAX of Linux. */
const xattrNameBytesMax = 255
/** Far above what any system allows for the name of a user. */
const ownerNameBytesMax = 1024
const uint32Max = 0xffff_ffff

/** What is being read, for messages. */
export interface Place {
  field: string
}

/** Leaves the name of the field that it could not read in `place`. */
export function readNode(json: JsonReader, place: Place): TreeNode {
  const draft: Draft = {}
  let next = 0
  place.field = ''
  json.expect('{')
  for (let first = true; json.more('}', first); first = false) {
    const index = json.key(nodeKeys, next)
    const field = fields[index]
    if (field === undefined) {
      json.skip()
      continue
    }
    next = index + 1
    place.field = field[0]
    // As in Go, null leaves a field as it is.
    if (!json.null()) field[1](json, draft)
  }
  return finish(draft, place)
}

interface Draft {
  name?: RawText
  type?: string
  mode?: number
  mtimeNs?: bigint
  atimeNs?: bigint | undefined
  ctimeNs?: bigint | undefined
  uid?: number
  gid?: number
  user?: RawText
  userRaw?: RawText
  group?: RawText
  groupRaw?: RawText
  inode?: bigint
  deviceId?: bigint
  size?: number
  links?: number
  linkTarget?: RawText
  linkTargetRaw?: RawText
  xattrs?: Xattr[]
  device?: bigint
  content?: BlobId[]
  subtree?: TreeId
}

type ReadField = (json: JsonReader, draft: Draft) => void

/** In the order in which restic writes them. */
const fields: readonly (readonly [string, ReadField])[] = [
  ['name', (json, draft) => void (draft.name = unquote(json.string()))],
  ['type', (json, draft) => void (draft.type = json.string())],
  ['mode', (json, draft) => void (draft.mode = json.count(uint32Max))],
  ['mtime', (json, draft) => void (draft.mtimeNs = readTime(json))],
  ['atime', (json, draft) => void (draft.atimeNs = knownTime(readTime(json)))],
  ['ctime', (json, draft) => void (draft.ctimeNs = knownTime(readTime(json)))],
  ['uid', (json, draft) => void (draft.uid = json.count(uint32Max))],
  ['gid', (json, draft) => void (draft.gid = json.count(uint32Max))],
  ['user', (json, draft) => void (draft.user = bounded(json.string(), ownerNameBytesMax))],
  ['user_raw', (json, draft) => void (draft.userRaw = bounded(readBase64(json), ownerNameBytesMax))],
  ['group', (json, draft) => void (draft.group = bounded(json.string(), ownerNameBytesMax))],
  ['group_raw', (json, draft) => void (draft.groupRaw = bounded(readBase64(json), ownerNameBytesMax))],
  ['inode', (json, draft) => void (draft.inode = json.uint64())],
  ['device_id', (json, draft) => void (draft.deviceId = json.uint64())],
  ['size', (json, draft) => void (draft.size = json.count(Number.MAX_SAFE_INTEGER))],
  ['links', (json, draft) => void (draft.links = json.count(Number.MAX_SAFE_INTEGER))],
  ['linktarget', (json, draft) => void (draft.linkTarget = linkTarget(json.string()))],
  ['linktarget_raw', (json, draft) => void (draft.linkTargetRaw = linkTarget(readBase64(json)))],
  ['extended_attributes', (json, draft) => void (draft.xattrs = readXattrs(json))],
  ['device', (json, draft) => void (draft.device = json.uint64())],
  ['content', (json, draft) => void (draft.content = readContent(json))],
  ['subtree', (json, draft) => void (draft.subtree = readId<TreeId>(json))],
]
const nodeKeys = jsonKeys(fields.map(([name]) => name))

const timeZero = parseGoTime(goZeroTime) ?? 0n

type Node = { -readonly [Field in keyof TreeNode]: TreeNode[Field] }

function finish(draft: Draft, place: Place): TreeNode {
  const type = parseNodeType(draft.type ?? '')
  const user = draft.userRaw ?? draft.user
  const group = draft.groupRaw ?? draft.group
  const node: Node = {
    name: checkName(draft.name, place),
    type,
    mode: fromGoMode(draft.mode ?? 0),
    uid: draft.uid ?? 0,
    gid: draft.gid ?? 0,
    mtimeNs: draft.mtimeNs ?? timeZero,
  }
  if (user) node.user = user
  if (group) node.group = group
  if (draft.atimeNs !== undefined) node.atimeNs = draft.atimeNs
  if (draft.ctimeNs !== undefined) node.ctimeNs = draft.ctimeNs
  if (draft.inode) node.inode = draft.inode
  if (draft.deviceId) node.deviceId = draft.deviceId
  if (draft.links) node.links = draft.links
  if (draft.xattrs && draft.xattrs.length > 0) node.xattrs = draft.xattrs
  addContent(node, draft, place)
  return node
}

/** What only some types have. Of a type that we do not know, nothing. */
function addContent(node: Node, draft: Draft, place: Place): void {
  const { type } = node
  place.field = 'content'
  if (type === 'file') {
    node.size = draft.size ?? 0
    node.content = checkContent(draft)
  } else if (type !== 'irregular' && draft.content !== undefined && draft.content.length > 0) {
    throw new JsonProblem('should be there for files only')
  }
  if (type === 'dir') {
    place.field = 'subtree'
    node.subtree = checkPresent(draft.subtree)
  }
  if (type === 'symlink') {
    place.field = 'linktarget'
    node.linkTarget = checkPresent(draft.linkTargetRaw ?? draft.linkTarget)
  }
  if (type === 'dev' || type === 'chardev') node.device = draft.device ?? 0n
}

function checkName(name: RawText | undefined, place: Place): RawName {
  place.field = 'name'
  if (name === undefined || !isRawName(name)) throw new JsonProblem('is no name that can stand in a folder')
  return name
}

/** Where a file lost its blobs it must not come back empty. */
function checkContent({ content = [], size = 0 }: Draft): readonly BlobId[] {
  if (content.length === 0 && size > 0) throw new JsonProblem(`is missing for a file of ${size} bytes`)
  return content
}

function checkPresent<T extends string>(value: T | undefined): T {
  if (value === undefined || value === '') throw new JsonProblem('is missing')
  return value
}

function unquote(quoted: RawText): RawText {
  const name = goUnquote(quoted)
  if (name === undefined) throw new JsonProblem('is not quoted as restic does')
  return name
}

function readTime(json: JsonReader): bigint {
  const time = parseGoTime(json.string())
  if (time === undefined) throw new JsonProblem('is no time')
  return time
}

function knownTime(ns: bigint): bigint | undefined {
  return ns === timeZero ? undefined : ns
}

function linkTarget(target: RawText): RawText {
  if (target.includes('\0')) throw new JsonProblem('has a NUL')
  return bounded(target, pathBytesMax)
}

function bounded(raw: RawText, bytesMax: number): RawText {
  if (raw.length > bytesMax) throw new JsonProblem(`is longer than ${bytesMax} bytes`)
  return raw
}

function readContent(json: JsonReader): BlobId[] {
  const ids: BlobId[] = []
  json.expect('[')
  for (let first = true; json.more(']', first); first = false) ids.push(readId<BlobId>(json))
  return ids
}

function readId<T extends BlobId | TreeId>(json: JsonReader): T {
  const id = parseId<T>(json.string())
  if (id === undefined) throw new JsonProblem('is no id of 64 hex digits')
  return id
}

function readBytes(json: JsonReader): Buffer {
  const written = json.string()
  const bytes = Buffer.from(written, 'base64')
  // Node reads over what is not base64; writing it again shows whether there was such.
  if (bytes.toString('base64') !== written) throw new JsonProblem('is no base64')
  return bytes
}

function readBase64(json: JsonReader): RawText {
  return rawFromBytes(readBytes(json))
}

const xattrKeys = jsonKeys(['name', 'name_raw', 'value'])

function readXattrs(json: JsonReader): Xattr[] {
  const xattrs: Xattr[] = []
  json.expect('[')
  for (let first = true; json.more(']', first); first = false) xattrs.push(readXattr(json))
  return xattrs
}

function readXattr(json: JsonReader): Xattr {
  let name = asRaw('')
  let nameRaw: RawText | undefined
  let value: Uint8Array = new Uint8Array()
  json.expect('{')
  for (let first = true; json.more('}', first); first = false) {
    const place = json.key(xattrKeys, 0)
    if (place === -1) json.skip()
    else if (json.null()) continue
    else if (place === 0) name = json.string()
    else if (place === 1) nameRaw = readBase64(json)
    else value = readBytes(json)
  }
  const known = nameRaw ?? name
  if (known === '' || known.length > xattrNameBytesMax || known.includes('\0')) {
    throw new JsonProblem('has a name that no attribute can have')
  }
  return { name: known, value }
}
