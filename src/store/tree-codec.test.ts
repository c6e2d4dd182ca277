import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { openResticPeer, type ResticPeer } from '../../test/restic-peer.ts'
import { rawFromBytes, rawFromString } from '../base/raw-text.ts'
import type { BlobId, TreeId } from '../model/ids.ts'
import { isRawName, type RawName } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { decodeTree, encodeTree } from './tree-codec.ts'

const id = (text: string) => hash('sha256', text)
const rawText = fc.uint8Array({ minLength: 1, maxLength: 40 }).map(rawFromBytes)
const name = rawText.filter((raw): raw is RawName => isRawName(raw))
const uint64 = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n })
const time = fc.bigInt({ min: -(10n ** 18n), max: 10n ** 19n })
const optional = { requiredKeys: ['name', 'type', 'mode', 'uid', 'gid', 'mtimeNs', 'atimeNs'] } as const
const common = {
  name,
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  gid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  mtimeNs: time,
  atimeNs: time,
  ctimeNs: time,
  user: rawText,
  group: rawText,
  inode: uint64,
  deviceId: uint64,
  links: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  xattrs: fc.array(
    fc.record({ name: rawText.filter((raw) => !raw.includes('\0')), value: fc.uint8Array() }),
    {
      minLength: 1,
      maxLength: 3,
    },
  ),
}
const keys = [...optional.requiredKeys]
const anyNode: fc.Arbitrary<TreeNode> = fc.oneof(
  fc
    .tuple(
      fc.record({ ...common, type: fc.constant('file' as const) }, { requiredKeys: keys }),
      fc.array(
        fc.string().map((text) => id(text) as BlobId),
        { maxLength: 3 },
      ),
      fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    )
    .map(([node, content, size]) => ({ ...node, content, size: content.length === 0 ? 0 : size })),
  fc
    .record({ ...common, type: fc.constant('dir' as const) }, { requiredKeys: keys })
    .map((node) => ({ ...node, subtree: id(node.name) as TreeId })),
  fc
    .tuple(
      fc.record({ ...common, type: fc.constant('symlink' as const) }, { requiredKeys: keys }),
      rawText.filter((raw) => !raw.includes('\0')),
    )
    .map(([node, linkTarget]) => ({ ...node, linkTarget })),
  fc
    .tuple(
      fc.record(
        { ...common, type: fc.constantFrom('dev' as const, 'chardev' as const) },
        { requiredKeys: keys },
      ),
      fc.oneof(fc.constant(0n), uint64),
    )
    .map(([node, device]) => ({ ...node, device })),
  fc.record(
    { ...common, type: fc.constantFrom('fifo' as const, 'socket' as const, 'irregular' as const) },
    { requiredKeys: keys },
  ),
)

/** Attribute values compare as bytes. */
const plain = (nodes: readonly TreeNode[]) =>
  nodes.map((node) => ({
    ...node,
    xattrs: node.xattrs?.map((xattr) => [xattr.name, Buffer.from(xattr.value)]),
  }))

test('every node comes back whole, whatever the order in which nodes are given', () => {
  fc.assert(
    fc.property(fc.uniqueArray(anyNode, { selector: (node) => node.name, maxLength: 8 }), (nodes) => {
      const sorted = nodes.toSorted((left, right) => (left.name < right.name ? -1 : 1))
      const json = encodeTree(nodes)
      assert.deepEqual(plain(decodeTree(json)), plain(sorted))
      assert.deepEqual(encodeTree(sorted), json)
      assert.doesNotThrow(() => JSON.parse(json.toString()))
    }),
    { numRuns: 150 },
  )
})

const file: TreeNode = {
  name: 'x' as RawName,
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeNs: 1_000_000_001n,
  size: 0,
  content: [],
}

test('an access time that nobody knows is written as the time of modification, as restic does', () => {
  const [node] = decodeTree(encodeTree([file]))
  assert.equal(node?.atimeNs, file.mtimeNs)
  assert.equal(node?.ctimeNs, undefined)
})

test('what no caller may pass is a defect', () => {
  const wrong: readonly TreeNode[][] = [
    [file, file],
    [{ ...file, name: '..' as RawName }],
    [{ ...file, mode: 0o10000 }],
    [{ ...file, type: 'dir' }],
    [{ ...file, content: undefined } as unknown as TreeNode],
  ]
  for (const nodes of wrong) assert.throws(() => encodeTree(nodes), { name: 'Error' })
})

test('a folder of many thousand nodes comes back', () => {
  const nodes = Array.from({ length: 20_000 }, (_, index) => ({
    ...file,
    name: `n${100_000 + index}` as RawName,
  }))
  assert.equal(decodeTree(encodeTree(nodes)).length, nodes.length)
})

const written = (fields: string) =>
  `{"nodes":[{"name":"x","type":"fifo","mtime":"2026-01-01T00:00:00Z","uid":0,"gid":0,"content":null${fields}}]}\n`

