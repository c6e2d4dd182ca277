// Archives for other programs: what we write, GNU tar and busybox unpack to the tree that it was.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { asRaw, rawFromBytes, rawFromString } from '../base/raw-text.ts'
import type { NodeType, Segment } from '../model/tree.ts'
import { openLocalShell } from './local-shell.ts'
import { readTar } from './tar-read.ts'
import { findExtents } from './tar-sparse.ts'
import { describeTree, plantTree, type Described } from './tar-tree.fixture.ts'
import { writeTar, type TarItem, type TarOptions } from './tar-write.ts'

let folder = ''
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'tar-write-'))
  plantTree(join(folder, 'tree'))
  plantTree(join(folder, 'simple'), { simple: true })
})
after(() => rmSync(folder, { recursive: true, force: true }))

const shell = openLocalShell()
const forGnu: TarOptions = { sparse: true, xattrs: true, format: 'gnu-tar' }
const forBusybox: TarOptions = { sparse: false, xattrs: false, format: 'busybox' }

/** Reads a tree through GNU tar and holds its contents, as a store would. */
async function load(tree: string): Promise<TarItem[]> {
  const argv = [
    'tar',
    '--warning=no-timestamp',
    '-C',
    tree,
    '--format=pax',
    '-S',
    '--xattrs',
    '--xattrs-include=*',
    '-cf',
    '-',
    '.',
  ]
  await using running = await shell.start({ argv })
  const items: TarItem[] = []
  for await (const entry of readTar(running.stdout)) {
    const segments: Segment[] = []
    for await (const segment of entry.segments()) segments.push(segment)
    items.push(itemOf({ ...entry, segments }))
    const last = items.at(-1)
    if (last) items[items.length - 1] = { ...last, extents: await findExtents(last.segments()) }
  }
  assert.equal((await running.outcome).status, 0)
  return items
}

function itemOf(parts: Omit<TarItem, 'segments'> & { segments: readonly Segment[] }): TarItem {
  return {
    ...parts,
    // oxlint-disable-next-line eslint/require-await -- what is held stands in for what is read
    segments: async function* () {
      yield* parts.segments
    },
  }
}

async function unpack(
  items: readonly TarItem[],
  options: TarOptions,
  argv: readonly string[],
): Promise<string> {
  const target = mkdtempSync(join(folder, 'out-'))
  const { status, stderr } = await shell.run({
    argv: [...argv, '-C', target, '-f', '-'],
    stdin: writeTar(items, options),
  })
  assert.equal(status, 0, stderr.toString())
  assert.equal(stderr.toString(), '')
  return target
}

const gnuUnpack = ['tar', '--warning=no-timestamp', '-x', '-p', '--same-owner', '--delay-directory-restore']

for (const kept of [
  ['--xattrs', '--xattrs-include=*', '--acls'],
  ['--xattrs', '--xattrs-include=*'],
])
  test(`GNU tar with ${kept.join(' ')} unpacks exactly the tree`, async () => {
    const target = await unpack(await load(join(folder, 'tree')), forGnu, [...gnuUnpack, ...kept])
    assert.deepEqual(describeTree(target), describeTree(join(folder, 'tree')))
    assert.equal(linkCount(target, 'data'), 2)
  })

test('GNU tar restores what a user may, without root', async () => {
  const tree = join(folder, 'user')
  const target = join(folder, 'user-out')
  for (const each of [tree, target]) mkdirSync(each)
  execFileSync('chown', ['nobody', tree, target])
  execFileSync('chmod', ['711', folder])
  const asUser = ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups']
  const script = `cd "$0"; umask 077; echo x >f; setfacl -m u:4321:rw f; setfattr -n user.k -v v f; mkdir d; setfacl -d -m g:77:rx d; truncate -s 5M h; touch -d '2001-02-03 04:05:06.000000007 UTC' f`
  execFileSync(asUser[0] ?? '', [...asUser.slice(1), 'sh', '-c', script, tree])
  const { status, stderr } = await shell.run({
    argv: [...asUser, 'tar', '-x', '-p', '--xattrs', '--xattrs-include=*', '--acls', '-C', target, '-f', '-'],
    stdin: writeTar(await load(tree), forGnu),
  })
  assert.equal(status, 0, stderr.toString())
  assert.deepEqual(describeTree(target), describeTree(tree))
})

test('busybox tar unpacks the tree with names as bytes and whole seconds', async () => {
  const target = await unpack(await load(join(folder, 'simple')), forBusybox, ['busybox', 'tar', '-x', '-p'])
  const expected = describeTree(join(folder, 'simple'))
  const got = describeTree(target)
  for (const [name, each] of expected) expected.set(name, withoutDetail(each))
  // Busybox sets no time of a link, and the time of a folder before it fills it.
  for (const [name, each] of got) {
    const other = expected.get(name)
    if (other && (each.type === 'symlink' || each.type === 'dir'))
      got.set(name, { ...each, mtimeNs: other.mtimeNs })
  }
  for (const each of got.values()) each.hasHoles = false
  assert.deepEqual(got, expected)
})

test('GNU tar finds no difference between our archive and the disk', async () => {
  const { status, stdout, stderr } = await shell.run({
    argv: ['tar', '-d', '-C', join(folder, 'tree'), '--warning=no-timestamp', '-f', '-'],
    stdin: writeTar(await load(join(folder, 'tree')), forGnu),
  })
  assert.equal(`${stdout.toString()}${stderr.toString()}`, '')
  assert.equal(status, 0)
})

