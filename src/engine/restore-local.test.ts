// A restore to this host by its own threads: what stands afterwards, what is never touched, what the proof sees.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { cheapKey, makeRepository } from '../../test/store-fixture.ts'
import { openLocal } from '../backend/local.ts'
import { isFailure } from '../base/failure.ts'
import { silentReporter } from '../base/progress.ts'
import { rawToBytes } from '../base/raw-text.ts'
import { baseName, isWithin, joinPath, parseRawPath, type RawPath } from '../model/raw-path.ts'
import { identityMap } from '../model/path-map.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import { openShellSource } from '../source/shell-source.ts'
import { all, itemPaths, moved, readAll, truth } from '../source/source-checks.fixture.ts'
import type { Source } from '../source/source.ts'
import { type Bench, makeNastyTree, openBench } from '../source/userlands.fixture.ts'
import { initRepository } from '../store/repository.ts'
import type { Repository } from '../store/store.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import { carryOut } from './restore-entry.ts'
import { openLocalRestore } from './restore-local.ts'
import { proveLocally } from './restore-local-proof.ts'
import { runRestore } from './restore.ts'
import { endangeredPaths, planRestore, type WantedPath } from './restore-plan.ts'
import type { PlannedRestore } from './restore-write.ts'

const local = { temporaryFolder: tmpdir() }

async function openSource(): Promise<Source> {
  return { ...(await openShellSource(openLocalShell())), local }
}

/** Everything below `from`, in the store, under the names that it gets below `to`. */
async function store(
  { bench, repository, source }: { bench: Bench; repository: Repository; source: Source },
  to: string,
): Promise<WantedPath[]> {
  const order = itemPaths(await all(source.scan({ roots: [bench.path('tree')] })))
  const { kept } = await readAll(source, order)
  await using writer = await repository.beginWrite()
  const wanted: WantedPath[] = []
  let next = 0n
  const inodes = new Map<RawPath, bigint>()
  for (const path of order) {
    const file = kept.get(path)
    assert.ok(file, path)
    const { attributes, hardLinkTo } = file.record
    const inode = inodes.get(hardLinkTo ?? path) ?? ++next
    inodes.set(path, inode)
    const sink = writer.openFile()
    await sink.write({ kind: 'data', bytes: (kept.get(hardLinkTo ?? path) ?? file).content })
    const { content, size } = await sink.finish()
    const linked = order.filter((each) => kept.get(each)?.record.hardLinkTo === (hardLinkTo ?? path)).length
    const ofFile = attributes.type === 'file' ? { content, size } : {}
    const node: TreeNode = { name: baseName(path), ...attributes, ...ofFile, inode, links: linked + 1 }
    wanted.push({ path: moved(bench, path, to), node })
  }
  await writer.flush()
  return wanted
}

async function prepare(
  { repository, source }: { repository: Repository; source: Source },
  wanted: readonly WantedPath[],
  options: { remove?: boolean; without?: readonly RawPath[] } = {},
): Promise<PlannedRestore> {
  const [root] = wanted
  assert.ok(root)
  const present = new Map<RawPath, Attributes>()
  for (const record of await all(source.scan({ roots: [root.path] })))
    if (record.kind === 'item' && !options.without?.includes(record.path))
      present.set(record.path, record.attributes)
  const plan = planRestore({
    wanted,
    present,
    overwrite: 'always',
    remove: options.remove ?? false,
    scope: [root.path],
    protectedBy: () => undefined,
    owners: true,
    timeResolutionNs: 1,
    sameMachine: false,
    settledBeforeNs: 0n,
    attributesTold: false,
    linkTimes: true,
  })
  return {
    plan,
    present,
    endangered: endangeredPaths(plan, present),
    leftovers: [],
    damaged: [],
    request: {
      repository,
      tree: '' as PlannedRestore['request']['tree'],
      entryName: '#1',
      destination: {
        source,
        label: 'here',
        map: identityMap,
        owners: true,
        mapOwner: (node) => node,
        sameMachine: false,
      },
      paths: [root.path],
      without: [],
      never: [],
      settledBeforeNs: 0n,
      overwrite: 'always',
      remove: false,
      protectedBy: () => undefined,
      extras: [],
      reporter: silentReporter,
    },
  }
}

