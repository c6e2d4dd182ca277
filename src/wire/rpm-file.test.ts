import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import {
  cpio,
  packageTags,
  rpmFile,
  shortCpio,
  type RpmParts,
  type TagValue,
  type Tags,
} from '../../test/fixtures/rpm-file.ts'
import { isFailure, type FailureCode } from '../base/failure.ts'
import { openRpmFile } from './rpm-file.ts'
import { rpmTag, signatureTag } from './rpm-tags.ts'

const digest = (text: string) => createHash('sha256').update(text, 'latin1').digest('hex')
const hello = { path: '/opt/hello', content: 'hello', sha256: digest('hello') }

async function read(parts: RpmParts): Promise<Record<string, string>> {
  return await readBytes(rpmFile(parts))
}

async function readBytes(bytes: Buffer, pieceBytes = bytes.length): Promise<Record<string, string>> {
  const file = await openRpmFile(pieces(bytes, pieceBytes))
  const found: Record<string, string> = {}
  for await (const { files, bytes: content } of file.contents()) {
    let text = ''
    for await (const piece of content) text += piece.toString('latin1')
    found[files.map(({ path }) => path).join(' ')] = text
  }
  return found
}

async function* pieces(bytes: Buffer, pieceBytes: number): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    await Promise.resolve()
    yield bytes.subarray(at, at + pieceBytes)
  }
}

async function refuses(parts: RpmParts | Buffer, code: FailureCode, says: RegExp): Promise<void> {
  const bytes = Buffer.isBuffer(parts) ? parts : rpmFile(parts)
  await assert.rejects(readBytes(bytes), (error) => {
    assert.ok(isFailure(error, code), String(error))
    assert.match(error.message, says)
    return true
  })
}

function withTag(tag: number, value: TagValue, base: Tags = packageTags([hello])): Tags {
  return new Map([...base, [tag, value]])
}

const strings = (...values: string[]) => ({ type: 'strings', values }) as const
const numbers = (...values: number[]) => ({ type: 'int32', values }) as const

test('a package that comes byte by byte is read as one that comes whole', async () => {
  const archive = cpio([{ name: './opt/hello', content: 'hello' }])
  for (const payload of [archive, gzipSync(archive), zstdCompressSync(archive)]) {
    const named = payload[0] === 0x28 ? 'zstd' : 'gzip'
    const header = withTag(rpmTag.payloadCompressor, strings(named))
    const bytes = rpmFile({ header, payload })
    assert.deepEqual(await readBytes(bytes, 1), { '/opt/hello': 'hello' })
    assert.deepEqual(await readBytes(bytes), { '/opt/hello': 'hello' })
  }
})

test('each content of a payload has the names of all its hard links, wherever it stands', async () => {
  const link = { ...hello, path: '/opt/other', inode: 1 }
  const header = packageTags([hello, link])
  const expected = { '/opt/hello /opt/other': 'hello' }
  const empty = { name: './opt/hello', content: '' }
  const full = { name: './opt/other', content: 'hello' }
  assert.deepEqual(await read({ header, payload: cpio([empty, full]) }), expected)
  assert.deepEqual(
    await read({
      header,
      payload: cpio([
        { ...empty, content: 'hello' },
        { ...full, content: '' },
      ]),
    }),
    expected,
  )
  const short = shortCpio([
    { index: 1, content: '' },
    { index: 0, content: 'hello' },
  ])
  assert.deepEqual(await read({ header, payload: short }), expected)
})

test('content that is not what the header says is told at its end, read or not', async () => {
  const header = packageTags([hello])
  await refuses(
    { header, payload: cpio([{ name: './opt/hello', content: 'hullo' }]) },
    'integrity.hash',
    /opt\/hello/,
  )
  const bytes = rpmFile({ header, payload: cpio([{ name: './opt/hello', content: 'hullo' }]) })
  const file = await openRpmFile(pieces(bytes, 100))
  await assert.rejects(
    async () => {
      for await (const { files } of file.contents()) assert.equal(files.length, 1)
    },
    (error) => isFailure(error, 'integrity.hash'),
  )
})

test('a member with a wrong sum is refused where the archive has sums', async () => {
  const plain = packageTags([{ path: '/a', content: 'ab' }])
  assert.deepEqual(await read({ header: plain, payload: cpio([{ name: './a', content: 'ab', sum: 195 }]) }), {
    '/a': 'ab',
  })
  await refuses(
    { header: plain, payload: cpio([{ name: './a', content: 'ab', sum: 196 }]) },
    'integrity.hash',
    /\/a/,
  )
})

test('a header whose sum is wrong is refused', async () => {
  const signatures: Tags = new Map([[signatureTag.sha256, strings('0'.repeat(64))]])
  await refuses({ header: packageTags(), signatures }, 'integrity.hash', /sha256/)
})

