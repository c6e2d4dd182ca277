import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { asRaw, printable } from '../base/raw-text.ts'
import type { Entry } from './entry.ts'
import { parseEntryPath, parseEntryReference, resolveEntry, unescapeTyped } from './entry-reference.ts'
import { parseId, type EntryId, type SnapshotId, type TreeId } from './ids.ts'

test('numbers, ids, tags and places in a line name entries', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['#2', 2],
    ['2', 2],
    ['aaaa', 1],
    ['paper', 3],
    ['@latest', 4],
    ['@-1', 3],
    ['lab@latest', 3],
    ['lab@-2', 1],
    ['thesis@latest', 2],
    ['@{2026-11-02}', 2],
    ['@{2026-11-03 09:59}', 2],
    ['@{2026-11-03 10:00}', 3],
    ['lab@{2026-12-01}', 3],
  ]
  for (const [typed, number] of cases) assert.equal(find(typed).number, number, typed)
})

test('safety entries have numbers and are never the latest', () => {
  assert.equal(find('#5').kind, 'safety')
  assert.equal(find('web@latest').number, 4)
})

test('what names nothing is not found', () => {
  for (const typed of ['#9', 'nothing', 'ffff', 'nowhere@latest', 'lab@-7', '@{2020-01-01}'])
    assert.throws(
      () => find(typed),
      (error) => isFailure(error, 'not-found'),
      typed,
    )
})

test('what names several is refused with the ids to choose from', () => {
  const twice = [...entries, entryOf({ id: 'ab', number: 2, day: 6 })]
  assert.throws(
    () => resolveEntry(twice, parseEntryReference('#2'), '#2'),
    (error) =>
      isFailure(error, 'ambiguous') && /bbbb.*abab/.test(error.message) && /by its id/.test(error.hint ?? ''),
  )
  const sharedTag = [...entries, entryOf({ id: 'ac', number: 6, day: 7, tags: ['paper'] })]
  assert.throws(
    () => resolveEntry(sharedTag, parseEntryReference('paper'), 'paper'),
    (error) => isFailure(error, 'ambiguous') && /by its number/.test(error.hint ?? ''),
  )
})

test('a name that is nearly right leads to how it is written', () => {
  const hints = [
    ['latest', /@latest/],
    ['1-4', /1\.\.4/],
  ] as const
  for (const [typed, hint] of hints)
    assert.throws(
      () => find(typed),
      (error) => isFailure(error, 'not-found') && hint.test(error.hint ?? ''),
    )
})

test('a name that is a machine and another line of work is refused', () => {
  const both = [...entries, entryOf({ id: 'ad', number: 6, day: 7, machine: 'web', project: 'lab' })]
  assert.throws(
    () => resolveEntry(both, parseEntryReference('lab@latest'), 'lab@latest'),
    (error) => isFailure(error, 'ambiguous'),
  )
})

test('text that can be no name is a wrong use', () => {
  for (const typed of ['', '#', '#x', '@', '@last', '@{tomorrow}', '@{2026-02-30}', '@{2026-11-03 25:00}'])
    assert.throws(
      () => parseEntryReference(typed),
      (error) => isFailure(error, 'usage'),
      typed,
    )
})

test('a path follows the first colon with a slash', () => {
  const { entry, path } = parseEntryPath('lab@{2026-11-03 14:00}:/home/lab/a:/b//c/')
  assert.equal(entry.kind, 'at')
  assert.equal(path, '/home/lab/a:/b/c')
  assert.equal(parseEntryPath('#1').path, undefined)
  assert.throws(
    () => parseEntryPath('#1:/a/../b'),
    (error) => isFailure(error, 'usage'),
  )
})

test('every name that VML prints can be typed back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const raw = asRaw(Buffer.from(bytes).toString('latin1'))
      assert.equal(unescapeTyped(printable(raw)), raw)
    }),
  )
})

function find(typed: string): Entry {
  return resolveEntry(entries, parseEntryReference(typed), typed)
}

function entryOf(fields: {
  id: string
  number: number
  day: number
  machine?: string
  project?: string
  tags?: string[]
  kind?: Entry['kind']
}): Entry {
  const hex = fields.id.repeat(32).slice(0, 64)
  const id = parseId<EntryId>(hex)
  const snapshotId = parseId<SnapshotId>(hex)
  const tree = parseId<TreeId>('0'.repeat(64))
  assert.ok(id !== undefined && snapshotId !== undefined && tree !== undefined)
  const takenAt = new Date(2026, 10, fields.day, 10, 0, 0)
  const machine = fields.machine ?? 'lab'
  return {
    id,
    number: fields.number,
    machine,
    kind: fields.kind ?? 'environment',
    tags: fields.tags ?? [],
    title: `day ${fields.day}`,
    note: '',
    takenAt,
    ...(fields.project === undefined ? {} : { project: fields.project }),
    snapshot: {
      id: snapshotId,
      time: takenAt.toISOString(),
      tree,
      paths: [],
      hostname: machine,
      username: '',
      tags: [],
    },
  }
}

const entries: readonly Entry[] = [
  entryOf({ id: 'aa', number: 1, day: 1 }),
  entryOf({ id: 'bb', number: 2, day: 2, project: 'thesis' }),
  entryOf({ id: 'cc', number: 3, day: 3, tags: ['paper'] }),
  entryOf({ id: 'dd', number: 4, day: 4, machine: 'web' }),
  entryOf({ id: 'ee', number: 5, day: 5, machine: 'web', kind: 'safety' }),
]

test('a path without its first slash is told apart from an entry that is not there', () => {
  for (const [typed, correct] of [
    ['2:proj', '2:/proj,'],
    ['2:proj/x', '2:/proj/x,'],
    ['2:./proj', '2:/proj,'],
    ['2:', '2:/,'],
  ] as const) {
    const { entry, typed: asTyped } = parseEntryPath(typed)
    assert.throws(
      () => resolveEntry(entries, entry, asTyped),
      (error) =>
        isFailure(error, 'not-found') &&
        error.message.includes('begins with "/"') &&
        error.hint?.includes(`Write ${correct}`) === true,
      typed,
    )
  }
  // A moment has colons of its own.
  const { entry, typed } = parseEntryPath('@{2020-01-01 10:00}')
  assert.throws(
    () => resolveEntry(entries, entry, typed),
    (error) => isFailure(error, 'not-found') && !error.message.includes('begins with'),
  )
})