/** Writes, lets `between` do its worst, proves. */
async function carry(prepared: PlannedRestore, between: () => void = () => {}) {
  await using restore = await openLocalRestore(prepared, local)
  const failures = await restore.write()
  between()
  const proof = await proveLocally(prepared, restore)
  return { failures, proof, damaged: restore.damaged }
}

function leftovers(bench: Bench): string {
  return bench.sh(`find . -name '.vml-restore-*' -o -name '.vml-aside-*'`)
}

async function* repositories(bench: Bench): AsyncIterable<{ name: string; repository: Repository }> {
  yield { name: 'from elsewhere', repository: (await makeRepository({ packBytes: 256 * 1024 })).repository }
  const backend = openLocal(join(bench.folder, 'logbook'))
  yield {
    name: 'from this host',
    repository: await initRepository({ backend, keys: [cheapKey], packBytes: 256 * 1024 }),
  }
}

test('everything that Unix has comes back as it was, from a store here and elsewhere, and is proven', async () => {
  using bench = openBench()
  makeNastyTree(bench)
  // Files of many chunks, copies, and holes that chunks end in.
  bench.sh(String.raw`
    head -c 9000000 /dev/urandom > tree/big; cp tree/big tree/deep/copy; printf same > tree/same1; printf same > tree/same2
    truncate -s 20M tree/holes; dd if=/dev/urandom of=tree/holes bs=1k seek=7777 count=300 conv=notrunc status=none
    setfattr -n user.binary -v 0x00ff0a tree/big; setfattr -h -n trusted.link -v x tree/link; setfacl -m u:daemon:rw tree/big`)
  const source = await openSource()
  for await (const { name, repository } of repositories(bench)) {
    await using _ = repository
    bench.sh('rm -rf copy')
    const wanted = await store({ bench, repository, source }, 'copy')
    const prepared = await prepare({ repository, source }, wanted)
    const { failures, proof } = await carry(prepared)
    assert.deepEqual([failures, proof.differences], [[], []], name)
    assert.equal(proof.checked, wanted.length)
    assert.equal(proof.contents, wanted.filter(({ node }) => node.type === 'file').length)
    const from = truth(bench.path('tree'))
    const to = truth(bench.path('copy'))
    assert.equal(to.size, from.size)
    for (const [path, stat] of from) {
      const there = moved(bench, path, 'copy')
      const copy = to.get(there)
      assert.ok(copy, path)
      for (const key of ['mode', 'uid', 'gid', 'nlink', 'rdev', 'mtimeNs'] as const)
        assert.equal(copy[key], stat[key], `${path} ${key}`)
      if (stat.isFile()) {
        assert.ok(readFileSync(rawToBytes(there)).equals(readFileSync(rawToBytes(path))), path)
        assert.ok(copy.blocks <= stat.blocks, `${path} has its holes`)
      }
      if (stat.isSymbolicLink())
        assert.deepEqual(
          readlinkSync(rawToBytes(there), { encoding: 'buffer' }),
          readlinkSync(rawToBytes(path), { encoding: 'buffer' }),
        )
    }
    for (const tell of ['getfattr -hdR -e hex -m - .', 'getfacl -pnR .'])
      assert.equal(
        bench.sh(`cd copy; ${tell} 2>/dev/null || :`),
        bench.sh(`cd tree; ${tell} 2>/dev/null || :`),
        tell,
      )
    assert.equal(leftovers(bench), '')
    // Once more over what stands there: files are replaced, folders stay.
    bench.sh('chmod 600 copy/plain copy/big; echo x >> copy/same1; rm copy/deep/copy; touch -d @1 copy/holes')
    const again = await carry(await prepare({ repository, source }, wanted))
    assert.deepEqual([again.failures, again.proof.differences], [[], []], name)
    assert.equal(bench.sh('cat copy/same1; cmp tree/big copy/deep/copy; stat -c %a copy/plain'), 'same4751\n')
  }
})

