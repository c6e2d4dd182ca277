import assert from 'node:assert/strict'
import { readFileSync, readlinkSync } from 'node:fs'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { rawToBytes } from '../base/raw-text.ts'
import { openShellSource } from './shell-source.ts'
import type { Source, WriteItem } from './source.ts'
import { makeNastyTree, nobodies, openBench, userlands, type Bench } from './userlands.fixture.ts'
import {
  all,
  truth,
  floorTo,
  moved,
  copyTree,
  fileItem,
  noSegments,
  itemsOf,
} from './source-checks.fixture.ts'

for (const userland of ['gnu', 'busybox'] as const) {
  const open = async (bench: Bench): Promise<Source> => {
    const shell = userlands(bench).find(({ name }) => name === userland)?.shell
    assert.ok(shell)
    return await openShellSource(shell)
  }
  const openNobody = async (bench: Bench): Promise<Source> => {
    const shell = nobodies(bench).find(({ name }) => name === userland)?.shell
    assert.ok(shell)
    return await openShellSource(shell)
  }

  test(`${userland}: exactly the asked paths are removed, and no link is followed`, async () => {
    using bench = openBench()
    makeNastyTree(bench)
    bench.sh(
      `mkdir -p other/sub full/x; touch other/keep other/sub/keep; ln -s ../other tree/deep/away; ln -s other aside`,
    )
    const source = await open(bench)
    const paths = [...truth(bench.path('tree')).keys()].toReversed()
    const wrong = [bench.path('aside/keep'), bench.path('full'), bench.path('aside/sub/gone')]
    const fine = [bench.path('gone/deeper'), bench.path('outside/file')]
    const failures = await source.remove([...paths, ...wrong, ...fine])
    assert.deepEqual(
      failures.map(({ path }) => path),
      wrong,
    )
    assert.equal(
      bench.sh('find . | sort'),
      './aside\n./full\n./full/x\n./other\n./other/keep\n./other/sub\n./other/sub/keep\n./outside\n'.replace(
        './aside',
        '.\n./aside',
      ),
    )
  })

  test(`${userland}: what was read can be written back elsewhere, and is the same`, async () => {
    using bench = openBench()
    makeNastyTree(bench)
    const source = await open(bench)
    await copyTree(bench, source, 'copy')
    await copyTree(bench, source, 'copy')
    const from = truth(bench.path('tree'))
    const to = truth(bench.path('copy'))
    assert.equal(to.size, from.size)
    const resolution = BigInt(source.fidelity.timeResolutionNs)
    for (const [path, stat] of from) {
      const there = moved(bench, path, 'copy')
      const copy = to.get(there)
      assert.ok(copy, path)
      assert.equal(copy.mode, stat.mode, path)
      assert.equal(copy.uid, stat.uid, path)
      assert.equal(copy.gid, stat.gid, path)
      assert.equal(copy.nlink, stat.nlink, path)
      assert.equal(copy.rdev, stat.rdev, path)
      assert.equal(floorTo(copy.mtimeNs, resolution), floorTo(stat.mtimeNs, resolution), path)
      if (stat.isFile())
        assert.deepEqual(readFileSync(rawToBytes(there)), readFileSync(rawToBytes(path)), path)
      if (stat.isSymbolicLink())
        assert.deepEqual(
          readlinkSync(rawToBytes(there), { encoding: 'buffer' }),
          readlinkSync(rawToBytes(path), { encoding: 'buffer' }),
        )
    }
    if (userland !== 'gnu') return
    assert.equal(
      bench.sh('cd copy; getfattr -dR -m - . 2>/dev/null || :'),
      bench.sh('cd tree; getfattr -dR -m - . 2>/dev/null || :'),
    )
    assert.equal(
      bench.sh('cd copy; getfacl -R . 2>/dev/null || :'),
      bench.sh('cd tree; getfacl -R . 2>/dev/null || :'),
    )
    assert.equal(bench.sh('stat -c %b copy/sparse'), bench.sh('stat -c %b tree/sparse'))
  })

  test(`${userland}: a folder on the way that is a link stops a write before anything is changed`, async () => {
    using bench = openBench()
    bench.sh('mkdir -p real/deep; ln -s real link; echo old > real/file')
    const source = await open(bench)
    for (const parents of [['real', 'link'], ['link/deep'], ['real', 'real/file'], ['real', 'gone']]) {
      await assert.rejects(
        source.write(
          itemsOf([fileItem(bench.path('real/file'), 'new')]),
          parents.map((name) => bench.path(name)),
        ),
        (error) => isFailure(error, 'conflict'),
      )
    }
    assert.equal(bench.sh('cat real/file'), 'old\n')
  })

  test(`${userland}: links and programs in use are replaced, not written through`, async () => {
    using bench = openBench()
    bench.sh(
      'mkdir real; echo old > outside; ln -s ../outside real/file; mkdir away; ln outside real/other; ln -s ../away real/folder',
    )
    const source = await open(bench)
    const failures = await source.write(
      itemsOf([fileItem(bench.path('real/file'), 'new'), fileItem(bench.path('real/other'), 'new')]),
      [bench.path('real')],
    )
    assert.deepEqual(failures, [])
    assert.equal(
      bench.sh('cat outside real/file real/other; find real/file -type f'),
      'old\nnewnewreal/file\n',
    )
  })

  for (const [who, owner] of [
    ['root', 0],
    ['a user', 65534],
  ] as const) {
    test(`${userland}: a link or file where a folder goes is replaced by ${who}, and nothing is written behind the link`, async () => {
      using bench = openBench()
      bench.sh(
        `mkdir real away away/in; ln -s ../away real/folder; echo file > real/other; chown -hR ${owner}:${owner} real away`,
      )
      const source = owner === 0 ? await open(bench) : await openNobody(bench)
      const folder = (name: string): WriteItem => ({
        path: bench.path(name),
        attributes: { type: 'dir', mode: 0o755, uid: owner, gid: owner, mtimeNs: 5_000_000_000n },
        segments: noSegments,
      })
      const failures = await source.write(
        itemsOf([
          folder('real/folder'),
          folder('real/folder/in'),
          fileItem(bench.path('real/folder/in/f'), 'new', owner),
          folder('real/other'),
          fileItem(bench.path('real/other/f'), 'new', owner),
        ]),
        [bench.path('real')],
      )
      assert.deepEqual(failures, [])
      assert.equal(
        bench.sh('find real away | sort'),
        [
          'away',
          'away/in',
          'real',
          'real/folder',
          'real/folder/in',
          'real/folder/in/f',
          'real/other',
          'real/other/f',
          '',
        ].join('\n'),
      )
    })
  }

  test(`${userland}: a user writes and removes within own folders that are read-only`, async () => {
    using bench = openBench()
    bench.sh(
      'mkdir -p t/ro/sub; echo a > t/ro/a; echo b > t/ro/sub/b; chmod 555 t/ro/sub t/ro; chown -R 65534:65534 t',
    )
    const source = await openNobody(bench)
    const attributes = (await all(source.stat([bench.path('t/ro')]))).flatMap((record) =>
      record.kind === 'item' ? [record.attributes] : [],
    )
    const [folder] = attributes
    assert.ok(folder)
    assert.deepEqual(await source.remove([bench.path('t/ro/sub/b')]), [])
    assert.equal(bench.sh('stat -c %a t/ro/sub'), '555\n')
    const failures = await source.write(
      itemsOf([
        { path: bench.path('t/ro'), attributes: folder, segments: noSegments },
        fileItem(bench.path('t/ro/new'), 'new', 65534),
      ]),
      [bench.path('t')],
    )
    assert.deepEqual(failures, [])
    assert.equal(bench.sh('stat -c %a t/ro; cat t/ro/new'), '555\nnew')
  })
}
