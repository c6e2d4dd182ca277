import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { markOf } from '../base/process-mark.ts'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import { describeLeftBehind } from './left-behind.ts'
import { encodeStageNote, type StageNote } from './stage-note.ts'

const note: StageNote = {
  schema: 1,
  token: 'a'.repeat(32),
  source: 'command',
  title: 'large copy',
  note: '',
  tags: [],
  command: [],
  user: { name: 'root', uid: 0 },
  startedAt: '2026-11-22T05:00:00.000Z',
  process: { id: 1, started: '1' },
}

test('who only looks is told of a commit that was cut off, and of none that somebody works on or that waits', () => {
  const state = mkdtempSync(join(tmpdir(), 'vml-left-'))
  const open = join(state, 'stage', 'open')
  mkdirSync(join(open, 'journal'), { recursive: true })
  const place = { state: parseRawPath(rawFromString(state)) ?? rootPath }
  const toldOf = (own: Partial<StageNote>, journal?: string) => {
    writeFileSync(join(open, 'note.json'), encodeStageNote({ ...note, ...own }))
    if (journal !== undefined) writeFileSync(join(open, 'journal', 'state'), journal)
    return describeLeftBehind(place)
  }
  try {
    assert.match(describeLeftBehind(place) ?? '', /^A transaction that had not begun was cut off: /)
    assert.match(toldOf({}) ?? '', /^"large copy" was cut off: vml tx recover ends it/)
    for (const journal of ['COMMITTING\n', 'COMMITTED\n', 'no state'])
      assert.match(
        toldOf({}, journal) ?? '',
        /^"large copy" was cut off while it was committed.* vml tx recover finishes .* --backward /,
      )
    assert.match(toldOf({}, 'TAKING-BACK\n') ?? '', /was cut off while it was taken back/)
    assert.equal(
      toldOf({ process: { id: process.pid, started: markOf(process.pid)?.started ?? '' } }),
      undefined,
    )
    assert.equal(toldOf({ waiting: true }), undefined)
  } finally {
    rmSync(state, { recursive: true })
  }
})
