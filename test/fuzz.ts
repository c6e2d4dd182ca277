// Mutated input for every parser of what is stored: it must give a value or a named failure, whatever it is fed.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { setImmediate } from 'node:timers/promises'
import { openMemory } from '../src/backend/memory.ts'
import { openShareFile, writeShareFile } from '../src/backend/share-file.ts'
import { VmlError } from '../src/base/failure.ts'
import { rawFromString } from '../src/base/raw-text.ts'
import {
  encodeEntryDocument,
  encodeEnvironment,
  encodeLibraries,
  encodePackages,
  parseEntryDocument,
  parseEnvironment,
  parseLibraries,
  parsePackages,
} from '../src/model/documents.ts'
import type { BlobId, IndexId, PackId, SnapshotId } from '../src/model/ids.ts'
import { encodeLost, parseLost } from '../src/model/lost.ts'
import { parseAptPlan } from '../src/packages/apt-plan.ts'
import { openBlobIndex } from '../src/store/blob-index.ts'
import { inspectPack } from '../src/store/check-pack-content.ts'
import { openCipher, randomMasterKey } from '../src/store/cipher.ts'
import { encodeConfig, parseConfig } from '../src/store/config.ts'
import { readIndexFile } from '../src/store/index-scan.ts'
import { readKeyFile } from '../src/store/keys.ts'
import { listLocks } from '../src/store/lock-file.ts'
import {
  decodePackHeader,
  encodePackHeader,
  headerLengthBytes,
  parseHeaderLength,
} from '../src/store/pack-format.ts'
import { editTree } from '../src/store/repair-tree.ts'
import { readSealedJson, type Vault } from '../src/store/sealed-file.ts'
import { encodeSnapshot, readSnapshotFile } from '../src/store/snapshot-file.ts'
import { decodeTree } from '../src/store/tree-codec.ts'
import { decompress, decompressUnknown } from '../src/store/zstd.ts'
import { readRpmHeaders } from '../src/packages/rpm-headers.ts'
import { openRpmFile } from '../src/wire/rpm-file.ts'
import { openRpmHeader } from '../src/wire/rpm-header.ts'
import { readRpmPackage } from '../src/wire/rpm-package.ts'
import { makeLogbook, seeded } from './damage.ts'
import { documentOf } from './entries.ts'
import { packageTargets } from './fuzz-packages.ts'
import { cpio, packageTags, rpmFile, rpmHeader, type TagValue } from './fixtures/rpm-file.ts'
import { noise } from './store-fixture.ts'

export interface Target {
  readonly name: string
  /** Valid input. */
  readonly seeds: readonly Buffer[]
  readonly json: boolean
  readonly parse: (input: Buffer) => unknown
}

export interface FuzzReport {
  readonly cases: number
  readonly refused: number
  readonly slowestMs: number
}

/** Each parser for so long; what it did is told to `tell`. */
export async function fuzzAll(
  options: { readonly firstSeed: number; readonly milliseconds: number },
  tell: (line: string) => void,
): Promise<readonly FuzzReport[]> {
  using open = await openTargets()
  const reports: FuzzReport[] = []
  for (const target of open.targets) {
    const report = await fuzz(target, options)
    const { cases, refused, slowestMs } = report
    tell(
      `${target.name}: ${cases} cases from seed ${options.firstSeed}, ${refused} refused, at most ${slowestMs} ms`,
    )
    reports.push(report)
  }
  return reports
}

const casesInTurn = 64

