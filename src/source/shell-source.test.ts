import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { test } from 'node:test'
import { rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { openShellSource } from './shell-source.ts'
import type { Source } from './source.ts'
import { makeNastyTree, nobodies, openBench, userlands, type Bench } from './userlands.fixture.ts'
import { all, typeOf, truth, assertAttributes, readAll, itemPaths } from './source-checks.fixture.ts'

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

  test(`${userland}: a scan tells every path with the attributes that the kernel has, parents first`, async () => {
    using bench = openBench()
    makeNastyTree(bench)
    const expected = truth(bench.path('tree'))
    const source = await open(bench)
    const records = await all(source.scan({ roots: [bench.path('tree')] }))
    const seen = new Set<string>()
    for (const record of records) {
      assert.ok(record.kind === 'item', JSON.stringify(record.path))
      const stat = expected.get(record.path)
      assert.ok(stat, record.path)
      assertAttributes(record.attributes, stat, record.path)
      if (stat.isSymbolicLink())
        assert.equal(
          record.attributes.linkTarget,
          rawFromBytes(readlinkSync(rawToBytes(record.path), { encoding: 'buffer' })),
        )
      const parent = record.path.slice(0, record.path.lastIndexOf('/'))
      assert.ok(seen.has(parent) || record.path === bench.path('tree'), record.path)
      assert.ok(!seen.has(record.path), record.path)
      seen.add(record.path)
    }
    assert.equal(seen.size, expected.size)
  })

  test(`${userland}: exactly the paths asked for are looked at, and missing ones are told`, async () => {
    using bench = openBench()
    makeNastyTree(bench)
    const source = await open(bench)
    const expected = truth(bench.path('tree'))
    const asked = [...expected.keys(), bench.path('tree/no\nwhere'), bench.path('tree/plain/below')]
    const records = await all(source.stat(asked))
    assert.equal(records.length, asked.length)
    for (const record of records) {
      const stat = expected.get(record.path)
      if (record.kind === 'item' && stat) assertAttributes(record.attributes, stat, record.path)
      else assert.ok(!stat && record.kind === 'problem' && record.problem === 'vanished', record.path)
    }
  })

  test(`${userland}: what is read is what the files hold`, async () => {
    using bench = openBench()
    makeNastyTree(bench)
    const source = await open(bench)
    const expected = truth(bench.path('tree'))
    const gone = bench.path('tree/gone')
    const { kept, problems } = await readAll(source, [...expected.keys(), gone])
    assert.deepEqual(problems, [`vanished ${gone}`])
    for (const [path, stat] of expected) {
      const file = kept.get(path)
      assert.ok(file, path)
      const { attributes, hardLinkTo } = file.record
      assert.equal(attributes.type, typeOf(stat), path)
      assert.equal(attributes.mode, Number(stat.mode & 0o7777n), path)
      assert.equal(attributes.uid, Number(stat.uid), path)
      assert.equal(attributes.mtimeNs, stat.mtimeNs, path)
      if (stat.isCharacterDevice() || stat.isBlockDevice()) assert.equal(attributes.device, stat.rdev)
      if (stat.isFile() && hardLinkTo !== undefined) assert.equal(expected.get(hardLinkTo)?.ino, stat.ino)
      else if (stat.isFile()) assert.deepEqual(file.content, readFileSync(rawToBytes(path)), path)
    }
    const sparse = kept.get(bench.path('tree/sparse'))
    assert.equal(
      sparse?.segments.some(({ kind }) => kind === 'hole'),
      source.fidelity.sparse,
    )
    const xattrs = kept.get(bench.path('tree/@list'))?.record.attributes.xattrs
    assert.equal(
      xattrs?.map(({ name, value }) => `${name}=${rawFromBytes(value)}`).join(),
      userland === 'gnu' ? 'user.vml=a\nb' : undefined,
    )
  })

  test(`${userland}: digests are those of the content, and FIFOs are not opened`, async () => {
    using bench = openBench()
    makeNastyTree(bench)
    const source = await open(bench)
    const expected = truth(bench.path('tree'))
    const digests = await all(source.digest([...expected.keys(), bench.path('gone')]))
    assert.equal(digests.length, expected.size + 1)
    for (const { path, sha256 } of digests) {
      const isFile = expected.get(path)?.isFile() === true
      const right = isFile
        ? createHash('sha256')
            .update(readFileSync(rawToBytes(path)))
            .digest('hex')
        : undefined
      assert.equal(sha256, right, path)
    }
  })

  test(`${userland}: who may not read is told so, and what may be read is there`, async () => {
    using bench = openBench()
    bench.sh(
      'mkdir -p t/open t/closed/in t/listonly/in; echo a > t/open/a; echo s > t/secret; chmod 600 t/secret; chmod 700 t/closed; chmod 744 t/listonly',
    )
    const source = await openNobody(bench)
    const records = await all(source.scan({ roots: [bench.path('t')] }))
    const problems = records
      .filter((record) => record.kind === 'problem')
      .map(({ path, problem }) => `${problem} ${path}`)
    assert.deepEqual(problems.toSorted(), [
      `unreadable ${bench.path('t/closed')}`,
      `unreadable ${bench.path('t/listonly')}`,
    ])
    assert.deepEqual(
      itemPaths(records).toSorted(),
      ['t', 't/closed', 't/listonly', 't/open', 't/open/a', 't/secret'].map((name) => bench.path(name)),
    )
    const read = await readAll(source, [
      bench.path('t/open/a'),
      bench.path('t/secret'),
      bench.path('t/closed/in'),
    ])
    assert.deepEqual([...read.kept.keys()], [bench.path('t/open/a')])
    assert.deepEqual(read.problems.toSorted(), [
      `unreadable ${bench.path('t/closed/in')}`,
      `unreadable ${bench.path('t/secret')}`,
    ])
    const failures = await source.remove([bench.path('t/closed/in/x'), bench.path('t/open/a')])
    assert.deepEqual(
      failures.map(({ path }) => path),
      [bench.path('t/closed/in/x'), bench.path('t/open/a')],
    )
  })

  test(`${userland}: roots within roots are listed once, pruned folders are not entered, missing roots are told`, async () => {
    using bench = openBench()
    bench.sh(
      'mkdir -p t/a/b/c "t/p[1]*/in" t/p1x/in; touch t/a/f; ln -s t alias; mkdir real; ln -s ../t real/up',
    )
    const source = await open(bench)
    const records = await all(
      source.scan({
        roots: ['t/a/b', 't', 't/a', 'gone', 'alias/a'].map((name) => bench.path(name)),
        prune: [bench.path('t/p[1]*')],
      }),
    )
    const names = [
      't',
      't/a',
      't/a/b',
      't/a/b/c',
      't/a/f',
      't/p1x',
      't/p1x/in',
      't/p[1]*',
      'alias/a',
      'alias/a/b',
      'alias/a/b/c',
      'alias/a/f',
    ]
    assert.deepEqual(itemPaths(records).toSorted(), names.map((name) => bench.path(name)).toSorted())
    assert.deepEqual(
      records.filter(({ kind }) => kind === 'problem').map(({ path }) => path),
      [bench.path('gone')],
    )
  })

  test(`${userland}: paths up to the system's limit come and go, and deeper ones are at least told`, async () => {
    using bench = openBench()
    bench.sh(String.raw`
      mkdir t deep; cd t; part=$(printf 'e%.0s' $(seq 200)); path=$PWD
      while [ $((4095 - ${'$'}{#path})) -gt 256 ]; do mkdir $part; cd $part; path=$path/$part; done
      rest=$((4094 - ${'$'}{#path})); echo limit > $(printf 'f%.0s' $(seq $rest))
      cd "$0/deep"; for level in $(seq 25); do mkdir $part; cd $part; done`)
    const source = await open(bench)
    const records = await all(source.scan({ roots: [bench.path('t')] }))
    const longest = records.find(({ path }) => path.length === 4095)
    assert.ok(longest?.kind === 'item' && longest.attributes.type === 'file')
    const paths = itemPaths(records)
    const { kept, problems } = await readAll(source, paths)
    assert.equal(kept.get(longest.path)?.content.toString(), 'limit\n')
    assert.deepEqual(problems, [])
    assert.equal(kept.size, paths.length)
    assert.deepEqual(await source.remove(paths.toReversed()), [])
    const deep = await all(source.scan({ roots: [bench.path('deep')] }))
    assert.equal(itemPaths(deep).length === 26 || deep.some(({ kind }) => kind === 'problem'), true)
    bench.sh('rm -rf deep')
  })

  test(`${userland}: the clock is the machine's`, async () => {
    using bench = openBench()
    const source = await open(bench)
    const before = BigInt(Date.now()) * 1_000_000n
    const told = await source.clockNs()
    const after = BigInt(Date.now() + 1) * 1_000_000n
    assert.ok(told >= before - 1_000_000_000n && told <= after)
  })
}