test('times in another zone, unknown fields and unknown types are read', () => {
  const [node] = decodeTree(
    Buffer.from(
      '{"version":[1,{}],"nodes":[{"generic_attributes":{"a.b":[1.5e3,null,true]},"content":null,"name":"\\\\u00e4","type":"door",\n' +
        '"mtime":"2026-01-01T02:00:00.5+02:00","atime":"0001-01-01T00:00:00Z","uid":7,"gid":null}],"more":{}}',
    ),
  )
  assert.deepEqual(node, {
    name: rawFromString('ä'),
    type: 'irregular',
    mode: 0,
    uid: 7,
    gid: 0,
    mtimeNs: BigInt(Date.parse('2026-01-01T00:00:00.5Z')) * 1_000_000n,
  })
})

test('what is no tree is integrity.format and names the field', () => {
  const cases: readonly [string, string][] = [
    ['', ''],
    ['[]', ''],
    ['{}', ''],
    ['{"nodes":null}', ''],
    ['{"nodes":[]} x', ''],
    ['{"nodes":[],"nodes":[]}', ''],
    ['{"nodes":[{"name":"x"', 'nodes[0].name'],
    [written(',"name":""'), 'nodes[0].name'],
    [written(',"name":"."'), 'nodes[0].name'],
    [written(',"name":".."'), 'nodes[0].name'],
    [written(',"name":"a/b"'), 'nodes[0].name'],
    [written(',"name":"a\\\\x00"'), 'nodes[0].name'],
    [written(',"name":"a\\\\x2fb"'), 'nodes[0].name'],
    [written(',"name":"a\\\\q"'), 'nodes[0].name'],
    [written(`,"name":"${'n'.repeat(256)}"`), 'nodes[0].name'],
    [written(',"name":5'), 'nodes[0].name'],
    [written(',"mtime":"yesterday"'), 'nodes[0].mtime'],
    [written(',"uid":4294967296'), 'nodes[0].uid'],
    [written(',"gid":-1'), 'nodes[0].gid'],
    [written(',"size":1.5'), 'nodes[0].size'],
    [written(',"inode":18446744073709551616'), 'nodes[0].inode'],
    [written(',"content":["00"]'), 'nodes[0].content'],
    [written(`,"content":["${'A'.repeat(64)}"]`), 'nodes[0].content'],
    [written(`,"content":["${id('a')}"]`), 'nodes[0].content'],
    [written(',"type":"file","size":5'), 'nodes[0].content'],
    [written(',"type":"dir"'), 'nodes[0].subtree'],
    [written(',"subtree":"x"'), 'nodes[0].subtree'],
    [written(',"type":"symlink"'), 'nodes[0].linktarget'],
    [written(',"linktarget":"a\\u0000"'), 'nodes[0].linktarget'],
    [written(`,"linktarget":"${'a'.repeat(70_000)}"`), 'nodes[0].linktarget'],
    [written(',"linktarget_raw":"?"'), 'nodes[0].linktarget_raw'],
    [written(`,"user":"${'u'.repeat(2000)}"`), 'nodes[0].user'],
    [written(',"extended_attributes":[{"value":""}]'), 'nodes[0].extended_attributes'],
    [written(',"extended_attributes":[{"name":"user.a","value":"="}]'), 'nodes[0].extended_attributes'],
    ['{"nodes":[{"name":"b","type":"fifo"},{"name":"a","type":"fifo"}]}', 'nodes[1].name'],
    ['{"nodes":[{"name":"a","type":"fifo"},{"name":"a","type":"fifo"}]}', 'nodes[1].name'],
  ]
  for (const [json, path] of cases) {
    assert.throws(
      () => decodeTree(Buffer.from(json)),
      (error) => {
        assert.ok(error instanceof Error && 'code' in error && 'details' in error, json)
        assert.equal(error.code, 'integrity.format')
        assert.deepEqual(error.details, { path }, json)
        return true
      },
    )
  }
})

test('a damaged tree is read or refused, and nothing else happens', () => {
  const json = encodeTree([
    file,
    { ...file, name: 'y' as RawName, user: rawFromString('ä'), inode: 2n ** 60n },
  ])
  fc.assert(
    fc.property(fc.nat(json.length - 1), fc.nat(255), fc.boolean(), (at, byte, cut) => {
      const damaged = Buffer.from(cut ? json.subarray(0, at) : json)
      if (!cut) damaged[at] = byte
      try {
        decodeTree(damaged)
      } catch (error) {
        assert.ok(
          error instanceof Error && 'code' in error && error.code === 'integrity.format',
          String(error),
        )
      }
    }),
    { numRuns: 700 },
  )
})

/** The JSON of every tree in a repository. */
function trees(restic: ResticPeer): Buffer[] {
  const blobs = restic.run('list', 'blobs').toString().split('\n')
  const ids = blobs.filter((line) => line.startsWith('tree ')).map((line) => line.slice(5))
  return ids.map((tree) => restic.run('cat', 'blob', tree))
}

function inShell(folder: string, script: string, ...args: readonly string[]): void {
  execFileSync('sh', ['-c', script, 'sh', ...args], { cwd: folder })
}