test('a content that does not fit its size, or has data where a hole was told, is refused', async () => {
  const attributes = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, size: 10 } as const
  const name = rawFromString('x')
  const wrong = [
    itemOf({ name, attributes, segments: [ones(9)] }),
    itemOf({ name, attributes, segments: [ones(11)] }),
    itemOf({ name, attributes, segments: [ones(10)], extents: [{ offset: 2, length: 3 }] }),
    itemOf({ name, attributes, segments: [ones(9)], extents: [{ offset: 0, length: 9 }] }),
    itemOf({ name, attributes, segments: [ones(10)], extents: [{ offset: 5, length: 6 }] }),
    itemOf({
      name,
      attributes,
      segments: [ones(10)],
      extents: [
        { offset: 5, length: 2 },
        { offset: 6, length: 1 },
      ],
    }),
  ]
  for (const item of wrong)
    await assert.rejects(drain(writeTar([item], forGnu)), (error) => isFailure(error, 'integrity.format'))
  const socket = itemOf({ name, attributes: { ...attributes, type: 'socket' }, segments: [] })
  await assert.rejects(drain(writeTar([socket], forGnu)), (error) => isFailure(error, 'unsupported'))
})

test('what is written is read again as it was (property)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(arbitraryItem, { maxLength: 4 }),
      fc.integer({ min: 100, max: 5000 }),
      async (specs, pieceBytes) => {
        const items = specs.map(itemOf)
        const archive = Buffer.concat(await collect(writeTar(items, forGnu)))
        let index = 0
        for await (const entry of readTar(pieces(archive, pieceBytes))) {
          const { name, attributes, hardLinkTo, segments } = specs[index++] ?? assert.fail('too many entries')
          assert.equal(entry.name, name)
          assert.equal(entry.hardLinkTo, hardLinkTo)
          assert.deepEqual(entry.attributes, attributes)
          const read = await collect(entry.segments())
          assert.deepEqual(flat(read), flat(segments))
        }
        assert.equal(index, items.length)
      },
    ),
    { numRuns: 300 },
  )
})

const rawText = (minLength: number, maxLength: number) =>
  fc
    .uint8Array({ min: 1, max: 255, minLength, maxLength })
    .map((bytes) => asRaw(rawFromBytes(bytes).replaceAll('/', '_')))
const segment: fc.Arbitrary<Segment> = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 2000 }).map((bytes) => ({ kind: 'data' as const, bytes })),
  fc.integer({ min: 1, max: 100_000 }).map((length) => ({ kind: 'hole' as const, length })),
)
const id = fc.oneof(fc.integer({ min: 0, max: 70_000 }), fc.constantFrom(2_097_151, 2_097_152, 4_294_967_294))
const arbitraryItem = fc
  .record({
    name: rawText(1, 300),
    segments: fc.array(segment, { maxLength: 5 }),
    isSparse: fc.boolean(),
    type: fc.constantFrom<NodeType>('file', 'file', 'dir', 'symlink', 'fifo', 'chardev'),
    isLink: fc.boolean(),
    target: rawText(1, 300),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: id,
    gid: id,
    user: fc.option(rawText(1, 60), { nil: undefined }),
    mtimeNs: fc.bigInt({ min: -(2n ** 62n), max: 2n ** 66n }),
    atimeNs: fc.option(fc.bigInt({ min: 0n, max: 2n ** 62n }), { nil: undefined }),
    device: fc.integer({ min: 0, max: 0xfffff }).map(BigInt),
    xattrs: fc.dictionary(rawText(1, 40), fc.uint8Array({ maxLength: 200 }), { maxKeys: 3 }),
  })
  .map(({ name, segments, isSparse, type, isLink, target, device, xattrs, user, atimeNs, ...rest }) => {
    const linked = type === 'file' && isLink
    const content = type === 'file' && !linked ? segments : []
    const extents = extentsOf(content)
    const sorted = Object.entries(xattrs)
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([key, value]) => ({ name: asRaw(key), value: new Uint8Array(value) }))
    return {
      name,
      segments: content,
      ...(linked ? { hardLinkTo: target } : {}),
      ...(isSparse ? { extents } : {}),
      attributes: {
        type,
        ...rest,
        ...(user === undefined ? {} : { user }),
        ...(atimeNs === undefined ? {} : { atimeNs }),
        ...(type === 'file' && !linked ? { size: flat(content).length } : {}),
        ...(type === 'symlink' ? { linkTarget: target } : {}),
        ...(type === 'chardev' ? { device } : {}),
        ...(sorted.length === 0 || linked ? {} : { xattrs: sorted }),
      },
    }
  })

function extentsOf(segments: readonly Segment[]) {
  const extents: { offset: number; length: number }[] = []
  let offset = 0
  for (const each of segments) {
    const length = each.kind === 'data' ? each.bytes.length : each.length
    if (each.kind === 'data') extents.push({ offset, length })
    offset += length
  }
  return extents
}

function flat(segments: readonly Segment[]): Buffer {
  return Buffer.concat(
    segments.map((each) => (each.kind === 'data' ? each.bytes : Buffer.alloc(each.length))),
  )
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const value of values) all.push(value)
  return all
}

async function drain(values: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of values);
}

// oxlint-disable-next-line eslint/require-await -- a stream of what is held
async function* pieces(bytes: Buffer, length: number): AsyncIterable<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

function withoutDetail(each: Described): Described {
  return { ...each, mtimeNs: (each.mtimeNs / 1_000_000_000n) * 1_000_000_000n, hasHoles: false, xattrs: {} }
}

function linkCount(tree: string, name: string): number {
  return Number(execFileSync('stat', ['-c', '%h', join(tree, name)]).toString())
}

function ones(length: number): Segment {
  return { kind: 'data', bytes: Buffer.alloc(length, 1) }
}
