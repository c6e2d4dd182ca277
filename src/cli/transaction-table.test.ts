import assert from 'node:assert/strict'
import { test } from 'node:test'
import { transactionTable } from './commands/tx-list.ts'

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
