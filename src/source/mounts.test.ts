import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import { mountOf, mountsBelow, parseMountInfo } from '../wire/mount-table.ts'
import { openShellSource } from './shell-source.ts'
import type { ScanRecord, Source } from './source.ts'
import { openBench, userlands, type Bench } from './userlands.fixture.ts'

const path = (text: string): RawPath => {
  const parsed = parseRawPath(rawFromString(text))
  assert.ok(parsed)
  return parsed
}

test('the mount table is read with its escapes, and the topmost mount of a path counts', () => {
  const mounts = parseMountInfo(
    rawFromString(
      [
        '22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
        String.raw`30 22 0:30 / /home/a\040b\134\012c rw - fuse.sshfs host:/x rw`,
        '31 22 0:31 / /mnt rw master:1 propagate_from:2 - tmpfs tmpfs rw',
        '32 31 0:32 / /mnt rw - nfs4 host:/y rw',
        '33 22 0:33 / /gone//deleted rw - tmpfs tmpfs rw',
        'nonsense',
        '',
      ].join('\n'),
    ),
  )
  assert.deepEqual(mounts, [
    { path: '/', type: 'ext4' },
    { path: '/home/a b\\\nc', type: 'fuse.sshfs' },
    { path: '/mnt', type: 'nfs4' },
  ])
  assert.equal(mountOf(path('/mnt/x'), mounts)?.type, 'nfs4')
  assert.equal(mountOf(path('/mntx'), mounts)?.type, 'ext4')
})

test('mounts below a root are seen through the name that the root was given by', () => {
  const mounts = [
    { path: path('/'), type: 'ext4' },
    { path: path('/data/home/u/m'), type: 'tmpfs' },
    { path: path('/data/home/u/m/inner'), type: 'tmpfs' },
    { path: path('/data/home/u2'), type: 'tmpfs' },
  ]
  const below = mountsBelow({ path: path('/home/u'), physical: path('/data/home/u') }, mounts)
  assert.deepEqual(below, [{ path: '/home/u/m', type: 'tmpfs' }])
  assert.deepEqual(
    mountsBelow({ path: path('/'), physical: path('/') }, mounts).map((mount) => mount.path),
    ['/data/home/u/m', '/data/home/u2'],
  )
})

/** A FUSE mount whose server never says a word. */
function mountDead(folder: string): Disposable {
  const server = openSync('/dev/fuse', 'r+')
  const options = 'fd=3,rootmode=40000,user_id=0,group_id=0,default_permissions'
  const { status } = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'dead', folder], {
    stdio: ['ignore', 'inherit', 'inherit', server],
  })
  assert.equal(status, 0, 'this test mounts file systems and must run as root')
  return {
    [Symbol.dispose]() {
      closeSync(server)
      spawnSync('umount', ['-l', folder])
    },
  }
}

/** Live mounts; `t/a/dead` is a folder for a dead one. */
function makeMounts(bench: Bench): Disposable {
  bench.sh(`mkdir -p t/a/dead t/a/live t/a/sub/x t/bound t/q; touch t/a/f t/a/.hid t/a/sub/y t/q/z; mkdir 't/a/*'
    ln -s nowhere t/a/broken; mount -t tmpfs tmpfs t/a/live; touch t/a/live/inside; mount --bind t/q t/bound`)
  return {
    [Symbol.dispose]() {
      bench.sh('umount -l t/a/live t/bound')
    },
  }
}

async function scan(source: Source, bench: Bench, roots: readonly string[]): Promise<string[]> {
  const records: ScanRecord[] = await Array.fromAsync(
    source.scan({ roots: roots.map((root) => bench.path(root)) }),
  )
  return records
    .map((record) => {
      const below = record.path.slice(bench.folder.length + 1)
      return record.kind === 'item'
        ? below
        : `${record.kind === 'mount' ? record.type : record.problem} ${below}`
    })
    .toSorted()
}

for (const userland of ['gnu', 'busybox'] as const) {
  test(`${userland}: mounts are recorded and not entered, unless they are roots, and a dead one does not hang the walk`, async () => {
    using bench = openBench()
    using _ = makeMounts(bench)
    const shell = userlands(bench).find(({ name }) => name === userland)?.shell
    assert.ok(shell)
    const source = await openShellSource(shell)
    const bound =
      bench.sh('stat -f -c %T .').trim() === 'tmpfs' ? 'tmpfs' : bench.sh('findmnt -no FSTYPE -T .').trim()
    const inA = [
      't',
      't/a',
      't/a/*',
      't/a/.hid',
      't/a/broken',
      't/a/f',
      't/a/live',
      't/a/sub',
      't/a/sub/x',
      't/a/sub/y',
    ]
    const always = [...inA, 't/q', 't/q/z', 't/bound', 'tmpfs t/a/live']
    const whole = [...always, 't/a/dead']
    assert.deepEqual(await scan(source, bench, ['t', 't/bound']), [...whole, 't/bound/z'].toSorted())
    assert.deepEqual(await scan(source, bench, ['t/a/live']), ['t/a/live', 't/a/live/inside'])
    using _dead = mountDead(`${bench.folder}/t/a/dead`)
    assert.deepEqual(
      await scan(source, bench, ['t']),
      [...always, 'dead-mount t/a/dead', `${bound} t/bound`].toSorted(),
    )
  })

  test(`${userland}: a root on a file system that does not answer is told, the others are walked`, async () => {
    using bench = openBench()
    bench.sh('mkdir -p dead fine/x')
    using _ = mountDead(`${bench.folder}/dead`)
    const shell = userlands(bench).find(({ name }) => name === userland)?.shell
    assert.ok(shell)
    const source = await openShellSource(shell)
    assert.deepEqual(await scan(source, bench, ['dead', 'fine']), ['dead-mount dead', 'fine', 'fine/x'])
  })

  test(`${userland}: kernel views and CernVM-FS are never read, even when asked for`, async () => {
    using bench = openBench()
    const shell = userlands(bench).find(({ name }) => name === userland)?.shell
    assert.ok(shell)
    const source = await openShellSource(shell)
    const records = await Array.fromAsync(
      source.scan({ roots: [path('/proc/self'), path('/cvmfs/x'), path('/sys')] }),
    )
    assert.deepEqual(
      records.map((record) => record.kind === 'problem' && record.problem),
      ['unreadable', 'unreadable', 'unreadable'],
    )
  })
}
