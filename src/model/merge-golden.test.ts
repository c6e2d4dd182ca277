import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import { mergeFile } from './merge.ts'
import { parseRawPath } from './raw-path.ts'

const golden = join(import.meta.dirname, '../../test/golden/transaction')
const files = globSync('{before,after,now,truth}/**', { cwd: golden, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) =>
    join(entry.parentPath, entry.name)
      .slice(golden.length)
      .replace(/^\/[a-z]+/, ''),
  )

test('without k a Debian system is, byte by byte, the one on which k never ran; only later numbers of users stay', () => {
  let mergedCount = 0
  for (const file of new Set(files)) {
    const sides = { base: read('after', file), ours: read('now', file), theirs: read('before', file) }
    const outcome = mergeFile(pathOf(file), sides)
    assert.ok(outcome.kind === 'merged', file)
    const truth = read('truth', file)
    assert.equal(withoutLaterNumbers(outcome.bytes), withoutLaterNumbers(truth), file)
    const isAsIs = [sides.ours, sides.theirs].some((side) => String(side) === String(outcome.bytes))
    if (!isAsIs) mergedCount++
  }
  assert.ok(mergedCount >= 12, `${mergedCount} files needed a merge`)
})

test('an undo of the undo leads back to where both had run', () => {
  for (const file of new Set(files)) {
    const [before, after, now] = ['before', 'after', 'now'].map((state) => read(state, file))
    const undone = mergeFile(pathOf(file), { base: after, ours: now, theirs: before })
    assert.ok(undone.kind === 'merged')
    const redone = mergeFile(pathOf(file), { base: undone.bytes, ours: undone.bytes, theirs: now })
    assert.deepEqual(redone, { kind: 'merged', bytes: now })
  }
})

test('later work after the undo stays in the redo', () => {
  const file = '/var/lib/dpkg/status'
  const [after, now, truth] = ['after', 'now', 'truth'].map((state) => read(state, file))
  // On the system without k, j is undone, then redone over what k brought: the same as k and j.
  const redone = mergeFile(pathOf(file), { base: read('before', file), ours: after, theirs: truth })
  assert.deepEqual(redone, { kind: 'merged', bytes: now })
})

function read(state: string, file: string): Buffer | undefined {
  const path = join(golden, state, file)
  return existsSync(path) ? readFileSync(path) : undefined
}

/** sshd, bob and their groups came after k, which had taken the numbers before theirs. */
function withoutLaterNumbers(bytes: Buffer | undefined): string | undefined {
  return bytes?.toString('latin1').replaceAll(/^(_ssh|sshd):x:\d+:/gm, '$1:x:N:')
}

function pathOf(path: string) {
  const parsed = parseRawPath(asRaw(path))
  assert.ok(parsed !== undefined)
  return parsed
}