/** As many cases as the time allows; fails with the target and the seed that shows it again. */
async function fuzz(
  target: Target,
  { firstSeed, milliseconds }: { readonly firstSeed: number; readonly milliseconds: number },
): Promise<FuzzReport> {
  for (const seed of target.seeds) await target.parse(Buffer.from(seed))
  const end = Date.now() + milliseconds
  let cases = 0
  let refused = 0
  let slowestMs = 0
  for (; Date.now() < end; cases++) {
    // Node frees decoders of broken frames between turns of the event loop; whoever reads a logbook takes one for each read.
    if (cases % casesInTurn === 0) await setImmediate()
    const input = mutate(target, firstSeed + cases)
    const started = Date.now()
    try {
      await target.parse(input)
    } catch (error) {
      if (!(error instanceof VmlError))
        throw new Error(`${target.name}, seed ${firstSeed + cases}: no named failure`, { cause: error })
      assert.notEqual(error.message, '')
      refused++
    }
    slowestMs = Math.max(slowestMs, Date.now() - started)
  }
  return { cases, refused, slowestMs }
}

/** The input of a case, for who looks at a failure. */
export function mutate({ seeds, json }: Target, seed: number): Buffer {
  const random = seeded(seed)
  const below = (count: number) => Math.floor(random() * count)
  let bytes: Buffer = Buffer.from(seeds[below(seeds.length)] ?? Buffer.alloc(0))
  for (let left = below(3) === 0 ? 3 : 1; left > 0; left--)
    bytes = json && random() < 0.6 ? mutateJson(bytes, below) : mutateBytes(bytes, below)
  return bytes
}

const extremes = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]

function mutateBytes(bytes: Buffer, below: (count: number) => number): Buffer {
  const at = below(bytes.length + 1)
  switch (below(7)) {
    case 0: {
      const changed = Buffer.from(bytes)
      for (let left = 1 + below(8); left > 0 && bytes.length > 0; left--) {
        const place = below(bytes.length)
        changed[place] = (changed[place] ?? 0) ^ (1 << below(8))
      }
      return changed
    }
    case 1:
      return bytes.subarray(0, at)
    case 2:
      return bytes.subarray(at)
    case 3: {
      const value = Buffer.alloc(4)
      value.writeUInt32LE(extremes[below(extremes.length)] ?? 0)
      const changed = Buffer.from(bytes)
      // Lengths stand at the end as often as anywhere else.
      value.copy(changed, below(3) === 0 ? Math.max(0, bytes.length - 4) : at)
      return changed
    }
    case 4:
      return Buffer.concat([bytes.subarray(0, at), noise(1 + below(64), String(at)), bytes.subarray(at)])
    case 5: {
      const end = Math.min(bytes.length, at + below(64))
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at, end), bytes.subarray(end)])
    }
    default: {
      const end = Math.min(bytes.length, at + below(64))
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])
    }
  }
}

/** Written as they are: what JSON.stringify would not write. */
const oddTexts = [
  ...['null', 'true', '[]', '{}', '""', '0', '-1', '1e999', '-0', '0.5', '1e308', '9007199254740993'],
  ...[
    '18446744073709551616',
    '99999999999999999999999999',
    '"\\u0000"',
    '"\\ud800"',
    '"\\u202e"',
    '"../../x"',
  ],
  ...[
    '"/"',
    '{"__proto__":{"x":1}}',
    '{"constructor":1,"toString":2}',
    '{"length":4294967295}',
    '[[]]',
    '01',
  ],
  ...[
    '"0000000000000000000000000000000000000000000000000000000000000000"',
    '"2026-11-21T10:00:00Z"',
    '"=", ""',
  ],
  '"9999-99-99T99:99:99Z"',
  '['.repeat(100_000) + ']'.repeat(100_000),
  '{"a":'.repeat(50_000) + '1' + '}'.repeat(50_000),
  '['.repeat(100_000),
  `"${'x'.repeat(300_000)}"`,
  `[${'0,'.repeat(100_000)}0]`,
]

