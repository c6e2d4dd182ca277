import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { asRaw, rawFromBytes, rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'
import { encodeStageNote, parseStageNote, readStageNote, type StageNote } from './stage-note.ts'

const pathOf = (path: string): RawPath => parseRawPath(rawFromString(path)) ?? rootPath
const file = pathOf('/state/stage/open/note.json')

const note: StageNote = {
  schema: 1,
  token: 'a'.repeat(32),
  source: 'command',
  title: 'a command',
  note: '',
  tags: ['tag'],
  command: [rawFromString('touch'), rawFromBytes(Buffer.from([0x2f, 0xff]))],
  user: { name: 'root', uid: 0, login: 'ada' },
  startedAt: '2026-11-22T05:00:00.000Z',
  process: { id: 1, started: '1' },
  scan: { root: pathOf('/'), state: pathOf('/var/lib/vml'), mounts: [], hidden: [] },
  modeReason: 'no overlay',
}

/** Some characters, of any kind, up to 100,000 times. */
const long = fc
  .tuple(fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }), fc.integer({ min: 0, max: 100_000 }))
  .map(([some, length]) => some.repeat(Math.ceil(length / some.length)).slice(0, length))
const longBytes = fc
  .tuple(fc.uint8Array({ minLength: 1, maxLength: 4 }), fc.integer({ min: 0, max: 300_000 }))
  .map(([some, length]) => rawFromBytes(Buffer.alloc(length, some)))

test('whatever texts come from outside, the note of a stage can be read again, and says the same but for what was cut', () => {
  fc.assert(
    fc.property(
      fc.record({ title: long, modeReason: long, login: long, name: long, word: longBytes }),
      ({ title, modeReason, login, name, word }) => {
        const whole = { ...note, title, modeReason, user: { name, uid: 0, login }, command: [word] }
        const read = parseStageNote(Buffer.from(encodeStageNote(whole)), file)
        const isSame = (was: string, is = '') =>
          is === was || (was.length > is.length && was.startsWith(is.slice(0, -3)))
        assert.ok(isSame(title, read.title) && isSame(modeReason, read.modeReason))
        assert.ok(isSame(name, read.user.name) && isSame(login, read.user.login))
        assert.ok(isSame(word, read.command[0]))
        assert.deepEqual({ ...read, ...whole }, whole)
      },
    ),
    { numRuns: 50 },
  )
  const many = { ...note, command: Array.from({ length: 200_000 }, () => asRaw('x')) }
  assert.equal(parseStageNote(Buffer.from(encodeStageNote(many)), file).command.length, 100_000)
})

test('a note that could not be read again is refused before anything is written', () => {
  const refused = (bad: Partial<StageNote>) =>
    assert.throws(
      () => encodeStageNote({ ...note, ...bad }),
      (error) => isFailure(error, 'unsupported'),
    )
  refused({ startedAt: 'some time' })
  refused({ token: '' })
})

test('of a note with a field that is too long, or with none that can be read, all is told that is known, each time the same', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-note-'))
  const open = pathOf(join(folder, 'note.json'))
  try {
    const long = encodeStageNote(note)
      .replace('a command', 'm'.repeat(100_000))
      .replace('no overlay', 'r'.repeat(5000))
    writeFileSync(open, long)
    const { unread, ...read } = readStageNote(open) ?? note
    assert.match(unread?.message ?? '', /field "title" is not as it must be/)
    assert.equal(read.title.length, 64 * 1024)
    assert.equal(read.modeReason?.length, 4096)
    assert.deepEqual(
      { ...read, title: note.title, modeReason: note.modeReason, waiting: undefined, probation: undefined },
      {
        ...note,
        waiting: undefined,
        probation: undefined,
      },
    )

    writeFileSync(open, '{"title": "a comm')
    writeFileSync(join(folder, 'frontend'), '4711 99 8c1f\n')
    const damaged = readStageNote(open)
    assert.deepEqual(damaged?.process, { id: 4711, started: '99' })
    assert.equal(damaged?.title, 'a transaction of which the note cannot be read')
    assert.match(damaged?.token ?? '', /^[0-9a-f]{32}$/)
    assert.equal(readStageNote(open)?.token, damaged?.token)
    rmSync(join(folder, 'frontend'))
    assert.deepEqual(readStageNote(open)?.process, { id: 0, started: '' })
  } finally {
    rmSync(folder, { recursive: true })
  }
})
