// Changes a tree without reading the nodes that stay: what another program wrote in them is kept byte for byte.
import type { RawName } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { JsonReader } from './json-reader.ts'
import type { TreeEdit } from './repair.ts'
import { decodeTree, encodeTree } from './tree-codec.ts'
import { readNodes } from './tree-frame.ts'

/** `bytes` can be read by `decodeTree`. */
export function editTree(bytes: Buffer, { drop, subtrees, put }: TreeEdit): Buffer {
  const written = nodesAsWritten(bytes)
  const nodes = new Map<RawName, Buffer>()
  for (const [at, node] of decodeTree(bytes).entries()) {
    const text = written[at]
    if (text === undefined) throw new RangeError('A tree has fewer nodes than were read from it')
    if (drop.has(node.name)) continue
    const subtree = subtrees.get(node.name)
    nodes.set(node.name, subtree === undefined ? text : withSubtree(text, { ...node, subtree }, node))
  }
  for (const node of put) nodes.set(node.name, encodeNode(node))
  const parts: Buffer[] = []
  for (const name of [...nodes.keys()].toSorted((left, right) => (left < right ? -1 : 1))) {
    const text = nodes.get(name)
    if (text) parts.push(Buffer.from(parts.length === 0 ? '' : ','), text)
  }
  const edited = Buffer.concat([Buffer.from(before), ...parts, Buffer.from(after)])
  // What is stored must be what is meant, whoever wrote the rest.
  if (decodeTree(edited).length !== nodes.size) throw new Error('An edited tree is not what it was to be')
  return edited
}

const before = '{"nodes":['
const after = ']}\n'

function nodesAsWritten(bytes: Buffer): readonly Buffer[] {
  const json = new JsonReader(bytes)
  const nodes: Buffer[] = []
  readNodes(json, () => {
    const start = json.offset
    json.skip()
    nodes.push(bytes.subarray(start, json.offset))
  })
  return nodes
}

/** A quote inside of a string is escaped, so the key stands nowhere else but as a key. */
function withSubtree(text: Buffer, node: TreeNode, old: TreeNode): Buffer {
  const places = [...text.toString('latin1').matchAll(/"subtree"\s*:\s*"([0-9a-f]{64})"/g)]
  const [place] = places
  // Written in another way, with escapes: then as we write it.
  if (!place || places.length > 1 || place[1] !== old.subtree) return encodeNode(node)
  const end = place.index + place[0].length - 1
  const changed = Buffer.from(text)
  changed.write(node.subtree ?? '', end - 64, 'latin1')
  return changed
}

function encodeNode(node: TreeNode): Buffer {
  const tree = encodeTree([node])
  return tree.subarray(before.length, tree.length - after.length)
}