test('a payload that lacks a file, has one more or one twice is refused', async () => {
  const header = packageTags([hello])
  await refuses({ header, payload: cpio([]) }, 'integrity.truncated', /lacks "\/opt\/hello"/)
  const member = { name: './opt/hello', content: 'hello' }
  await refuses({ header, payload: cpio([member, member]) }, 'integrity.format', /twice/)
  await refuses(
    { header, payload: cpio([{ ...member, name: './etc/passwd' }]) },
    'integrity.format',
    /does not list/,
  )
  await refuses(
    { header, payload: cpio([{ ...member, name: '../opt/hello' }]) },
    'integrity.format',
    /leads out/,
  )
  await refuses({ header, payload: cpio([{ ...member, content: 'longer' }]) }, 'integrity.format', /length/)
})

test('a package that ends early is told as such, wherever it ends', async () => {
  const payload = gzipSync(cpio([{ name: './opt/hello', content: 'hello' }]))
  const bytes = rpmFile({ header: packageTags([hello]), payload })
  // The archive's end stands before that of its packing.
  for (let length = 0; length < bytes.length - 30; length++)
    await assert.rejects(readBytes(bytes.subarray(0, length)), (error) =>
      isFailure(error, 'integrity.truncated', 'integrity.format'),
    )
})

test('lists of a header that do not fit each other are refused', async () => {
  await refuses({ header: withTag(rpmTag.directoryIndexes, numbers(7)) }, 'integrity.format', /folder/)
  await refuses({ header: withTag(rpmTag.fileModes, numbers(1, 2)) }, 'integrity.format', /as long as/)
  await refuses({ header: withTag(rpmTag.baseNames, strings('..')) }, 'integrity.format', /leads out/)
  await refuses({ header: withTag(rpmTag.baseNames, strings('a/b')) }, 'integrity.format', /slash/)
  await refuses(
    { header: withTag(1066, strings('a'), withTag(1069, numbers(3))) },
    'integrity.format',
    /trigger|script/,
  )
  await refuses(
    { header: withTag(1048, numbers(1, 2), withTag(1049, strings('a'))) },
    'integrity.format',
    /relations/,
  )
  await refuses({ header: withTag(rpmTag.name, numbers(1)) }, 'integrity.format', /no text/)
  await refuses({ header: withTag(rpmTag.fileDigests, strings('xyz')) }, 'integrity.format', /digest/)
})

test('a tag that lies outside of its header, or claims more than there can be, is refused', async () => {
  const bytes = rpmFile({ header: packageTags([hello]) })
  const start = bytes.indexOf(Buffer.from([0x8e, 0xad, 0xe8, 0x01]), 100)
  for (const [at, value] of [
    [start + 8, 0xffff_ffff],
    [start + 12, 0xffff_ffff],
    [start + 16 + 8, 0xffff_fff0],
  ] as const) {
    const changed = Buffer.from(bytes)
    changed.writeUInt32BE(value, at)
    await refuses(changed, 'integrity.format', /tags|bytes|outside/)
  }
})

test('a packing or a form of payload that nobody knows is named', async () => {
  await refuses({ header: withTag(rpmTag.payloadCompressor, strings('rar')) }, 'unsupported', /"rar"/)
  await refuses({ header: withTag(rpmTag.payloadFormat, strings('drpm')) }, 'unsupported', /"drpm"/)
})

test('what is no package is refused at once', async () => {
  await refuses(Buffer.alloc(200), 'integrity.format', /begin/)
  await refuses(Buffer.from('!<arch>\ndebian-binary'), 'integrity.truncated', /early/)
})

test('a package of long ago names whole paths and compresses without saying so', async () => {
  const tags = new Map(packageTags([{ path: '/a/b', content: 'ab' }]))
  for (const tag of [rpmTag.baseNames, rpmTag.directoryNames, rpmTag.directoryIndexes]) tags.delete(tag)
  tags.set(rpmTag.oldFileNames, strings('/a/b'))
  const payload = gzipSync(cpio([{ name: 'a/b', content: 'ab' }]))
  assert.deepEqual(await read({ header: tags, payload }), { '/a/b': 'ab' })
})

test('sizes beyond 4 GiB are read from where they stand', async () => {
  const tags = new Map(packageTags([hello]))
  tags.delete(rpmTag.fileSizes)
  tags.set(rpmTag.longFileSizes, { type: 'int64', values: [6n * 1024n ** 3n] })
  const file = await openRpmFile(pieces(rpmFile({ header: tags }), 1000))
  assert.deepEqual(
    file.package.files.map(({ sizeBytes }) => sizeBytes),
    [6 * 1024 ** 3],
  )
  await file.close()
})