test('the proof names each path that is not as it was written', async () => {
  using bench = openBench()
  bench.sh(`mkdir -p tree/d; for f in fine content mode time gone link xattr short; do echo $f > tree/$f; done
    head -c 70000000 /dev/zero | tr '\\0' z > tree/large; truncate -s 3M tree/hole; setfattr -n user.k -v v tree/xattr; ln tree/fine tree/d/other`)
  const source = await openSource()
  const { repository } = await makeRepository()
  const wanted = await store({ bench, repository, source }, 'copy')
  const { failures, proof } = await carry(await prepare({ repository, source }, wanted), () =>
    bench.sh(String.raw`cd copy
      spoil() { touch -r "$1" ../stamp; printf X | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; touch -r ../stamp "$1"; }
      spoil content 2; spoil large 69999999; spoil hole 2000000; chmod 600 mode; touch time; rm gone; touch -r link ../stamp; rm link; ln -s fine link
      touch -r xattr ../stamp; setfattr -x user.k xattr; touch -r ../stamp xattr; truncate -s 3 short; mkdir d/new`),
  )
  assert.deepEqual(failures, [])
  const differing = Map.groupBy(proof.differences, ({ path }) => path.slice(bench.path('copy').length + 1))
  const said = (name: string) =>
    differing
      .get(name)
      ?.map(({ what }) => what)
      .join(', ') ?? ''
  assert.deepEqual([...differing.keys()].toSorted(), [
    '',
    'content',
    'd',
    'gone',
    'hole',
    'large',
    'link',
    'mode',
    'short',
    'time',
    'xattr',
  ])
  assert.equal(said('content'), 'has other content')
  assert.equal(said('large'), 'has other content')
  assert.equal(said('hole'), 'has other content')
  assert.equal(said('mode'), 'has mode 600, not 644')
  assert.equal(said('gone'), 'is vanished')
  assert.equal(said('link'), 'is a symlink, not a file')
  assert.equal(said('xattr'), 'lacks the attribute user.k')
  assert.match(said('short'), /has 3 bytes, not 6/)
  assert.match(said('time'), /another time/)
  assert.match(said('d'), /another time/)
})

test('what came to a free place after the plan was made is not replaced, but named; the rest is written', async () => {
  using bench = openBench()
  bench.sh(
    `mkdir -p tree/d; echo f > tree/f; head -c 9000000 /dev/urandom > tree/big; ln tree/f tree/d/hard; ln -s f tree/l; echo r > tree/rest`,
  )
  const source = await openSource()
  const { repository } = await makeRepository()
  const wanted = await store({ bench, repository, source }, 'copy')
  const prepared = await prepare({ repository, source }, wanted)
  bench.sh('mkdir -p copy/d; for f in f big d/hard l; do echo precious > copy/$f; done')
  const { failures, proof } = await carry(prepared)
  const names = (paths: readonly { path: RawPath }[]) =>
    [...new Set(paths.map(({ path }) => path.slice(bench.path('copy').length + 1)))].toSorted()
  assert.deepEqual(names(failures), ['big', 'd/hard', 'f', 'l'])
  assert.deepEqual(names(proof.differences), ['big', 'd/hard', 'f', 'l'])
  assert.equal(bench.sh('cat copy/f copy/big copy/d/hard copy/l | sort -u; cat copy/rest'), 'precious\nr\n')
  assert.equal(leftovers(bench), '')
})

