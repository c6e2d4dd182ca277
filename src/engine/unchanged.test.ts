import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fullFidelity } from '../../test/fidelity.ts'
import { asRaw } from '../base/raw-text.ts'
import type { RawName } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { isSettled, isUnchanged } from './unchanged.ts'

const second = 1_000_000_000n

function fileOf(ctimeNs: bigint): TreeNode {
  const owner = { mode: 0o644, uid: 0, gid: 0 }
  return { name: asRaw('f') as RawName, type: 'file', ...owner, size: 4, inode: 7n, mtimeNs: 5n, ctimeNs }
}

/** Of a file that looks the same as it did then. */
function isTakenOver(ctimeNs: bigint, scanStartedNs: bigint): boolean {
  return isUnchanged(
    fileOf(ctimeNs),
    fileOf(ctimeNs),
    { scanStartedNs, fidelity: fullFidelity },
    fullFidelity,
  )
}

test('a file system that stamps whole seconds does not hide a change in the second of the last scan', () => {
  // Both seen at half past: on ext4 with small inodes, and on FAT, which counts in twos.
  assert.equal(isTakenOver(100n * second, 100n * second + second / 2n), false)
  assert.equal(isTakenOver(100n * second, 101n * second + second / 2n), false)
  assert.equal(isTakenOver(100n * second, 103n * second), true)
})

test('a file system that stamps finely costs no second reading of what changed a moment before', () => {
  assert.equal(isTakenOver(100n * second + 1n, 100n * second + second / 2n), true)
  assert.equal(isTakenOver(100n * second + 1n, 100n * second + 2n), false)
})

test('a time that is settled is before the scan by more than its own tick', () => {
  assert.equal(isSettled(10n * second, 12n * second), false)
  assert.equal(isSettled(10n * second, 12n * second + 1n), true)
  assert.equal(isSettled(10n * second + 1n, 10n * second + 2n), true)
})
