import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import type { TreeId } from '../model/ids.ts'
import { isRawName, type RawName } from '../model/raw-path.ts'
import { fileNode, folderNode } from '../../test/store-fixture.ts'
import { editTree } from './repair-tree.ts'
import { decodeTree, encodeTree } from './tree-codec.ts'

const old = 'a'.repeat(64) as TreeId
const next = 'b'.repeat(64) as TreeId

function name(text: string): RawName {
  const raw = rawFromString(text)
  return isRawName(raw) ? raw : assert.fail()
}

test('nodes that stay keep fields of other programs byte for byte, also where their folder gets another tree', () => {
  const foreign = `"generic_attributes":{"windows.creation_time":"\\u00e9 8 bytes","n":12345678901234567890}`
  const node = (text: string, more: string) =>
    `{"name":"${text}","type":"dir","mode":2147484141,"uid":0,"gid":0,${foreign},"content":null,"subtree":"${old}"${more}}`
  const bytes = Buffer.from(`{"nodes":[${node('a', '')}, ${node(old, '')} ,${node('b', ' ,"x":[1 , 2]')}]}\n`)
  const edited = editTree(bytes, {
    drop: new Set([name('a')]),
    subtrees: new Map([[name('b'), next]]),
    put: [fileNode('c', { content: [], size: 0 })],
  })
  assert.deepEqual(
    decodeTree(edited).map((each) => [each.name, each.subtree]),
    [
      [old, old],
      ['b', next],
      ['c', undefined],
    ],
  )
  assert.ok(edited.includes(node(old, '')))
  assert.ok(edited.includes(node('b', ' ,"x":[1 , 2]').replace(old, next)))
})

test('of our own trees an edit makes what writing them anew makes', () => {
  const nodes = [
    fileNode('"subtree":"x"', { content: [], size: 0 }),
    folderNode('dir', old),
    fileNode('z', { content: [], size: 0 }),
  ]
  const edited = editTree(encodeTree(nodes), {
    drop: new Set([name('z')]),
    subtrees: new Map([[name('dir'), next]]),
    put: [folderNode('.vml', old)],
  })
  const expected = [
    folderNode('.vml', old),
    fileNode('"subtree":"x"', { content: [], size: 0 }),
    folderNode('dir', next),
  ]
  assert.ok(edited.equals(encodeTree(expected)))
})

test('nothing but dropped nodes leaves an empty tree, and no edit leaves the same bytes', () => {
  const bytes = encodeTree([folderNode('dir', old)])
  const same = editTree(bytes, { drop: new Set(), subtrees: new Map(), put: [] })
  assert.ok(same.equals(bytes))
  const none = editTree(bytes, { drop: new Set([name('dir')]), subtrees: new Map(), put: [] })
  assert.ok(none.equals(encodeTree([])))
})