for (const by of ['threads', 'tar'] as const) {
  test(`what was changed, given away or locked after it was seen stays and is named, by ${by}: replaced, deleted, folders, links`, async () => {
    using bench = openBench()
    bench.sh(`mkdir -p tree/d tree/e tree/kind; for f in f same meta own away d/h replaced; do echo f > tree/$f; done
      ln tree/d/h tree/d/hard; ln -s f tree/l; head -c 9000000 /dev/urandom > tree/big; ln -s x tree/kind/was; echo r > tree/rest
      cp -a tree copy; cd copy; for f in f same meta own away d/h replaced big rest; do echo old >> $f; done
      ln -sfn old l; touch extra gone; mkdir -p more/deep; echo m > more/deep/m; rm kind/was; echo was > kind/was; chmod 700 d e`)
    const here = await openSource()
    const { local: _, ...through } = here
    const source = by === 'threads' ? here : through
    const { repository } = await makeRepository()
    const wanted = await store({ bench, repository, source }, 'copy')
    const prepared = await prepare({ repository, source }, wanted, { remove: true })
    // As the safety entry stands: from here on nobody keeps anything.
    bench.sh(`cd copy; touch -r same ../stamp; for f in f big extra more/deep/m kind/was; do echo precious > $f; done
      printf new > same; echo 3 >> same; truncate -s 6 same; touch -r ../stamp same; chmod 611 meta; chown 7:7 own; rm away
      echo precious > d/h; ln -sfn precious l; echo precious > tmp; mv tmp replaced; chmod 755 e; chmod 711 d`)
    const { failures, proof } = await runRestore(prepared)
    const names = (paths: readonly { path: RawPath }[]) =>
      [...new Set(paths.map(({ path }) => path.slice(bench.path('copy').length + 1)))].toSorted()
    const late = [
      'big',
      'd',
      'd/h',
      'd/hard',
      'extra',
      'f',
      'kind/was',
      'l',
      'meta',
      'more/deep/m',
      'own',
      'replaced',
    ]
    for (const name of [...late, 'same']) assert.ok(names(failures).includes(name), `${name} is named`)
    for (const name of ['rest', 'away', 'gone']) assert.ok(!names(failures).includes(name), `${name} is done`)
    const differing = new Set(names(proof.differences))
    const explained = new Set(names(failures))
    assert.ok(differing.has('f') && differing.has('extra') && differing.has('own'))
    assert.deepEqual(
      [...differing].filter((name) => !explained.has(name) && !['', 'more', 'more/deep'].includes(name)),
      [],
    )
    assert.equal(
      bench.sh(
        'cd copy; cat f big extra more/deep/m kind/was d/h d/hard replaced | sort -u; readlink l; stat -c %a:%n meta d; stat -c %u own',
      ),
      'precious\nprecious\n611:meta\n711:d\n7\n',
    )
    assert.equal(bench.sh('cd copy; cat away rest; ls gone 2>/dev/null || :; head -c 3 same'), 'f\nr\nnew')
    assert.equal(leftovers(bench), '')
  })
}

test('a link on the way stops everything before the first change, one that comes later keeps what lies behind it', async () => {
  using bench = openBench()
  bench.sh(
    'mkdir -p tree/d/sub outside; echo x > tree/d/f; echo y > tree/d/sub/g; cp -a tree copy; echo changed > copy/d/f',
  )
  const source = await openSource()
  const { repository } = await makeRepository()
  const wanted = await store({ bench, repository, source }, 'copy')
  const inner = wanted.filter(({ path }) =>
    isWithin(path, joinPath(bench.path('copy/d'), baseName(bench.path('f')))),
  )
  const prepared = await prepare({ repository, source }, inner)
  bench.sh('mv copy/d moved; ln -s ../moved copy/d')
  await assert.rejects(carry(prepared), (error) => isFailure(error, 'conflict'))
  assert.equal(bench.sh('cat moved/f'), 'changed\n')

  bench.sh('rm copy/d; mv moved copy/d; rm copy/d/f; rm -r copy/d/sub')
  const late = await prepare({ repository, source }, wanted)
  await using restore = await openLocalRestore(late, local)
  bench.sh('rm -r copy/d; ln -s ../outside copy/d')
  await restore.write()
  assert.equal(bench.sh('ls -A outside'), '')
  assert.notDeepEqual((await proveLocally(late, restore)).differences, [])
})

test('a file that cannot be replaced stays as it was and is named; what is refused of attributes alone leaves the file', async () => {
  using bench = openBench()
  bench.sh(
    'mkdir tree; echo a > tree/a; echo b > tree/b; head -c 3000000 /dev/urandom > tree/big; cp -a tree copy; for f in a b big; do echo old > copy/$f; done',
  )
  const source = await openSource()
  const { repository } = await makeRepository()
  const wanted = (await store({ bench, repository, source }, 'copy')).map(({ path, node }) =>
    path.endsWith('/b')
      ? {
          path,
          node: {
            ...node,
            xattrs: [{ name: 'nonsense.k' as NonNullable<TreeNode['linkTarget']>, value: Buffer.from('v') }],
          },
        }
      : { path, node },
  )
  bench.sh('chattr +i copy/a copy/big')
  try {
    const prepared = await prepare({ repository, source }, wanted)
    const { failures, proof } = await carry(prepared)
    assert.deepEqual(
      failures.map(({ path, message }) => `${baseName(path)}: ${message}`).toSorted(),
      ['a: Operation not permitted', 'b: Operation not supported', 'big: Operation not permitted'].map(
        (line) =>
          line.replace(
            'Operation not supported',
            failures.find(({ path }) => path.endsWith('/b'))?.message ?? '',
          ),
      ),
    )
    assert.equal(new Set(proof.differences.map(({ path }) => path)).size, 3)
  } finally {
    bench.sh('chattr -i copy/a copy/big')
  }
  assert.equal(bench.sh('cat copy/a copy/big copy/b'), 'old\nold\nb\n')
  assert.equal(leftovers(bench), '')
})