/** Takes one value of the text and puts another one in its place, or beside it under the same key. */
function mutateJson(bytes: Buffer, below: (count: number) => number): Buffer {
  const text = bytes.toString('latin1')
  const values = [
    ...text.matchAll(
      /(?<=[:[,]\s*)(?:"(?:[^"\\]|\\.)*"(?!\s*:)|-?\d[\d.eE+-]*|true|false|null|\[[^[\]{}]*\]|\{[^[\]{}]*\})/g,
    ),
  ]
  const chosen = values[below(values.length)]
  const odd = oddTexts[below(oddTexts.length)] ?? ''
  if (!chosen) return Buffer.from(`{"x":${odd},${text.slice(1)}`, 'latin1')
  const { index } = chosen
  const end = index + chosen[0].length
  const key = /"[^"\\]{0,40}"\s*:\s*$/.exec(text.slice(0, index))?.[0]
  switch (below(5)) {
    case 0:
      return Buffer.from(`${text.slice(0, index)}${odd},${text.slice(index)}`, 'latin1')
    case 1:
      if (key) return Buffer.from(`${text.slice(0, end)},${key}${odd}${text.slice(end)}`, 'latin1')
      break
    case 2:
      if (key) return Buffer.from(text.slice(0, index - key.length) + text.slice(end), 'latin1')
      break
    default:
  }
  return Buffer.from(`${text.slice(0, index)}${odd}${text.slice(end)}`, 'latin1')
}

const cipher = openCipher(randomMasterKey((length) => noise(length, 'key of the fuzzer')))

/** A storage with one file, sealed with the right key and under its right name: what is tried lies behind both. */
function vaultOf(
  kind: 'config' | 'lock' | 'snapshot' | 'index',
  sealed: Buffer,
): { vault: Vault; name: string } {
  const name = kind === 'config' ? '' : createHash('sha256').update(sealed).digest('hex')
  const files = new Map([[`${kind}/${name}`, sealed]])
  return { vault: { backend: openMemory({ files }), cipher, version: 2 }, name }
}

type Sealing = (plain: Buffer) => Buffer
const plainly: Sealing = (plain) => cipher.seal(plain)
const compressed: Sealing = (plain) => cipher.seal(Buffer.concat([Buffer.of(2), zstdCompressSync(plain)]))

const id = (text: string) => createHash('sha256').update(text).digest('hex')

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

async function readSnapshot(sealed: Buffer): Promise<void> {
  const { vault, name } = vaultOf('snapshot', sealed)
  const snapshot = await readSnapshotFile(vault, name as SnapshotId)
  // Whatever is read is kept in the catalogue, and written again by an edit.
  JSON.stringify(encodeSnapshot(snapshot))
  JSON.stringify(snapshot)
}

async function readIndex(sealed: Buffer): Promise<void> {
  const { vault, name } = vaultOf('index', sealed)
  const index = openBlobIndex()
  for (const { pack, blobs } of (await readIndexFile(vault, name as IndexId)).packs) index.add(pack, blobs)
  Array.from(index.packContents())
}

async function readLock(sealed: Buffer): Promise<void> {
  for await (const { error } of listLocks(vaultOf('lock', sealed).vault)) if (error !== undefined) throw error
}

async function readConfig(sealed: Buffer): Promise<void> {
  const { vault } = vaultOf('config', sealed)
  parseConfig(await readSealedJson(vault, { kind: 'config', name: '' }))
}

const treeSeed = Buffer.from(
  `{"nodes":[{"name":"a \\\\u00e9\\\\x80","type":"dir","mode":2147484141,"mtime":"2026-11-21T10:00:00.123456789+01:00","atime":"2026-11-21T10:00:00Z","ctime":"0001-01-01T00:00:00Z","uid":0,"gid":0,"user":"root","inode":18446744073709551615,"content":null,"subtree":"${id('tree')}"},{"name":"b","type":"file","mode":420,"mtime":"2026-11-21T10:00:00Z","atime":"2026-11-21T10:00:00Z","ctime":"2026-11-21T10:00:00Z","uid":1000,"gid":1000,"size":5,"links":1,"extended_attributes":[{"name":"user.x","value":"AAECAw=="}],"content":["${id('blob')}"]},{"name":"c","type":"symlink","linktarget":"b","linktarget_raw":"Yg==","mode":134218239,"content":null},{"name":"d","type":"dev","device":2049,"mode":67109296,"content":null}]}\n`,
)