/** Every kind of file and name that a folder of Linux can hold, as far as restic 0.14 keeps it. */
function makeFolder(folder: string): void {
  const put = (leaf: Buffer | string) => {
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(leaf)]), '')
  }
  mkdirSync(join(folder, 'sub/empty'), { recursive: true })
  for (let byte = 1; byte < 256; byte++) {
    if (byte !== 0x2f && byte !== 0x2e) put(Buffer.from([byte]))
    if (byte !== 0x2f) put(Buffer.from([0x61, byte, 0xc3, byte, 0xe2, 0x82, byte]))
  }
  for (const leaf of [
    '-n',
    '@',
    '\\x41',
    '"quoted"',
    '<&>',
    '日本',
    '😀',
    '\u2028',
    '\u00ad',
    '\ufeff',
    '\ufffd',
    'n'.repeat(255),
  ])
    put(leaf)
  writeFileSync(join(folder, 'data'), 'some content')
  linkSync(join(folder, 'data'), join(folder, 'hard link'))
  for (const [link, target] of [
    ['link', 'data'],
    ['link-odd', 'a <b> & "c"\\ \u2028 ä\n\t\x01\x7f'],
    ['link-long', 'x/'.repeat(2000)],
  ] as const) {
    symlinkSync(target, join(folder, link))
  }
  for (const mode of ['0000', '0644', '1777', '2755', '4755', '7777']) {
    inShell(folder, ': > "mode $1" && chmod "$1" "mode $1"', mode)
  }
  inShell(folder, 'mkfifo fifo')
  for (const [leaf, stamp] of [
    ['old', '1931-05-06 07:08:09.123456789'],
    ['future', '2200-01-02 03:04:05.1'],
    ['whole', '2001-01-01'],
  ] as const) {
    inShell(folder, 'touch -d "$1" "$2"', `${stamp} UTC`, leaf)
  }
  for (const [attribute, value] of [
    ['user.text', 'plain'],
    ['user.binary', '0x00ff10'],
    ['user.ä', 'x'],
    ['user.empty', ''],
  ] as const) {
    inShell(folder, 'setfattr -n "$1" -v "$2" data', attribute, value)
  }
  inShell(folder, 'setfacl -m u:12345:rw whole')
}

/** What restic 0.14 writes otherwise: every character there is, and link targets that are not UTF-8. */
function makeModernFolder(folder: string): void {
  mkdirSync(folder)
  let leaf = ''
  for (let codePoint = 1; codePoint <= 0x10ffff; codePoint++) {
    if (codePoint === 0x2f || (codePoint >= 0xd800 && codePoint <= 0xdfff)) continue
    leaf += String.fromCodePoint(codePoint)
    if (Buffer.byteLength(leaf) > 250 || codePoint === 0x10ffff) {
      writeFileSync(join(folder, leaf), '')
      leaf = ''
    }
  }
  symlinkSync(oddTarget, join(folder, 'link'))
}
const oddTarget = Buffer.from('a\xff\xc3(\b\f', 'latin1')

for (const version of ['0.14', '0.19'] as const) {
  test(`trees of restic ${version} come back byte for byte`, async () => {
    using restic = await openResticPeer(version)
    makeFolder(join(restic.folder, 'data'))
    if (version === '0.19') makeModernFolder(join(restic.folder, 'data/modern'))
    restic.run('backup', '--quiet', 'data')
    restic.run('backup', '--quiet', '--with-atime', 'data/data', 'data/sub', '/dev/null')
    const all = trees(restic)
    assert.ok(all.length >= 5)
    for (const json of all)
      assert.ok(encodeTree(decodeTree(json)).equals(json), json.toString().slice(0, 10_000))
    const nodes = all.flatMap((json) => decodeTree(json))
    for (const type of ['file', 'dir', 'symlink', 'fifo', 'chardev']) {
      assert.ok(
        nodes.some((node) => node.type === type),
        type,
      )
    }
    assert.ok(nodes.some((node) => node.name === 'data' && node.xattrs?.length === 4))
    assert.equal(
      nodes.some((node) => node.linkTarget === rawFromBytes(oddTarget)),
      version === '0.19',
    )
  })
}

test('known: restic 0.14 loses link targets that are not UTF-8 and escapes \\b and characters after Unicode 13 otherwise', async () => {
  using restic = await openResticPeer('0.14')
  mkdirSync(join(restic.folder, 'data'))
  symlinkSync(Buffer.from('a\xff', 'latin1'), join(restic.folder, 'data/lost'))
  symlinkSync('\b', join(restic.folder, 'data/control'))
  writeFileSync(join(restic.folder, 'data/\u061d'), '')
  restic.run('backup', '--quiet', 'data')
  const nodes = trees(restic).flatMap((json) => decodeTree(json))
  const read = new Map(nodes.map((node) => [node.name as string, node.linkTarget as string | undefined]))
  assert.equal(read.get('lost'), rawFromString('a\ufffd'))
  assert.equal(read.get('control'), '\b')
  assert.ok(read.has(rawFromString('\u061d')))
})
