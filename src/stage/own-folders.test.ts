import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { seeMounts } from '../wire/mount-sight.ts'
import { parseMountRows } from '../wire/mount-table.ts'
import { ownFolders } from './own-folders.ts'

const path = (text: string) => rawFromString(text) as RawPath
const own = (lines: readonly string[], besides: readonly string[] = []) =>
  ownFolders(
    seeMounts(parseMountRows(rawFromString(`${lines.join('\n')}\n`))),
    path('/var/lib/vml'),
    besides.map(path),
  )
const root = '27 1 254:0 / / rw - ext4 /dev/vda rw'

test('a folder that is bound to the place of VML is its own, and so is each other view of it', () => {
  assert.deepEqual(own([root]), ['/var/lib/vml'])
  assert.deepEqual(own([root, '30 27 254:0 /data/vml /var/lib/vml rw - ext4 /dev/vda rw']), [
    '/var/lib/vml',
    '/data/vml',
  ])
  assert.deepEqual(own([root, '30 27 254:0 /var/lib/vml /data/vml rw - ext4 /dev/vda rw']), [
    '/var/lib/vml',
    '/data/vml',
  ])
  assert.deepEqual(
    own([
      root,
      '30 27 254:1 / /data rw - xfs /dev/vdb rw',
      '31 27 254:1 /vml /var/lib/vml rw - xfs /dev/vdb rw',
      '32 27 254:1 / /mnt/again rw - xfs /dev/vdb rw',
    ]),
    ['/var/lib/vml', '/data/vml', '/mnt/again/vml'],
  )
  assert.deepEqual(own([root, '30 27 254:0 /data/var /var rw - ext4 /dev/vda rw']), [
    '/var/lib/vml',
    '/data/var/lib/vml',
  ])
})

test('of a btrfs the subvolume counts, by whatever mount it is seen', () => {
  const lines = [
    '27 1 0:30 /@ / rw - btrfs /dev/vda rw',
    '30 27 0:30 /@vml /var/lib/vml rw - btrfs /dev/vda rw',
    '31 27 0:30 / /mnt/all rw - btrfs /dev/vda rw',
    '32 27 0:30 /@vml /opt/second rw - btrfs /dev/vda rw',
  ]
  assert.deepEqual(own(lines), ['/var/lib/vml', '/mnt/all/@vml', '/opt/second'])
})

test('what is mounted in it, or linked from it, is its own at its second place, too', () => {
  const lines = [
    root,
    '30 27 254:1 / /data rw - xfs /dev/vdb rw',
    '31 27 254:1 /logbook /var/lib/vml/logbook rw - xfs /dev/vdb rw',
  ]
  assert.deepEqual(own(lines), ['/var/lib/vml', '/data/logbook'])
  assert.deepEqual(own(lines.slice(0, 2), ['/data/logbook']), ['/var/lib/vml', '/data/logbook'])
})

test('a place that another mount lies on is not seen, and a folder that holds the state is the machine’s', () => {
  assert.deepEqual(
    own([
      root,
      '30 27 254:0 /data/vml /var/lib/vml rw - ext4 /dev/vda rw',
      '31 27 254:1 / /data rw - xfs /dev/vdb rw',
    ]),
    ['/var/lib/vml'],
  )
  assert.deepEqual(own([root], ['/', '/var', '/data/logbook']), ['/var/lib/vml', '/data/logbook'])
})