function readTree(input: Buffer): void {
  const nodes = decodeTree(input)
  editTree(input, { drop: new Set(nodes[0] ? [nodes[0].name] : []), subtrees: new Map(), put: [] })
}

function headerTargets(): Target[] {
  const blobs = Array.from({ length: 5 }, (_, at) => ({
    type: at % 2 === 0 ? ('data' as const) : ('tree' as const),
    id: id(`blob ${at}`) as BlobId,
    offset: 0,
    length: 100 + at,
    ...(at > 2 ? { plainLength: 500 } : {}),
  }))
  const bytes = blobs.reduce((sum, { length }) => sum + length, 0)
  const sealed = encodePackHeader(cipher, blobs)
  const plain = cipher.open(sealed.subarray(0, sealed.length - headerLengthBytes))
  return [
    {
      name: 'pack header',
      seeds: [plain],
      json: false,
      parse: (input) =>
        decodePackHeader(cipher, cipher.seal(input), bytes + input.length + 32 + headerLengthBytes),
    },
    {
      name: 'length of a pack header',
      seeds: [sealed.subarray(-headerLengthBytes)],
      json: false,
      parse: (input) => {
        if (input.length >= headerLengthBytes) parseHeaderLength(input.subarray(-headerLengthBytes), 4096)
      },
    },
  ]
}

/** Never refused: what is wrong with it is what is asked. */
function packTarget(): Target {
  const contents = [noise(300, 'first'), Buffer.from('text '.repeat(99)), noise(40, 'third')]
  const sealed = contents.map((content, at) => cipher.seal(at === 1 ? zstdCompressSync(content) : content))
  let offset = 0
  const blobs = contents.map((content, at) => {
    const length = sealed[at]?.length ?? 0
    const blob = {
      type: at === 2 ? ('tree' as const) : ('data' as const),
      id: createHash('sha256').update(content).digest('hex') as BlobId,
      offset,
      length,
      ...(at === 1 ? { plainLength: content.length } : {}),
    }
    offset += length
    return blob
  })
  const pack = Buffer.concat([...sealed, encodePackHeader(cipher, blobs)])
  const named = createHash('sha256').update(pack).digest('hex') as PackId
  return {
    name: 'pack',
    seeds: [pack],
    json: false,
    parse: (input) => {
      const { intact, good } = inspectPack(cipher, { pack: named, content: input, named: blobs })
      assert.equal(intact, input.equals(pack))
      if (intact) assert.equal(good.length, blobs.length)
    },
  }
}

/** Without the sums of a real package, which would have nearly every case refused at once. */
function rpmTarget(): Target {
  const files = [
    { path: '/opt/a', content: 'hello' },
    { path: '/opt/b', content: 'hello', inode: 1 },
    { path: '/etc/l', content: '/opt/a', mode: 0o120777 },
  ]
  const payload = cpio([
    { name: './opt/a', content: '' },
    { name: './opt/b', content: 'hello', sum: 532 },
    { name: './etc/l', content: '/opt/a' },
  ])
  const texts = (...values: string[]) => ({ type: 'strings', values }) as const
  const numbers = (...values: number[]) => ({ type: 'int32', values }) as const
  const header = packageTags(
    files,
    new Map<number, TagValue>([
      [1049, texts('/bin/sh', 'libc.so.6')],
      [1048, numbers(1 << 9, 12)],
      [1050, texts('', '2-1')],
      [1065, texts('echo')],
      [1066, texts('a')],
      [1067, texts('')],
      [1068, numbers(1 << 16)],
      [1069, numbers(0)],
      [1092, texts('/bin/sh')],
    ]),
  )
  const keyId = Buffer.from('0102030405060708', 'hex')
  const signature = Buffer.from([0x89, 0, 17, 4, 0, 1, 8, 0, 0, 0, 10, 9, 16, ...keyId])
  const signatures = new Map([[268, { type: 'bytes', value: signature }]] as const)
  return {
    name: 'rpm package',
    seeds: [rpmFile({ header, signatures, payload }), rpmFile({ header, payload: gzipSync(payload) })],
    json: false,
    parse: async (input) => {
      const file = await openRpmFile(onePiece(input))
      for await (const { bytes } of file.contents())
        for await (const piece of bytes) assert.ok(piece.length > 0)
    },
  }
}