test('what a restore that was cut off left is cleared away, and nothing that is only called alike', async () => {
  using bench = openBench()
  bench.sh('mkdir -p tree/d; echo a > tree/d/a; cp -a tree copy; echo old > copy/d/a')
  const source = await openSource()
  const { repository } = await makeRepository()
  const wanted = await store({ bench, repository, source }, 'copy')
  bench.sh(`cd copy/d; for n in 0-0 1000-3 p7; do echo half > .vml-restore-0123456789abcdef-$n; done
    touch .vml-restore-notes .vml-restore-0123456789abcdef; mkdir .vml-restore-0123456789abcdef-dir`)
  await carry(await prepare({ repository, source }, wanted))
  assert.deepEqual(readdirSync(join(bench.folder, 'copy/d')).toSorted(), [
    '.vml-restore-0123456789abcdef',
    '.vml-restore-0123456789abcdef-dir',
    '.vml-restore-notes',
    'a',
  ])
})

test('a cancelled restore says that a file may be cut short only where it writes through tar', async () => {
  using bench = openBench()
  bench.sh('mkdir tree; echo a > tree/a')
  const source = await openSource()
  const { repository } = await makeRepository()
  const wanted = await store({ bench, repository, source }, 'copy')
  bench.sh('mkdir copy')
  const prepared = await prepare({ repository, source }, wanted)
  for (const [way, expected] of [
    [source, /^No file is cut short there\. /],
    [await openShellSource(openLocalShell()), /^A file may be cut short there\. /],
  ] as const) {
    const { request } = prepared
    const destination = { ...request.destination, source: way }
    const cancelled = { ...prepared, request: { ...request, destination, signal: AbortSignal.abort() } }
    await assert.rejects(
      carryOut({ ...cancelled, endangered: [] }, () => Promise.reject(new Error('nothing is endangered'))),
      (error) => isFailure(error, 'cancelled') && expected.test(error.hint ?? ''),
    )
  }
})

test('content that is damaged in the store is named, its file stays as it was, and the rest is restored and proved', async () => {
  using bench = openBench()
  bench.sh(
    'mkdir tree; head -c 9000000 /dev/urandom > tree/big; ln tree/big tree/other; echo s > tree/small; cp -a tree copy; for f in big small; do echo old > copy/$f; done',
  )
  const source = await openSource()
  const folder = join(bench.folder, 'logbook')
  await using repository = await initRepository({ backend: openLocal(folder), keys: [cheapKey] })
  const wanted = await store({ bench, repository, source }, 'copy')
  const prepared = await prepare({ repository, source }, wanted)
  const pack = bench.sh('find logbook/data -type f -size +4M | head -n 1').trim()
  const file = join(bench.folder, pack)
  const bytes = readFileSync(file)
  const whole = createHash('sha256').update(bytes).digest('hex')
  bytes[5_000_000] = (bytes[5_000_000] ?? 0) ^ 1
  writeFileSync(file, bytes)
  assert.notEqual(createHash('sha256').update(bytes).digest('hex'), whole)
  const { proof, damaged } = await carry(prepared)
  assert.deepEqual([...damaged.keys()].map(baseName).sort(), ['big', 'other'])
  assert.deepEqual(proof.differences, [])
  assert.equal(bench.sh('cat copy/big copy/other copy/small'), 'old\nold\ns\n')
  assert.equal(leftovers(bench), '')
})

test('a node whose content has another length than it says is named and not written', async () => {
  using bench = openBench()
  bench.sh('mkdir tree; echo a > tree/a; echo b > tree/b')
  const source = await openSource()
  const { repository } = await makeRepository()
  const wanted = (await store({ bench, repository, source }, 'copy')).map(({ path, node }) => ({
    path,
    node: path.endsWith('/a') ? { ...node, size: 7 } : node,
  }))
  const { damaged, proof } = await carry(await prepare({ repository, source }, wanted))
  assert.deepEqual([...damaged.keys()].map(baseName), ['a'])
  assert.deepEqual(proof.differences, [])
  assert.equal(bench.sh('ls copy'), 'b\n')
  assert.ok(parseRawPath(bench.path('copy')))
})
