// Trees as restic writes them: JSON of a folder's nodes, byte for byte, so that equal folders have equal ids.
// Source: restic, doc/design.rst, "Trees and Data", and the order of fields in its Node struct. docs/format.md, "Trees".
import { VmlError } from '../base/failure.ts'
import { rawToBytes, rawToUtf8, type RawText } from '../base/raw-text.ts'
import { isRawName } from '../model/raw-path.ts'
import type { TreeNode, Xattr } from '../model/tree.ts'
import { formatGoTime, goJsonString, goZeroTime } from './go-json.ts'
import { toGoMode } from './go-mode.ts'
import { goQuote } from './go-quote.ts'
import { JsonProblem, JsonReader } from './json-reader.ts'
import { readNodes } from './tree-frame.ts'
import { readNode, type Place } from './tree-node-reader.ts'

/** V8 and memory end somewhere above; a folder of a million files takes some 400 MB. */
export const treeBytesMax = 512 * 1024 * 1024
export const treeNodesMax = 2_000_000

/**
 * The JSON of a folder. Nodes may come in any order. Throws a plain Error for what no caller may pass: two nodes of a
 * name, a file without content, a folder without subtree.
 */
export function encodeTree(nodes: readonly TreeNode[]): Buffer {
  const pieces: Buffer[] = []
  let json = '{"nodes":['
  let last = ''
  for (const node of inOrder(nodes)) {
    if (last !== '') json += ','
    if (!isRawName(node.name) || node.name === last) throw new Error('A tree needs names, each only once')
    last = node.name
    json += encodeNode(node)
    if (json.length > pieceBytes) {
      pieces.push(Buffer.from(json, 'latin1'))
      json = ''
    }
  }
  pieces.push(Buffer.from(`${json}]}\n`, 'latin1'))
  return Buffer.concat(pieces)
}

const pieceBytes = 256 * 1024

function inOrder(nodes: readonly TreeNode[]): readonly TreeNode[] {
  const sorted = nodes.every((node, index) => index === 0 || (nodes[index - 1]?.name ?? '') < node.name)
  return sorted ? nodes : nodes.toSorted((left, right) => (left.name < right.name ? -1 : 1))
}

/** Fields in restic's order; those that Go calls `omitempty` are left out where they are empty or zero. */
function encodeNode(node: TreeNode): string {
  const mtime = formatGoTime(node.mtimeNs)
  // As restic does without --with-atime: stock restic would restore "not known" as a time in the year 1754.
  const atime =
    node.atimeNs === undefined || node.atimeNs === node.mtimeNs ? mtime : formatGoTime(node.atimeNs)
  const ctime = node.ctimeNs === undefined ? goZeroTime : formatGoTime(node.ctimeNs)
  let json = `{"name":${goJsonString(goQuote(node.name))},"type":"${node.type}"`
  json += number('mode', toGoMode(node))
  json += `,"mtime":"${mtime}","atime":"${atime}","ctime":"${ctime}","uid":${node.uid},"gid":${node.gid}`
  json += text('user', node.user) + text('group', node.group)
  json += number('inode', node.inode) + number('device_id', node.deviceId)
  json += number('size', node.size) + number('links', node.links)
  json += text('linktarget', node.linkTarget)
  if (node.xattrs !== undefined && node.xattrs.length > 0) {
    json += `,"extended_attributes":[${node.xattrs.map(encodeXattr).join()}]`
  }
  return `${json}${number('device', node.device)},"content":${encodeContent(node)}${encodeSubtree(node)}}`
}

function number(key: string, value: number | bigint | undefined): string {
  return value ? `,"${key}":${value}` : ''
}

/** Where bytes are not UTF-8 they stand once more in base64, as restic does for link targets since 0.16. */
function text(key: string, value: RawText | undefined): string {
  if (value === undefined || value === '') return ''
  const json = `,"${key}":${goJsonString(value)}`
  return rawToUtf8(value) === undefined ? `${json},"${key}_raw":"${base64(rawToBytes(value))}"` : json
}

function encodeXattr({ name, value }: Xattr): string {
  return `{${text('name', name).slice(1)},"value":"${base64(value)}"}`
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function encodeContent(node: TreeNode): string {
  if (node.type !== 'file') return 'null'
  if (node.content === undefined) throw new Error('A file needs its content, be it empty')
  return node.content.length === 0 ? '[]' : `["${node.content.join('","')}"]`
}

function encodeSubtree(node: TreeNode): string {
  if (node.type !== 'dir') return ''
  if (node.subtree === undefined) throw new Error('A folder needs its subtree')
  return `,"subtree":"${node.subtree}"`
}

/**
 * The nodes of a folder, in bytewise order of their names. Strict: anything but what restic reads as a tree with
 * names that can stand in a folder is `integrity.format`, with the path of the field. Unknown fields are left out.
 */
export function decodeTree(data: Uint8Array): TreeNode[] {
  const nodes: TreeNode[] = []
  const place: Place = { field: '' }
  try {
    if (data.length > treeBytesMax) throw new JsonProblem(`has more than ${treeBytesMax} bytes`)
    const json = new JsonReader(data)
    readTree(json, nodes, place)
  } catch (cause) {
    if (!(cause instanceof JsonProblem)) throw cause
    const path = place.field === '' ? '' : `nodes[${nodes.length}].${place.field}`
    throw new VmlError(
      'integrity.format',
      `Cannot read a tree of the logbook: ${path || 'it'} ${cause.message}`,
      {
        cause,
        details: { path },
        hint: 'Run vml check to see what is affected. If it came from somebody else, do not trust the rest of it',
      },
    )
  }
  return nodes
}

function readTree(json: JsonReader, nodes: TreeNode[], place: Place): void {
  readNodes(json, () => {
    if (nodes.length === treeNodesMax) throw new JsonProblem(`has more than ${treeNodesMax} nodes`)
    const node = readNode(json, place)
    const before = nodes.at(-1)
    if (before !== undefined && before.name >= node.name) {
      place.field = 'name'
      throw new JsonProblem('is not in order or stands twice')
    }
    nodes.push(node)
    place.field = ''
  })
}
