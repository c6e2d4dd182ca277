import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { asRaw, rawFromBytes } from '../base/raw-text.ts'
import { parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'
import type { AttributeState, Journal, Step } from './journal.ts'
import { decodeJournal, encodeJournal } from './journal-format.ts'

const name = fc
  .uint8Array({ minLength: 1, maxLength: 12 })
  .map((bytes) => rawFromBytes(bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x0a : byte))))
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map(pathOf)
const number = fc.nat(0o7777)
const state: fc.Arbitrary<AttributeState> = fc.record(
  {
    mode: number,
    uid: number,
    gid: number,
    xattrs: fc.array(
      fc.record(
        { name, value: fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)) },
        { noNullPrototype: true },
      ),
      { maxLength: 2 },
    ),
  },
  { requiredKeys: ['mode', 'uid', 'gid'], noNullPrototype: true },
)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('create' as const), path, made: path }, { noNullPrototype: true }),
  fc.record({ kind: fc.constant('delete' as const), path, kept: path }, { noNullPrototype: true }),
  fc.record(
    { kind: fc.constant('replace' as const), path, made: path, kept: path },
    { noNullPrototype: true },
  ),
  fc.record(
    {
      kind: fc.constant('retype' as const),
      path,
      made: path,
      kept: path,
      to: fc.constantFrom('folder' as const, 'other' as const),
    },
    { noNullPrototype: true },
  ),
  fc.record(
    {
      kind: fc.constant('attributes' as const),
      path,
      type: fc.constantFrom('dir' as const, 'file' as const, 'symlink' as const, 'socket' as const),
      before: state,
      after: state,
    },
    { noNullPrototype: true },
  ),
)
const time = fc.bigInt({ min: -(10n ** 18n), max: 10n ** 19n })
const journal: fc.Arbitrary<Journal> = fc.record(
  {
    root: path,
    folder: fc.constant(rootPath),
    keeps: fc.array(
      fc.record(
        { folder: path, made: fc.array(path, { maxLength: 2 }), aboveMtimeNs: time },
        { noNullPrototype: true },
      ),
      { maxLength: 3 },
    ),
    steps: fc.array(step, { maxLength: 8 }),
    times: fc.array(
      fc.record({ path, beforeNs: time, afterNs: time }, { requiredKeys: ['path'], noNullPrototype: true }),
      { maxLength: 4 },
    ),
    inside: fc.array(path, { maxLength: 4 }).map((paths) => new Set(paths)),
  },
  { requiredKeys: ['root', 'folder', 'keeps', 'steps', 'times'], noNullPrototype: true },
)

test('a journal reads as it was written, whatever bytes its names have', () => {
  fc.assert(
    fc.property(journal, (written) => {
      assert.deepEqual(decodeJournal(encodeJournal(written), rootPath), written)
    }),
  )
})

test('a journal of which a byte is another one, or the end is missing, is none', () => {
  fc.assert(
    fc.property(journal, fc.nat(), fc.integer({ min: 1, max: 255 }), (written, at, flip) => {
      const bytes = encodeJournal(written)
      const index = at % bytes.length
      assert.equal(decodeJournal(bytes.subarray(0, index), rootPath), undefined)
      bytes[index] = (bytes[index] ?? 0) ^ flip
      assert.equal(decodeJournal(bytes, rootPath), undefined)
    }),
  )
})

function pathOf(names: readonly string[]): RawPath {
  const found = parseRawPath(
    asRaw(`/${names.map((each) => (each === '.' || each === '..' ? '...' : each)).join('/')}`),
  )
  assert.ok(found)
  return found
}
