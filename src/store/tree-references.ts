// Which blobs a tree names, and nothing else of it: whatever the type of a node and whoever wrote it.
import { VmlError } from '../base/failure.ts'
import { type BlobId, parseId, type TreeId } from '../model/ids.ts'
import { jsonKeys, JsonProblem, JsonReader } from './json-reader.ts'
import { treeBytesMax } from './tree-codec.ts'
import { readNodes } from './tree-frame.ts'

export interface ReferenceVisitor {
  data(id: BlobId): void
  tree(id: TreeId): void
}

const nodeKeys = jsonKeys(['content', 'subtree'])

/**
 * Unlike `decodeTree` it takes names, times and types as they are, so that a node of a later version of restic loses nothing.
 * Only references that cannot be understood are `integrity.format`.
 */
export function readTreeReferences(bytes: Uint8Array, visitor: ReferenceVisitor): void {
  try {
    if (bytes.length > treeBytesMax) throw new JsonProblem(`has more than ${treeBytesMax} bytes`)
    const json = new JsonReader(bytes)
    readNodes(json, () => readNode(json, visitor), { lenient: true })
  } catch (cause) {
    if (!(cause instanceof JsonProblem)) throw cause
    throw new VmlError('integrity.format', `the tree ${cause.message}`, { cause })
  }
}

function readNode(json: JsonReader, visitor: ReferenceVisitor): void {
  json.expect('{')
  for (let first = true; json.more('}', first); first = false) {
    const field = json.key(nodeKeys, 0)
    if (field === -1) {
      json.skip()
    } else if (!json.null()) {
      if (field === 0) readContent(json, visitor)
      else visitor.tree(readId<TreeId>(json))
    }
  }
}

function readContent(json: JsonReader, visitor: ReferenceVisitor): void {
  json.expect('[')
  for (let first = true; json.more(']', first); first = false) visitor.data(readId<BlobId>(json))
}

function readId<T extends BlobId | TreeId>(json: JsonReader): T {
  const id = parseId<T>(json.string())
  if (id === undefined) throw new JsonProblem('names a blob by what is no id')
  return id
}
