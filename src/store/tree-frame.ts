// What stands around the nodes of a tree: an object with a list of them, and perhaps fields that nobody here knows.
import { jsonKeys, JsonProblem, type JsonReader } from './json-reader.ts'

const treeKeys = jsonKeys(['nodes'])

/**
 * `readNode` is called before each node and must read it. `lenient`: as Go reads it, where the list may be null and each
 * of several counts.
 */
export function readNodes(
  json: JsonReader,
  readNode: () => void,
  { lenient = false }: { readonly lenient?: boolean } = {},
): void {
  let found = false
  json.expect('{')
  for (let first = true; json.more('}', first); first = false) {
    if (json.key(treeKeys, 0) === -1) {
      json.skip()
      continue
    }
    if (found && !lenient) throw new JsonProblem('names its nodes twice')
    found = true
    if (lenient && json.null()) continue
    json.expect('[')
    for (let firstNode = true; json.more(']', firstNode); firstNode = false) readNode()
  }
  json.end()
  if (!found) throw new JsonProblem('has no nodes')
}