/** What rpmdb exports. */
function rpmHeadersTarget(): Target {
  const one = rpmHeader(packageTags([{ path: '/opt/a', content: 'hello' }]))
  return {
    name: 'headers of an rpm database',
    seeds: [one, Buffer.concat([one, one])],
    json: false,
    parse: async (input) => {
      for await (const { header } of readRpmHeaders(onePiece(input)))
        readRpmPackage(openRpmHeader(header, 'a header of the database'))
    },
  }
}

async function* onePiece(input: Buffer): AsyncGenerator<Buffer, void> {
  yield await Promise.resolve(input)
}

function documentTargets(): Target[] {
  const entry = documentOf(
    {
      title: 'title',
      note: 'note',
      at: '2026-11-21T10:00:00Z',
      files: {},
      image: { name: 'a', version: '1', guessed: true },
    },
    { number: 7, machine: 'lab', kind: 'environment' },
  )
  const raw = (path: string) => ({ path, raw: Buffer.from(path).toString('base64') })
  const documents: readonly (readonly [string, Buffer, (input: Buffer) => unknown])[] = [
    [
      'entry.json',
      encodeEntryDocument({
        ...entry,
        excluded: [{ ...raw('/home/lab/.cache'), rule: 'default: caches' }],
        problems: [{ ...raw('/home/lab/x'), problem: 'vanished', message: 'gone' }],
      }),
      parseEntryDocument,
    ],
    [
      'environment.json',
      encodeEnvironment(
        new Map(
          [
            ['PATH', 'LANG'],
            ['HOME', '/home/lab'],
          ].map(([name = '', value = '']) => [rawFromString(name), rawFromString(value)]),
        ),
      ),
      parseEnvironment,
    ],
    [
      'packages.json',
      encodePackages({
        manager: 'dpkg',
        packages: [{ name: 'zlib', version: '1:2.3-4', architecture: 'amd64' }],
      }),
      parsePackages,
    ],
    ['libraries.json', encodeLibraries({ needs: [], libraries: [], complete: true }), parseLibraries],
    [
      'lost.json',
      encodeLost([
        { ...raw('/home/lab/x'), type: 'file', size: 7, rest: '1', missing: [{ offset: 0, length: 3 }] },
      ]),
      parseLost,
    ],
  ]
  return documents.map(([name, seed, parse]) => ({ name: `/.vml/${name}`, seeds: [seed], json: true, parse }))
}

async function shareTarget(files: Map<string, Buffer>, folder: string): Promise<Target> {
  const path = join(folder, 'seed.vml')
  await writeShareFile(path, {
    manifest: json({ format: 'vml-share', schema: 1, key: 'inside' }),
    key: Buffer.from('password'),
    repository: openMemory({ files: new Map([...files].filter(([, data]) => data.length < 4000)) }),
    images: [
      {
        name: `image/${id('image')}/disk`,
        size: 3,
        read: async function* () {
          yield Buffer.from('abc')
        },
      },
    ],
  })
  const tried = join(folder, 'tried.vml')
  return {
    name: 'share file',
    seeds: [readFileSync(path)],
    json: false,
    async parse(input) {
      writeFileSync(tried, input)
      await using share = await openShareFile(tried)
      for (const kind of ['config', 'key', 'snapshot', 'index', 'pack'] as const)
        for await (const { name, size } of share.backend.list(kind)) {
          if (size < 100_000) await share.backend.get({ kind, name })
        }
      for (const { name } of share.images) await Array.fromAsync(share.readImage(name))
    },
  }
}

