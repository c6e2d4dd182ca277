import assert from 'node:assert/strict'
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFailure, type FailureCode } from '../base/failure.ts'
import { rawToBytes, type RawText } from '../base/raw-text.ts'
import type { Segment } from '../model/tree.ts'
import type { Shell } from '../wire/shell.ts'
import { DelimiterError, readDelimited } from './delimited.ts'
import { openShellSource } from './shell-source.ts'
import type { WriteItem } from './source.ts'
import { parseMessages } from './tool-messages.ts'
import { openBench, prefixedShell, userlands, type Bench } from './userlands.fixture.ts'

/** A machine that lies: a tool of its own before those of busybox or GNU. */
function lyingShell(bench: Bench, userland: 'gnu' | 'busybox', tool: string, script: string): Shell {
  const rest = userland === 'gnu' ? '/usr/bin:/bin' : bench.busyboxPath
  // busybox's own shell and xargs would take the tool from within busybox.
  bench.sh('mkdir -p lies; ln -sf /bin/dash lies/sh; ln -sf /usr/bin/xargs lies/xargs')
  const file = join(bench.folder, 'lies', tool)
  rmSync(file, { force: true })
  writeFileSync(file, `#!/bin/sh\nreal() { PATH=${rest}; exec ${tool} "$@"; }\n${script}\n`)
  chmodSync(file, 0o755)
  return prefixedShell(['/usr/bin/env', `PATH=${bench.folder}/lies:${rest}`], 'liar')
}

const failsWith =
  (...codes: FailureCode[]) =>
  (error: unknown) =>
    isFailure(error, ...codes) && error.message.length < 600

for (const userland of ['gnu', 'busybox'] as const) {
  const lies: readonly (readonly [string, string, string])[] = [
    [
      'a line without end',
      'find',
      `case "$*" in *maxdepth*|"/ -xdev"*) real "$@" ;; esac; exec head -c 30000000 /dev/zero | tr '\\000' x`,
    ],
    [
      'other files than asked for',
      'find',
      `case "$*" in *maxdepth*|"/ -xdev"*) real "$@" ;; esac; shift; real /etc/passwd "$@"`,
    ],
    [
      'half a list',
      'find',
      `case "$*" in *maxdepth*|"/ -xdev"*) real "$@" ;; esac; (real "$@") | head -c 200`,
    ],
    [
      'a list without end mark',
      'find',
      `case "$*" in *maxdepth*|"/ -xdev"*) real "$@" ;; esac; r=$1; shift 2; real "$r" "$@"`,
    ],
    ['nothing', 'find', `case "$*" in *maxdepth*|"/ -xdev"*) real "$@" ;; esac; exit 0`],
  ]
  for (const [what, tool, script] of lies) {
    test(`${userland}: a machine that lists ${what} is not believed`, async () => {
      using bench = openBench()
      bench.sh('mkdir -p t; for n in 1 2 3 4 5 6 7 8 9; do echo > t/$n; done')
      const source = await openShellSource(lyingShell(bench, userland, tool, script))
      await assert.rejects(
        Array.fromAsync(source.scan({ roots: [bench.path('t')] })),
        failsWith('remote.protocol', 'remote.command'),
      )
    })
  }

  test(`${userland}: a tar stream that is cut off or holds other files is not believed`, async () => {
    using bench = openBench()
    bench.sh('head -c 300000 /dev/urandom > a; head -c 300000 /dev/urandom > b')
    for (const script of [
      'case "$*" in *dev/null*|--version) real "$@" ;; esac; (real "$@") | head -c 200000',
      'case "$*" in *dev/null*|--version) real "$@" ;; esac; real -c -f - /etc/passwd 2>/dev/null',
      'case "$*" in *dev/null*|--version) real "$@" ;; esac; head -c 2000000 /dev/urandom',
    ]) {
      const source = await openShellSource(lyingShell(bench, userland, 'tar', script))
      await assert.rejects(async () => {
        for await (const record of source.read([bench.path('a'), bench.path('b')]))
          if (record.kind === 'file') await Array.fromAsync(record.segments())
      }, failsWith('remote.protocol'))
    }
  })

  test(`${userland}: a machine without find, tar or xargs is told what it lacks, and its hint says what to do`, async () => {
    using bench = openBench()
    for (const tool of ['find', 'tar', 'xargs']) {
      const shell = lyingShell(bench, userland, tool, 'exit 127')
      await assert.rejects(
        openShellSource(shell),
        (error) =>
          isFailure(error, 'unsupported') && error.message.includes(tool) && error.hint !== undefined,
      )
      rmSync(join(bench.folder, 'lies', tool))
    }
  })

  test(`${userland}: a full disk is told as such`, async () => {
    using bench = openBench()
    bench.sh('mkdir small; mount -t tmpfs -o size=256k tmpfs small')
    try {
      const shell = userlands(bench).find(({ name }) => name === userland)?.shell
      assert.ok(shell)
      const source = await openShellSource(shell)
      const item: WriteItem = {
        path: bench.path('small/file'),
        attributes: { type: 'file', mode: 0o600, uid: 0, gid: 0, mtimeNs: 0n, size: 1 << 20 },
        segments: () => eachOf<Segment>([{ kind: 'data', bytes: Buffer.alloc(1 << 20, 7) }]),
      }
      await assert.rejects(
        source.write(eachOf([item]), [bench.path('small')]),
        failsWith('unavailable.space'),
      )
    } finally {
      bench.sh('umount small')
    }
  })

  test(`${userland}: an item outside of the folders that were looked at is not sent`, async () => {
    using bench = openBench()
    bench.sh('mkdir in out')
    const shell = userlands(bench).find(({ name }) => name === userland)?.shell
    assert.ok(shell)
    const source = await openShellSource(shell)
    const item: WriteItem = {
      path: bench.path('out/file'),
      attributes: { type: 'file', mode: 0o600, uid: 0, gid: 0, mtimeNs: 0n, size: 0 },
      segments: () => eachOf<Segment>([]),
    }
    await assert.rejects(source.write(eachOf([item]), [bench.path('in')]), failsWith('conflict'))
    assert.equal(bench.sh('ls out'), '')
  })
}

