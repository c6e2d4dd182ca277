import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { lstatSync, readFileSync, readdirSync, readlinkSync, type BigIntStats } from 'node:fs'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { joinPath, type RawName, type RawPath } from '../model/raw-path.ts'
import type { Attributes, NodeType, Segment } from '../model/tree.ts'
import { openShellSource } from './shell-source.ts'
import type { ReadRecord, ScanRecord, Source, WriteItem } from './source.ts'
import { makeNastyTree, nobodies, openBench, userlands, type Bench } from './userlands.fixture.ts'

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  return await Array.fromAsync(items)
}

function typeOf(stat: BigIntStats): NodeType {
  if (stat.isDirectory()) return 'dir'
  if (stat.isSymbolicLink()) return 'symlink'
  if (stat.isFIFO()) return 'fifo'
  if (stat.isSocket()) return 'socket'
  if (stat.isBlockDevice()) return 'dev'
  return stat.isCharacterDevice() ? 'chardev' : 'file'
}

/** Every path below, as the kernel tells it. */
function truth(root: RawPath): Map<RawPath, BigIntStats> {
  const found = new Map<RawPath, BigIntStats>()
  const visit = (path: RawPath): void => {
    const stat = lstatSync(rawToBytes(path), { bigint: true })
    found.set(path, stat)
    if (!stat.isDirectory()) return
    for (const name of readdirSync(rawToBytes(path), { encoding: 'buffer' }))
      visit(joinPath(path, rawFromBytes(name) as RawName))
  }
  visit(root)
  return found
}

function assertAttributes(attributes: Attributes, stat: BigIntStats, path: string): void {
  assert.equal(attributes.type, typeOf(stat), path)
  assert.equal(attributes.mode, Number(stat.mode & 0o7777n), path)
  assert.equal(attributes.uid, Number(stat.uid), path)
  assert.equal(attributes.gid, Number(stat.gid), path)
  assert.equal(attributes.mtimeNs, stat.mtimeNs, path)
  assert.equal(attributes.ctimeNs, stat.ctimeNs, path)
  assert.equal(attributes.inode, stat.ino, path)
  assert.equal(attributes.deviceId, stat.dev, path)
  assert.equal(attributes.links, Number(stat.nlink), path)
  assert.equal(attributes.size, stat.isFile() ? Number(stat.size) : undefined, path)
}

interface Kept {
  readonly record: Extract<ReadRecord, { kind: 'file' }>
  readonly content: Buffer
  readonly segments: readonly Segment[]
}

async function readAll(
  source: Source,
  paths: readonly RawPath[],
): Promise<{ kept: Map<RawPath, Kept>; problems: string[] }> {
  const kept = new Map<RawPath, Kept>()
  const problems: string[] = []
  for await (const record of source.read(paths)) {
    if (record.kind === 'problem') {
      problems.push(`${record.problem} ${record.path}`)
      continue
    }
    const segments = (await all(record.segments())).map((segment) =>
      segment.kind === 'data' ? { kind: 'data' as const, bytes: Uint8Array.from(segment.bytes) } : segment,
    )
    const content = Buffer.concat(segments.map((s) => (s.kind === 'data' ? s.bytes : Buffer.alloc(s.length))))
    kept.set(record.path, { record, content, segments })
  }
  return { kept, problems }
}

const itemPaths = (records: readonly ScanRecord[]): RawPath[] =>
  records.filter((record) => record.kind === 'item').map(({ path }) => path)

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

function floorTo(ns: bigint, resolution: bigint): bigint {
  const rest = ((ns % resolution) + resolution) % resolution
  return ns - rest
}

function moved(bench: Bench, path: RawPath, to: string): RawPath {
  return `${bench.path(to)}${path.slice(bench.path('tree').length)}` as RawPath
}

async function copyTree(bench: Bench, source: Source, to: string): Promise<void> {
  const order = itemPaths(await all(source.scan({ roots: [bench.path('tree')] })))
  const { kept } = await readAll(source, order)
  const items = order.map((path): WriteItem => {
    const file = kept.get(path)
    assert.ok(file, path)
    const { attributes, hardLinkTo } = file.record
    return {
      path: moved(bench, path, to),
      attributes,
      ...(hardLinkTo === undefined ? {} : { hardLinkTo: moved(bench, hardLinkTo, to) }),
      extents: extentsOf(file.segments),
      segments: () => eachOf(file.segments),
    }
  })
  const failures = await source.write(
    eachOf(items.toSorted((a, b) => Number(a.hardLinkTo !== undefined) - Number(b.hardLinkTo !== undefined))),
    [bench.path('')],
  )
  assert.deepEqual(failures, [])
}

function extentsOf(segments: readonly Segment[]): { offset: number; length: number }[] {
  let offset = 0
  return segments.flatMap((segment) => {
    const length = segment.kind === 'data' ? segment.bytes.length : segment.length
    offset += length
    return segment.kind === 'data' ? [{ offset: offset - length, length }] : []
  })
}

function fileItem(path: RawPath, text: string, owner = 0): WriteItem {
  const bytes = Buffer.from(text)
  return {
    path,
    attributes: {
      type: 'file',
      mode: 0o644,
      uid: owner,
      gid: owner,
      mtimeNs: 1_000_000_000n,
      size: bytes.length,
    },
    segments: () => eachOf([{ kind: 'data', bytes }]),
  }
}

const noSegments = (): AsyncIterable<Segment> => eachOf([])
const itemsOf = (items: readonly WriteItem[]): AsyncIterable<WriteItem> => eachOf(items)

async function* eachOf<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items
}
