// What of a stored path goes into the plan of a restore to this host, and what stays behind.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import type { BlobId } from '../model/ids.ts'
import type { RawName } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { neededOf } from './restore-node.ts'

const origin = { inode: 7n, deviceId: 3n, ctimeNs: 5n }
const unused = { user: asRaw('lab'), group: asRaw('lab'), atimeNs: 9n }
const file: TreeNode = {
  name: asRaw('fit.C') as RawName,
  type: 'file',
  mode: 0o640,
  uid: 1,
  gid: 2,
  mtimeNs: 4n,
  size: 6,
  content: ['ab'.repeat(32) as BlobId],
}
const attribute = { name: asRaw('user.k'), value: Buffer.from('v') }

test('what is written of a path is kept, whatever it is', () => {
  const { content: _, size: _size, ...bare } = file
  for (const node of [
    file,
    { ...file, xattrs: [attribute] },
    { ...bare, type: 'dir', xattrs: [attribute] },
    { ...bare, type: 'symlink', linkTarget: asRaw('fit.C') },
    { ...bare, type: 'chardev', device: 259n },
    { ...bare, type: 'fifo' },
  ] satisfies TreeNode[])
    for (const sameMachine of [true, false]) {
      assert.deepEqual(neededOf(node, { sameMachine }), node)
      assert.deepEqual(neededOf({ ...node, ...unused }, { sameMachine }), node)
    }
})

test('two names of one file can be told as such, and one name needs nothing for it', () => {
  const twice = { ...file, ...origin, links: 2 }
  const { ctimeNs: _, ...told } = twice
  assert.deepEqual(neededOf(twice, { sameMachine: false }), told)
  assert.deepEqual(neededOf({ ...file, ...origin, links: 1 }, { sameMachine: false }), file)
})

test('on the same machine it can still be told whether a file was touched since', () => {
  const once = { ...file, ...origin, links: 1 }
  const { ctimeNs, inode } = origin
  assert.deepEqual(neededOf(once, { sameMachine: true }), { ...file, ctimeNs, inode })
})