test('busybox: a file that shrinks while it is read is filled up, and those behind it are read', async () => {
  using bench = openBench()
  bench.sh('head -c 3000000 /dev/zero > a; echo b > b; echo c > c')
  // The liar's tar is the real one, slowed down, while the file is cut under it.
  const slow = `case "$*" in *dev/null*|--version) real "$@" ;; esac
    if [ -s ${bench.folder}/a ] && [ ! -e ${bench.folder}/cut ]; then
      touch ${bench.folder}/cut
      (real "$@") | { head -c 4096; sleep 1; truncate -s 100000 ${bench.folder}/a; cat; }
      echo "tar: short read" >&2; exit 1
    fi
    real "$@"`
  const source = await openShellSource(lyingShell(bench, 'busybox', 'tar', slow))
  const lengths: [string, number][] = []
  for await (const record of source.read(['a', 'b', 'c'].map((name) => bench.path(name)))) {
    if (record.kind === 'problem') continue
    let length = 0
    for await (const segment of record.segments())
      length += segment.kind === 'data' ? segment.bytes.length : segment.length
    lengths.push([record.path.slice(-1), length])
  }
  assert.deepEqual(lengths, [
    ['a', 3_000_000],
    ['b', 2],
    ['c', 2],
  ])
})

test('delimited text comes whole, however the stream is cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: fc.constantFrom('a', 'x', 'y', '\n', '\xff') })),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      async (parts, cuts) => {
        const wanted = parts.map((part) => part.replaceAll('xy', ''))
        const bytes = rawToBytes(wanted.map((part) => `${part}xy`).join('') as RawText)
        const reader = readDelimited(chunked(bytes, cuts))
        const got: string[] = []
        for (
          let part = await reader.until('xy', 1000);
          part !== undefined;
          part = await reader.until('xy', 1000)
        )
          got.push(part)
        // A part may end in the first half of the delimiter.
        assert.equal(
          got.join('xy'),
          wanted
            .map((part) => `${part}xy`)
            .join('')
            .slice(0, -2),
        )
      },
    ),
    { numRuns: 200 },
  )
})

test('text without its delimiter is refused, at the end of the stream and beyond the limit', async () => {
  const cut = readDelimited(chunked(Buffer.from('abc'), [1]))
  await assert.rejects(
    cut.until('\0', 100),
    (error) => error instanceof DelimiterError && error.why === 'cut',
  )
  const long = readDelimited(chunked(Buffer.alloc(1000, 97), [10]))
  await assert.rejects(
    long.until('\0', 100),
    (error) => error instanceof DelimiterError && error.why === 'long',
  )
})

test('messages of find and tar are read back to the paths they are about', () => {
  const find = parseMessages(
    Buffer.from(String.raw`find: '/a/it\'s\n\303\244': Permission denied` + '\nfind: memory exhausted\n'),
    'find',
  )
  assert.deepEqual(find.messages, [
    { path: "/a/it's\n\xc3\xa4", text: 'Permission denied' },
    { path: undefined, text: 'find: memory exhausted' },
  ])
  const tar = parseMessages(
    Buffer.from(
      String.raw`tar: a\n b: c: Cannot open: Permission denied` +
        '\ntar: Exiting with failure status due to previous errors\n',
    ),
    'tar',
  )
  assert.deepEqual(tar.messages[0], { path: '/a\n b', text: 'c: Cannot open: Permission denied' })
  assert.equal(tar.messages.length, 1)
})

async function* eachOf<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items
}

async function* chunked(bytes: Buffer, cuts: readonly number[]): AsyncIterable<Buffer> {
  for (let offset = 0, turn = 0; offset < bytes.length; turn++) {
    const length = cuts[turn % cuts.length] ?? 1
    yield bytes.subarray(offset, offset + length)
    offset += length
  }
}
