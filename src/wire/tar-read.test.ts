// Archives of other programs: what GNU tar and busybox wrote is read back as the disk has it.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { test, before, after } from 'node:test'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { asRaw } from '../base/raw-text.ts'
import { openLocalShell } from './local-shell.ts'
import { encodeHeader } from './tar-header.ts'
import { plantTree, describeTree, type Described } from './tar-tree.fixture.ts'
import { readTar, type TarEntry } from './tar-read.ts'

let folder = ''
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'tar-read-'))
  plantTree(join(folder, 'tree'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

const shell = openLocalShell()

async function readAll(argv: readonly string[]): Promise<Map<string, Described>> {
  await using running = await shell.start({ argv })
  const found = new Map<string, Described>()
  for await (const entry of readTar(running.stdout)) found.set(entry.name, await describeEntry(entry, found))
  const { status, stderr } = await running.outcome
  assert.equal(status, 0, stderr.toString())
  return found
}

async function describeEntry(entry: TarEntry, earlier: Map<string, Described>): Promise<Described> {
  const { attributes, hardLinkTo } = entry
  if (hardLinkTo !== undefined) {
    const first = earlier.get(hardLinkTo)
    assert.ok(first)
    return first
  }
  const hash = createHash('sha256')
  let length = 0
  let holes = 0
  for await (const segment of entry.segments()) {
    if (segment.kind === 'data') hash.update(segment.bytes)
    else {
      holes += segment.length
      for (let left = segment.length; left > 0; left -= 1 << 20)
        hash.update(Buffer.alloc(Math.min(left, 1 << 20)))
    }
    length += segment.kind === 'data' ? segment.bytes.length : segment.length
  }
  assert.equal(length, attributes.size ?? 0)
  return {
    type: attributes.type,
    mode: attributes.mode,
    uid: attributes.uid,
    gid: attributes.gid,
    mtimeNs: attributes.mtimeNs,
    linkTarget: attributes.linkTarget,
    device: attributes.device,
    size: attributes.type === 'file' ? length : undefined,
    sha256: attributes.type === 'file' ? hash.digest('hex') : undefined,
    hasHoles: holes > 0,
    xattrs: Object.fromEntries(
      (attributes.xattrs ?? []).map(({ name, value }) => [name, Buffer.from(value).toString('hex')]),
    ),
  }
}

const gnu = ['tar', '--warning=no-timestamp', '-c', '-C']
const full = ['--sparse', '--xattrs', '--xattrs-include=*', '-f', '-', '.']

for (const version of ['0.0', '0.1', '1.0']) {
  test(`GNU tar's pax archive with sparse files ${version} is read as the disk has it`, async () => {
    const found = await readAll([
      ...gnu,
      join(folder, 'tree'),
      '--format=pax',
      `--sparse-version=${version}`,
      ...full,
    ])
    assert.deepEqual(found, describeTree(join(folder, 'tree')))
  })
}

test('access lists as text are read with their numbers', async () => {
  const found = await readAll([
    ...gnu,
    join(folder, 'tree'),
    '--format=pax',
    '--sparse',
    '--acls',
    '-f',
    '-',
    '.',
  ])
  for (const [name, described] of describeTree(join(folder, 'tree')))
    assert.deepEqual(
      found.get(name)?.xattrs,
      Object.fromEntries(Object.entries(described.xattrs).filter(isList)),
    )
})

test("GNU's own format is read: long names, old sparse files, large numbers", async () => {
  const found = await readAll([...gnu, join(folder, 'tree'), '--format=gnu', '--sparse', '-f', '-', '.'])
  const expected = describeTree(join(folder, 'tree'))
  assert.deepEqual(found, wholeSeconds(expected))
})

test("busybox's archive is read: names as bytes, whole seconds", async () => {
  // Busybox writes no owner above what octal holds, and no time before 1970.
  const tree = join(folder, 'plain')
  plantTree(tree, { simple: true })
  const found = await readAll(['busybox', 'tar', '-c', '-C', tree, '-f', '-', '.'])
  const expected = wholeSeconds(describeTree(tree))
  for (const each of expected.values()) each.hasHoles = false
  assert.deepEqual(found, expected)
})

test('archives one after the other are read as one, and what is not read of a file is passed over', async () => {
  const argv = [
    'sh',
    '-c',
    `cd "$0"; printf %s abc >x; tar -cf - x; head -c 70000 /dev/zero >y; tar -cf - y x`,
    folder,
  ]
  const names: string[] = []
  await using running = await shell.start({ argv })
  for await (const entry of readTar(running.stdout)) names.push(entry.name)
  assert.deepEqual(names, ['x', 'y', 'x'])
})

test('a content that is left in the middle is passed over to the next entry', async () => {
  const names: string[] = []
  await using running = await shell.start({
    argv: ['tar', '-C', join(folder, 'tree'), '-S', '-cf', '-', 'data', 'sparse', 'empty'],
  })
  for await (const entry of readTar(running.stdout)) {
    names.push(entry.name)
    for await (const segment of entry.segments()) if (segment.kind === 'data') break
  }
  assert.deepEqual(names, ['data', 'sparse', 'empty'])
})

test('reading an entry after its turn is a mistake that is named', async () => {
  const { stdout } = await shell.run({ argv: ['tar', '-C', folder, '-cf', '-', 'tree/./empty', 'tree/data'] })
  const entries: TarEntry[] = []
  for await (const entry of readTar(chunks(stdout, 512))) entries.push(entry)
  const last = entries.at(-1)
  assert.ok(last)
  await assert.rejects(async () => {
    for await (const _ of last.segments());
  }, TypeError)
})

test('a stream cut anywhere fails as truncated, unless every member and an end mark are there', async () => {
  const archive = execFileSync('tar', [
    '-C',
    folder,
    '--format=pax',
    '-S',
    '-cf',
    '-',
    'tree/sparse',
    'tree/data',
  ])
  const last = lastUsedBlock(archive)
  const cuts = [0, 1, 511, 512, 513, 1024, 1536, 2048, 5000, last - 1, last, last + 1, last + 511]
  for (const cut of cuts)
    await assert.rejects(
      consume(archive.subarray(0, cut)),
      (error) => isFailure(error, 'integrity.truncated'),
      `${cut}`,
    )
  await consume(archive.subarray(0, last + 512))
})

test('a damaged archive ends with a named failure, never a hang or a foreign exception (fuzz)', async () => {
  const archives = [
    ['--format=pax', '-S', '--xattrs', '--acls'],
    ['--format=gnu', '-S'],
    ['--format=pax', '-S', '--sparse-version=0.1'],
  ].map((options) =>
    execFileSync('tar', [
      '-C',
      join(folder, 'tree'),
      ...options,
      '-cf',
      '-',
      './empty',
      './sparse',
      './acl',
      './symlink',
    ]),
  )
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...archives),
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      fc.integer({ min: 16, max: 3000 }),
      async (archive, changes, fixSums, pieceBytes) => {
        const copy = Buffer.from(archive)
        for (const [at, byte] of changes) copy[at % Math.min(copy.length, 12_000)] = byte
        if (fixSums) repairChecksums(copy)
        try {
          await consume(copy, pieceBytes)
        } catch (error) {
          assert.ok(isFailure(error, 'integrity.format', 'integrity.truncated'), String(error))
        }
      },
    ),
    { numRuns: 400 },
  )
})