const aptPlanSeed = Buffer.from(
  [
    'VERSION 3',
    'APT::Architecture=amd64',
    'CommandLine::AsString=apt-get%20install%20x',
    '',
    'libc6 2.36-9 amd64 same < 2.36-10 amd64 same /var/cache/apt/archives/libc6.deb',
    'x - - none < 1:1.22.1-9 amd64 none **CONFIGURE**',
    'y 1 all foreign > - - none **REMOVE**',
    '',
  ].join('\n'),
)

async function openTargets(): Promise<{ readonly targets: readonly Target[] } & Disposable> {
  const folder = mkdtempSync(join(tmpdir(), 'vml-fuzz-'))
  const files = await makeLogbook()
  const config = json(
    encodeConfig({
      version: 2,
      id: id('repository') as Parameters<typeof encodeConfig>[0]['id'],
      polynomial: 0x3da3358b4dc173n,
      chunker: 'gear',
    }),
  )
  const lock = json({
    time: '2026-11-21T10:00:00Z',
    exclusive: true,
    hostname: 'a',
    username: 'b',
    pid: 1,
    uid: 0,
    gid: 0,
  })
  const snapshot = json({
    time: '2026-11-21T10:00:00.5+01:00',
    parent: id('parent'),
    tree: id('tree'),
    paths: ['/home/lab'],
    hostname: 'lab',
    username: 'ann',
    uid: 1000,
    excludes: ['*.o'],
    tags: ['vml:n=1', 'a'],
    original: id('original'),
    summary: { files_new: 3, backup_start: '2026-11-21T10:00:00Z' },
    program_version: 'restic 0.19',
    description: 'title\n\nnote',
  })
  const index = json({
    supersedes: [id('old')],
    packs: [
      {
        id: id('pack'),
        blobs: [
          { id: id('blob'), type: 'data', offset: 0, length: 100, uncompressed_length: 200 },
          { id: id('tree'), type: 'tree', offset: 100, length: 38 },
        ],
      },
    ],
  })
  const key = files.get([...files.keys()].find((name) => name.startsWith('key/')) ?? '') ?? Buffer.alloc(0)
  const frame = zstdCompressSync(Buffer.from('some text that is compressed '.repeat(200)))
  const both = (name: string, seed: Buffer, read: (sealed: Buffer) => Promise<void>): Target => ({
    name,
    seeds: [seed],
    json: true,
    // Which of the two is told by the bytes, so that a case is the same each time.
    parse: async (input) => await read((input.length % 2 === 0 ? plainly : compressed)(input)),
  })
  const targets: Target[] = [
    { name: 'config', seeds: [config], json: true, parse: async (input) => await readConfig(plainly(input)) },
    {
      name: 'key file',
      seeds: [key],
      json: true,
      parse: async (input) =>
        await readKeyFile(openMemory({ files: new Map([[`key/${id('key')}`, input]]) }), id('key')),
    },
    both('lock', lock, readLock),
    both('snapshot', snapshot, readSnapshot),
    both('index', index, readIndex),
    ...headerTargets(),
    packTarget(),
    rpmTarget(),
    rpmHeadersTarget(),
    { name: 'tree', seeds: [treeSeed], json: true, parse: readTree },
    {
      name: 'zstd frame',
      seeds: [frame],
      json: false,
      parse: (input) =>
        input.length % 2 === 0 ? decompress(input, 5800) : decompressUnknown(input, 64 * 1024),
    },
    {
      name: 'compressed file',
      seeds: [zstdCompressSync(snapshot)],
      json: false,
      parse: async (input) => await readSnapshot(cipher.seal(Buffer.concat([Buffer.of(2), input]))),
    },
    {
      name: 'sealed file',
      seeds: [plainly(snapshot), compressed(snapshot)],
      json: false,
      parse: readSnapshot,
    },
    {
      name: 'plan of apt',
      seeds: [aptPlanSeed],
      json: false,
      parse: parseAptPlan,
    },
    ...documentTargets(),
    await shareTarget(files, folder),
    ...packageTargets(),
  ]
  return {
    targets,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}
