import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import type { ListedPath } from '../wire/folder-reader.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import { listedIn } from './listed-path.fixture.ts'
import { readWalk } from './walk-reader.ts'

type Found = readonly [path: RawPath, attributes: Attributes]

/** Everything that is read, in its order, by one way or both; `failed` where the output is refused. */
async function read(
  bytes: Buffer,
  pieceBytes: number,
  withSink: boolean,
): Promise<readonly Found[] | 'failed'> {
  const found: Found[] = []
  let folder = rootPath
  const sink = {
    enter: (path: RawPath) => void (folder = path),
    add: (path: ListedPath) => void found.push(listedIn(folder, path)),
  }
  const pieces = Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, index) =>
    bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes),
  )
  const ordinary = { sink, isOrdinary: (path: RawPath) => path !== '/odd', device: () => 7n }
  await using shell = openLocalShell()
  const stream = async function* () {
    yield* pieces
  }
  try {
    for await (const { path, attributes } of readWalk(shell, stream(), withSink ? ordinary : undefined)) {
      const { atimeNs: _, ...rest } = attributes
      found.push([path, rest])
    }
  } catch (error) {
    if (!isFailure(error, 'remote.protocol')) throw error
    return 'failed'
  }
  return found
}

const digits = (max: number) => fc.nat(max).map(String)
const times = fc.oneof(
  fc.constantFrom('0.0000000000', '-1.5000000000', '1700000000', '1.5', '12345.1234567890', '-0.9999999990'),
  fc
    .tuple(fc.integer({ min: -5e9, max: 5e9 }), fc.nat(999_999_999))
    .map(([seconds, rest]) => `${seconds}.${String(rest).padStart(9, '0')}0`),
)
const folders = fc.constantFrom('/', '/a', '/a/b', '/odd', '/a/../b', '/a//b', '/./a', '', 'a')
const names = fc.oneof(
  fc.constantFrom(
    'x',
    'y',
    '.',
    '..',
    '',
    '.hidden',
    'with\nline',
    '\xff\xfe',
    'n'.repeat(255),
    'n'.repeat(256),
  ),
  fc.string({ unit: 'grapheme-ascii', maxLength: 20 }),
)
const records = fc
  .record({
    kind: fc.constantFrom('if', 'id', 'il', 'is', 'ip', 'pd', 'ud', 'iD', 'xf', 'i'),
    mode: fc.oneof(
      { weight: 9, arbitrary: fc.nat(0o7777).map((mode) => mode.toString(8)) },
      fc.constantFrom('8', ''),
    ),
    uid: fc.oneof(
      { weight: 9, arbitrary: digits(2 ** 31 - 1) },
      fc.constantFrom('4294967295', '4294967296', '-1'),
    ),
    size: fc.oneof(digits(1e9), fc.constantFrom('9007199254740991', '9007199254740993')),
    mtime: times,
    ctime: times,
    inode: fc.oneof(digits(1e9), fc.constantFrom('18446744073709551615', '999999999999999')),
    device: fc.constantFrom('7', '7', '7', '8', '18446744073709551615'),
    links: digits(1000),
    target: fc.constantFrom('', 'to', 't'.repeat(4097)),
    folder: folders,
    name: names,
  })
  .map(({ kind, mode, uid, size, mtime, ctime, inode, device, links, target, folder, name }) =>
    [
      kind,
      mode,
      uid,
      uid,
      size,
      mtime,
      ctime,
      inode,
      device,
      links,
      target,
      `${folder === '/' ? '' : folder}/${name}`,
      '',
    ].join('\0'),
  )

test('whatever a find prints, however it is cut: the quick way takes and refuses what the slow way takes and refuses', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(records, { maxLength: 12 }),
      fc.integer({ min: 1, max: 2000 }),
      async (given, pieceBytes) => {
        const bytes = Buffer.from(given.join(''), 'latin1')
        assert.deepEqual(await read(bytes, pieceBytes, true), await read(bytes, pieceBytes, false))
      },
    ),
    { numRuns: 400 },
  )
})

test('output with any byte changed, cut or doubled is taken by both ways alike', async () => {
  const plain = ['/a', '/a/x', '/a/y', '/a/b', '/a/b/z'].map((path, index) =>
    [
      index % 3 === 0 ? 'id' : 'if',
      '644',
      '0',
      '0',
      '12',
      '1700000000.1234567890',
      '1700000000.5000000000',
      '99',
      '7',
      '1',
      '',
      path,
      '',
    ].join('\0'),
  )
  const bytes = Buffer.from(plain.join(''), 'latin1')
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(2), async (place, byte, what) => {
      const spoiled =
        what === 0
          ? Buffer.concat([bytes.subarray(0, place), Buffer.of(byte), bytes.subarray(place + 1)])
          : what === 1
            ? bytes.subarray(0, place)
            : Buffer.concat([bytes.subarray(0, place), bytes])
      assert.deepEqual(await read(spoiled, 64, true), await read(spoiled, 64, false))
    }),
    { numRuns: 400 },
  )
})