test('noise is no archive', async () => {
  for (let run = 0; run < 50; run++)
    await assert.rejects(consume(randomBytes(5000)), (error) => isFailure(error, 'integrity.format'))
})

test('lengths that an archive only claims take no memory', async () => {
  const header = execFileSync('tar', ['--format=pax', '-C', folder, '-cf', '-', 'tree/empty']).subarray(
    0,
    512,
  )
  const huge = Buffer.from(header)
  huge.write('77777777777\0', 124, 'latin1')
  repairChecksums(huge)
  await assert.rejects(consume(huge), (error) => isFailure(error, 'integrity.format'))
})

test('headers and sparse maps without end are given up, not gathered', async () => {
  const sparse = encode('S')
  sparse[482] = 1
  repairChecksums(sparse)
  const more = Buffer.alloc(512)
  for (let slot = 0; slot < 21; slot++) more.write('00000001000\0\x30', 24 * slot, 'latin1')
  more[504] = 1
  const endless = [
    [encode('g'), encode('g')],
    [encode('L'), encode('L')],
    [sparse, more],
  ] as const
  for (const [first, then] of endless)
    await assert.rejects(
      async () => {
        for await (const _ of readTar(forever(first, then)));
      },
      (error) => isFailure(error, 'integrity.format'),
    )
})

function encode(type: string): Buffer {
  const none = asRaw('')
  const numbers = { mode: 0, uid: 0, gid: 0, size: 0, mtime: 0n, major: 0, minor: 0 }
  return encodeHeader({ name: asRaw('x'), linkName: none, user: none, group: none, type, ...numbers }, 'gnu')
}

// oxlint-disable-next-line eslint/require-await -- a stream that never ends
async function* forever(first: Buffer, then: Buffer): AsyncGenerator<Buffer, void, undefined> {
  yield first
  for (;;) yield then
}

async function consume(archive: Buffer, pieceBytes = 4096): Promise<void> {
  for await (const entry of readTar(chunks(archive, pieceBytes))) {
    let length = 0
    for await (const segment of entry.segments()) {
      length += segment.kind === 'data' ? segment.bytes.length : segment.length
    }
    if (entry.attributes.type === 'file' && entry.hardLinkTo === undefined)
      assert.equal(length, entry.attributes.size)
  }
}

async function* chunks(bytes: Buffer, pieceBytes: number): AsyncIterable<Buffer> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
}

function lastUsedBlock(archive: Buffer): number {
  let last = archive.length
  while (archive.subarray(last - 512, last).every((byte) => byte === 0)) last -= 512
  return last
}

function repairChecksums(archive: Buffer): void {
  for (let at = 0; at + 512 <= archive.length; at += 512) {
    if (archive.toString('latin1', at + 257, at + 262) !== 'ustar') continue
    archive.fill(0x20, at + 148, at + 156)
    const sum = archive.subarray(at, at + 512).reduce((total, byte) => total + byte, 0)
    archive.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1')
  }
}

/** GNU's own format and busybox know whole seconds, and no attributes. */
function wholeSeconds(tree: Map<string, Described>): Map<string, Described> {
  const out = new Map<string, Described>()
  for (const [name, each] of tree)
    out.set(name, {
      ...each,
      mtimeNs: ((each.mtimeNs - (((each.mtimeNs % second) + second) % second)) / second) * second,
      xattrs: {},
    })
  return out
}
const second = 1_000_000_000n

const isList = ([name]: [string, string]) => name.startsWith('system.posix_acl')
