import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RawPath } from '../model/raw-path.ts'
import { packagesText, transactionTable } from './commands/tx-list.ts'
import { stayedNote } from './print-beside.ts'

const row = (number: string, title: string, mark = '') => [
  ...[number, '2026-11-21 19:19:58', title, '+1', '5 paths', '32.9 KiB', mark],
]
const long = 'apt-get install -y '.padEnd(200, 'joe ')

test('one long title does not make every line of the list as long', () => {
  const [whole = '', other = ''] = transactionTable(
    [row('#2', long), row('#1', 'a tool', '[live]')],
    undefined,
  )
  assert.ok(whole.includes(long.trim()))
  assert.ok(other.length < 130, other)
})

test('on a terminal titles are cut so that the lines fit, and stay readable where nothing would fit', () => {
  for (const width of [90, 120, 300]) {
    const lines = transactionTable([row('#2', long), row('#1', 'a tool', '[live]')], width)
    for (const line of lines) assert.ok(line.length <= Math.min(width, 130), line)
    assert.match(lines[0] ?? '', /apt-get install.*…  \+1/)
  }
  assert.match(transactionTable([row('#2', long)], 20)[0] ?? '', /apt-get install -y …/)
})

test('a package that is removed and purged later went once', () => {
  const gone = { name: 'x', architecture: 'all', fate: 'purged' } as const
  assert.deepEqual([packagesText([{ ...gone, from: '1' }]), packagesText([gone])], ['−1', ''])
})

test('what stayed and has nothing beside it is not told as having it', () => {
  const [one, other] = ['/etc/one', '/etc/other'] as RawPath[]
  assert.ok(one !== undefined && other !== undefined)
  const beside = (['mine', 'old'] as const).map((side) => ({
    of: one,
    side,
    path: `${one}.${side}` as RawPath,
    wanted: { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n } as const,
  }))
  const conflicts = [one, other].map((path) => ({ path, reason: '', keys: [], now: undefined }))
  const note = (staying: typeof conflicts) =>
    stayedNote({ paths: { paths: [], conflicts: staying, kept: [], regenerated: [], already: 0 }, beside })
  assert.match(note(conflicts.slice(0, 1)), /^1 path stayed as it is; beside lie \.mine .*edit the file as/)
  assert.match(note(conflicts), /^2 paths stayed as they are; beside 1 of them lie \.mine .*edit the file as/)
})
