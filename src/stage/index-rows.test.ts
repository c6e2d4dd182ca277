import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { RawPath } from '../model/raw-path.ts'
import { mountTopsOf, onKnownDevices, otherMounts, withRows } from './index-rows.ts'
import { entryOf, makeColumns, type IndexEntry, type RootIndex } from './root-index.ts'

const nothing: RootIndex = { paths: [], columns: makeColumns(0) }
const paths = fc
  .array(fc.constantFrom('a', 'a-b', 'b', 'é'), { minLength: 1, maxLength: 3 })
  .map((names) => `/${names.join('/')}` as RawPath)
const entries = fc.record(
  {
    mode: fc.constantFrom(0o100644, 0o040755),
    uid: fc.nat(3),
    gid: fc.nat(3),
    links: fc.integer({ min: 1, max: 3 }),
    inode: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    deviceId: fc.constant(1n),
    size: fc.maxSafeNat(),
    mtimeNs: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    ctimeNs: fc.bigInt({ min: 0n, max: 3n }),
  },
  { noNullPrototype: true },
)
const tables = fc.array(fc.tuple(paths, fc.option(entries, { nil: undefined }))).map((rows) => new Map(rows))

test('an index with other rows has just those, in order, and all that were not named', () => {
  fc.assert(
    fc.property(tables, tables, (first, second) => {
      const expected = new Map<RawPath, IndexEntry>()
      for (const [path, row] of [...first, ...second]) {
        if (row) expected.set(path, row)
        else expected.delete(path)
      }
      const index = withRows(withRows(nothing, first), second)
      assert.deepEqual(index.paths, [...expected.keys()].toSorted())
      for (const [path, row] of expected) assert.deepEqual(entryOf(index, path), row)
    }),
  )
})

test('folders at which another file system begins are told', () => {
  const row = { mode: 0o040755, uid: 0, gid: 0, links: 2, inode: 2n, size: 0, mtimeNs: 0n, ctimeNs: 0n }
  const rows: [string, IndexEntry][] = [
    ['/', { ...row, deviceId: 1n }],
    ['/boot', { ...row, deviceId: 2n }],
    ['/boot/efi', { ...row, deviceId: 3n }],
    ['/boot/grub', { ...row, deviceId: 2n }],
    ['/etc', { ...row, deviceId: 1n }],
    ['/etc/hosts', { ...row, mode: 0o100644, deviceId: 4n }],
  ]
  const index = withRows(nothing, new Map(rows.map(([path, each]) => [path as RawPath, each])))
  assert.deepEqual([...mountTopsOf(index)], ['/boot', '/boot/efi'])
})

test('a folder whose device only has another number since the last start is no other file system', () => {
  const row = { mode: 0o040755, uid: 0, gid: 0, links: 2, size: 0, mtimeNs: 0n, ctimeNs: 0n }
  const indexOf = (rows: Readonly<Record<string, readonly [device: bigint, inode: bigint]>>) =>
    withRows(
      nothing,
      new Map(
        Object.entries(rows).map(([path, [deviceId, inode]]) => [
          path as RawPath,
          { ...row, deviceId, inode },
        ]),
      ),
    )
  // `/opt/new` was made, and its row written, after a start that gave the device of `/` another number.
  const known = indexOf({ '/': [1n, 2n], '/home': [7n, 2n], '/opt': [1n, 5n], '/opt/new': [9n, 6n] })
  const mounted = indexOf({ '/': [9n, 2n], '/home': [1n, 2n], '/opt': [9n, 5n], '/opt/new': [9n, 6n] })
  assert.deepEqual(otherMounts(known, mounted), [])
  const unmounted = indexOf({ '/': [9n, 2n], '/home': [9n, 30n], '/opt': [9n, 5n], '/opt/new': [9n, 6n] })
  assert.deepEqual(otherMounts(known, unmounted), ['/home'])
  const another = indexOf({ '/': [9n, 2n], '/home': [1n, 2n], '/opt': [3n, 2n], '/opt/new': [3n, 6n] })
  assert.deepEqual(otherMounts(known, another), ['/opt'])
})

test('a folder that was made since the devices got other numbers, and is gone again, was never a mount (issue 4)', () => {
  const rowOf = (deviceId: bigint, inode: bigint): IndexEntry => ({
    ...{ mode: 0o040755, uid: 0, gid: 0, links: 2, size: 0, mtimeNs: 0n, ctimeNs: 0n },
    deviceId,
    inode,
  })
  const known = withRows(
    nothing,
    new Map([
      ['/' as RawPath, rowOf(1n, 2n)],
      ['/home' as RawPath, rowOf(7n, 2n)],
    ]),
  )
  // Since the last start `/` has the number 9, and `/home` that which `/` had.
  const now: Readonly<Record<string, bigint>> = {
    '/': 9n,
    '/home': 1n,
    '/new': 9n,
    '/new/in': 9n,
    '/new/disk': 5n,
  }
  const made = new Map([
    ['/new/in' as RawPath, rowOf(9n, 4n)],
    ['/new/disk' as RawPath, rowOf(5n, 2n)],
    ['/new' as RawPath, rowOf(9n, 3n)],
    ['/home' as RawPath, rowOf(1n, 2n)],
  ])
  const rows = onKnownDevices(known, made, (folder) => now[folder])
  assert.deepEqual([...mountTopsOf(withRows(known, rows))], ['/home', '/new/disk'])
})
