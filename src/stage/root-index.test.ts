import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import type { RawPath } from '../model/raw-path.ts'
import {
  compareIndex,
  entryOf,
  linkedPaths,
  makeColumns,
  rowsBelow,
  type IndexEntry,
  type RootIndex,
} from './root-index.ts'
import { decodeIndex, encodeIndex } from './root-index-file.ts'

const bits = (count: number) => fc.bigInt({ min: 0n, max: 2n ** BigInt(count) - 1n })
const entries: fc.Arbitrary<IndexEntry> = fc.record(
  {
    mode: fc.constantFrom(0o100644, 0o040755, 0o120777),
    uid: fc.nat(),
    gid: fc.nat(3),
    links: fc.integer({ min: 1, max: 3 }),
    inode: fc.oneof(bits(64), bits(2)),
    deviceId: bits(1),
    size: fc.maxSafeNat(),
    mtimeNs: bits(64).map((value) => BigInt.asIntN(64, value)),
    ctimeNs: bits(3),
  },
  { noNullPrototype: true },
)
const names = fc
  .array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 4 })
  .map((codes) => String.fromCharCode(...codes).replaceAll('/', '-'))
  .filter((name) => name !== '.' && name !== '..')
const paths = fc.array(names, { maxLength: 4 }).map((parts) => `/${parts.join('/')}` as RawPath)
const tables = fc.dictionary(paths, entries, { maxKeys: 30 }).map((table) => new Map(Object.entries(table)))

function indexOf(table: ReadonlyMap<string, IndexEntry>): RootIndex {
  const sorted = [...table.keys()].toSorted() as RawPath[]
  const columns = makeColumns(sorted.length)
  for (const [row, path] of sorted.entries()) {
    const entry = table.get(path)
    assert.ok(entry)
    for (const name of ['mode', 'uid', 'gid', 'links', 'size'] as const) columns[name][row] = entry[name]
    for (const name of ['inode', 'deviceId', 'mtimeNs', 'ctimeNs'] as const) columns[name][row] = entry[name]
  }
  return { paths: sorted, columns }
}

test('an index reads back as it was written, and finds each path', () => {
  fc.assert(
    fc.property(tables, paths, (table, other) => {
      const index = indexOf(table)
      const back = decodeIndex(encodeIndex(index))
      assert.deepEqual(back, index)
      for (const [path, entry] of table) assert.deepEqual(entryOf(back, path as RawPath), entry)
      assert.deepEqual(entryOf(back, other), table.get(other))
      const [first, end] = rowsBelow(back, other)
      const below = back.paths
        .slice(first, end)
        .filter((path) => other === '/' || path.startsWith(`${other}/`))
      assert.deepEqual(
        below,
        index.paths.filter((path) => other === '/' || path.startsWith(`${other}/`)),
      )
    }),
  )
})

test('two indexes differ in just the paths that are not the same in both', () => {
  fc.assert(
    fc.property(tables, tables, fc.array(fc.nat(29)), (table, other, kept) => {
      const next = new Map(other)
      for (const row of kept) {
        const [path, entry] = [...table][row] ?? []
        if (path !== undefined && entry !== undefined) next.set(path, entry)
      }
      const told = [...compareIndex(indexOf(table), indexOf(next))]
      const all = [...new Set([...table.keys(), ...next.keys()])].toSorted()
      const same = (path: string) => {
        const [one, two] = [table.get(path), next.get(path)]
        return (
          one !== undefined && two !== undefined && JSON.stringify(plain(one)) === JSON.stringify(plain(two))
        )
      }
      assert.deepEqual(
        told,
        all
          .filter((path) => !same(path))
          .map((path) => ({ path, before: table.get(path), after: next.get(path) })),
      )
    }),
  )
})

/** Numbers of file systems are not compared: they may be others after a boot. */
function plain(entry: IndexEntry) {
  return Object.entries(entry)
    .filter(([name]) => name !== 'deviceId')
    .map(String)
    .toSorted()
}

test('names of one file are found together', () => {
  const file = {
    mode: 0o100644,
    uid: 0,
    gid: 0,
    links: 2,
    inode: 7n,
    deviceId: 1n,
    size: 1,
    mtimeNs: 0n,
    ctimeNs: 0n,
  }
  const groups = linkedPaths(
    indexOf(
      new Map([
        ['/a', file],
        ['/b/a', file],
        ['/c', { ...file, deviceId: 2n }],
        ['/d', { ...file, links: 1 }],
        ['/e', { ...file, mode: 0o040755 }],
      ]),
    ),
  )
  assert.deepEqual([...groups.values()], [['/a', '/b/a'], ['/c']])
})

test('what is no index, cut off or altered is refused by a code', () => {
  fc.assert(
    fc.property(
      tables,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      (table, place, flip, cut) => {
        const file = encodeIndex(indexOf(table))
        const at = place % file.length
        if (cut) assert.throws(() => decodeIndex(file.subarray(0, at)), isIntegrity)
        else {
          file[at] = (file[at] ?? 0) ^ flip
          try {
            assert.deepEqual(decodeIndex(file), indexOf(table))
          } catch (error) {
            if (!isIntegrity(error)) throw error
          }
        }
      },
    ),
  )
})

const isIntegrity = (error: unknown) => isFailure(error, 'integrity.format', 'integrity.hash')
