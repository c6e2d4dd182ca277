import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LoggedEntry } from '../engine/entries.ts'
import { undoTitle } from './run-undo.ts'

const entry = (number: number, title: string) => ({ number, title }) as unknown as LoggedEntry

test('an undo of one is told with its title, of several by their numbers', () => {
  const titleOf = (...subject: LoggedEntry[]) => undoTitle({ kind: 'undo', subject, together: [] })
  assert.equal(titleOf(entry(2, 'apt-get upgrade')), 'undo #2: apt-get upgrade')
  assert.equal(titleOf(entry(4, 'a'), entry(2, 'b')), 'undo #4, #2')
  assert.equal(titleOf(...[9, 7, 5, 4].map((number) => entry(number, 'x'))), 'undo #9, #7 and 2 more')
})

test('an undo of an undo is not told by the title of what that one took back, as if it had its number', () => {
  const titleOf = (title: string) => undoTitle({ kind: 'undo', subject: [entry(23, title)], together: [] })
  assert.equal(titleOf('undo #22: changes by hand: /etc/hosts'), 'undo #23: undo #22')
  assert.equal(titleOf('undo #23: undo #22'), 'undo #23: undo #23')
  assert.equal(titleOf('undo to before #3'), 'undo #23: undo to before #3')
  assert.equal(titleOf('redo the calibration: 2'), 'undo #23: redo the calibration: 2')
})
