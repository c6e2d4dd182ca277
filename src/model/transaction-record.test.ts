import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VmlError } from '../base/failure.ts'
import { rawFromBytes, rawFromString } from '../base/raw-text.ts'
import type { EntryId } from './ids.ts'
import { parseRawPath, type RawPath } from './raw-path.ts'
import type { Fingerprint, PreImage, RecordedChange } from './transaction.ts'
import {
  encodeChanges,
  encodeReadable,
  encodeTransaction,
  isRecordable,
  openChangesReader,
  parseChanges,
  parseTransaction,
  type TransactionDocument,
} from './transaction-record.ts'

const bytes = fc.uint8Array({ minLength: 1, maxLength: 12 })
const rawName = bytes.map((each) =>
  rawFromBytes(each.map((byte) => (byte === 0 || byte === 0x2f ? 0x78 : byte))),
)
const path = fc
  .array(rawName, { minLength: 1, maxLength: 4 })
  .map((names) =>
    parseRawPath(rawFromString(`/${names.filter((name) => name !== '.' && name !== '..').join('/')}`)),
  )
  .filter((each): each is RawPath => each !== undefined)
const hex = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((each) => Buffer.from(each).toString('hex'))
const nanoseconds = fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n })

const fingerprint: fc.Arbitrary<Fingerprint> = fc.record(
  {
    type: fc.constantFrom('file' as const, 'dir' as const, 'symlink' as const, 'chardev' as const),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.nat(),
    gid: fc.nat(),
    mtimeNs: nanoseconds,
    ctimeNs: nanoseconds,
    inode: fc.bigInt({ min: 0n, max: 2n ** 63n }),
    links: fc.nat(),
    size: fc.nat(),
    linkTarget: rawName,
    device: fc.bigInt({ min: 0n, max: 2n ** 40n }),
    sha256: hex,
    xattrs: fc.array(
      fc.record({ name: rawName, value: bytes.map((each) => Buffer.from(each)) }, { noNullPrototype: true }),
      {
        minLength: 1,
        maxLength: 3,
      },
    ),
  },
  { requiredKeys: ['type', 'mode', 'uid', 'gid', 'mtimeNs'], noNullPrototype: true },
)

const preImage: fc.Arbitrary<PreImage> = fc.oneof(
  fc.constant({ kind: 'blob' as const }),
  fc.constant({ kind: 'fingerprint' as const }),
  fc.record(
    {
      kind: fc.constant('delta' as const),
      file: hex.map((each) => `${each.slice(0, 32)}-${each.slice(32)}.zst`),
      base: hex,
    },
    { noNullPrototype: true },
  ),
  fc.constant({ kind: 'regenerable' as const, rule: 'ldconfig' }),
  fc.constant({ kind: 'lost' as const, reason: 'budget' }),
  fc.record(
    {
      kind: fc.constant('reference' as const),
      package: fc.constant('joe'),
      version: fc.constant('1:4.6-1'),
      architecture: fc.constant('amd64'),
      inside: path,
      from: fc.constant('http://snapshot.example/'),
    },
    { noNullPrototype: true },
  ),
)

const change: fc.Arbitrary<RecordedChange> = fc.record(
  {
    path,
    before: fingerprint,
    after: fingerprint,
    owner: fc.constantFrom(
      { kind: 'script' as const },
      { kind: 'package' as const, package: 'joe' },
      { kind: 'configuration' as const, package: 'joe' },
      { kind: 'configuration' as const },
    ),
    preImage,
    afterKept: fc.boolean(),
    otherNames: fc.array(path, { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ['path', 'owner', 'preImage', 'afterKept'], noNullPrototype: true },
)

test('changes are read back as they were written, whatever the names', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
      assert.deepEqual(parseChanges(Buffer.concat([...encodeChanges(changes)])), changes)
    }),
    { numRuns: 200 },
  )
})

test('attributes of some megabytes are read back, and what would not be is said not to be recordable', () => {
  const withXattrs = (count: number, bytes: number): RecordedChange => {
    const is: Fingerprint = {
      ...{ type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n },
      xattrs: Array.from({ length: count }, (_, at) => ({
        name: rawFromString(`user.${at}`),
        value: new Uint8Array(bytes),
      })),
    }
    const owner = { kind: 'script' } as const
    const preImage = { kind: 'fingerprint' } as const
    return { path: '/a' as RawPath, before: is, after: is, owner, preImage, afterKept: false }
  }
  for (const [count, bytes] of [
    [20, 60_000],
    [170, 65_536],
    [1000, 1000],
    [200, 65_536],
    [1001, 1],
  ] as const) {
    const change = withXattrs(count, bytes)
    const encoded = Buffer.concat([...encodeChanges([change])])
    if (isRecordable(change)) assert.equal(parseChanges(encoded)[0]?.after?.xattrs?.length, count)
    else assert.throws(() => parseChanges(encoded), VmlError)
  }
})

test('a list is read in pieces that end anywhere, and no more of it is written than can be read', () => {
  const lines = (changes: readonly RecordedChange[]) =>
    changes.map((each) => Buffer.concat([...encodeChanges([each])]))
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 20 }),
      fc.integer({ min: 1, max: 300 }),
      fc.nat({ max: 20_000 }),
      (changes, pieceBytes, bytesMax) => {
        const { pieces, leftOut } = encodeReadable(changes, bytesMax)
        const bytes = Buffer.concat(pieces)
        const reader = openChangesReader()
        for (let at = 0; at < bytes.length; at += pieceBytes) {
          const piece = Buffer.from(bytes.subarray(at, at + pieceBytes))
          reader.take(piece)
          piece.fill(0)
        }
        const read = reader.end()
        assert.deepEqual([...read, ...leftOut], changes)
        assert.ok(bytes.length <= bytesMax)
        const [next] = lines(leftOut)
        if (next) assert.ok(bytes.length + next.length > bytesMax)
      },
    ),
    { numRuns: 200 },
  )
})

test('what one line cannot hold is left out alone', () => {
  const file = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n } as const
  const small = { owner: { kind: 'script' }, preImage: { kind: 'fingerprint' }, afterKept: false } as const
  const xattrs = Array.from({ length: 1001 }, (_, at) => ({
    name: rawFromString(`user.${at}`),
    value: new Uint8Array(1),
  }))
  const all: RecordedChange[] = [
    { path: '/a' as RawPath, after: file, ...small },
    { path: '/b' as RawPath, after: { ...file, xattrs }, ...small },
    { path: '/c' as RawPath, after: file, ...small },
  ]
  const { pieces, leftOut } = encodeReadable(all)
  assert.deepEqual(leftOut, [all[1]])
  assert.deepEqual(parseChanges(Buffer.concat(pieces)), [all[0], all[2]])
})

const document: TransactionDocument = {
  schema: 1,
  source: 'apt',
  mode: 'live',
  modeReason: 'no overlay can be mounted here',
  command: [rawFromString('apt-get'), rawFromBytes(Buffer.from([0xff, 0x20]))],
  user: { name: 'root', uid: 0, login: 'ada' },
  startedAt: '2026-11-03T10:00:00.000Z',
  endedAt: '2026-11-03T10:00:09.000Z',
  exitStatus: 0,
  takesBack: ['ab'.repeat(32) as EntryId],
  manager: 'dpkg',
  packages: [
    { name: 'joe', architecture: 'amd64', fate: 'upgraded', from: '4.6-1', to: '4.6-2', neededBy: ['ed'] },
  ],
  validations: [{ name: 'dpkg --audit', outcome: 'passed' }],
  services: [{ unit: 'ssh.service', action: 'restart', outcome: 'done', stoppedMs: 120 }],
  complete: false,
  gaps: [{ path: rawFromString('/usr/bin/joe'), reason: 'over the budget' }],
  counts: { created: 1, changed: 2, deleted: 3 },
  storedBytes: 10,
  preImageBytes: 20,
}

test('the document of a transaction is read back as it was written', () => {
  assert.deepEqual(parseTransaction(encodeTransaction(document)), document)
})

test('a damaged document of a transaction is named as that, with the field', () => {
  const json = encodeTransaction(document).toString('utf8')
  for (const [damaged, field] of [
    [json.replace('"apt"', '"aptitude"'), 'source'],
    [json.replace('"exitStatus": 0', '"exitStatus": -1'), 'exitStatus'],
    [json.replace('"name": "joe"', '"name": "j oe"'), 'packages.0.name'],
  ] as const)
    assert.throws(
      () => parseTransaction(Buffer.from(damaged)),
      (error) =>
        error instanceof VmlError && error.code === 'integrity.format' && error.details['field'] === field,
    )
})

test('a change with a path that is not absolute, or with a kind that is not known, is refused', () => {
  const line = '{"path":"/a","owner":{"kind":"script"},"preImage":{"kind":"blob"}}\n'
  assert.equal(parseChanges(Buffer.from(line)).length, 1)
  for (const damaged of [
    line.replace('/a', 'a'),
    line.replace('/a', '/a/../b'),
    line.replace('"blob"', '"glob"'),
    line.replace('"script"', '"toString"'),
    line.replace('}}', '}'),
  ])
    assert.throws(
      () => parseChanges(Buffer.from(damaged)),
      (error) => error instanceof VmlError && error.code === 'integrity.format',
      damaged,
    )
})

/** Some characters, of any kind, up to 100,000 times. */
const long = fc
  .tuple(fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }), fc.integer({ min: 0, max: 100_000 }))
  .map(([some, length]) => some.repeat(Math.ceil(length / some.length)).slice(0, length))
const longBytes = fc
  .tuple(fc.uint8Array({ minLength: 1, maxLength: 4 }), fc.integer({ min: 0, max: 200_000 }))
  .map(([some, length]) => rawFromBytes(Buffer.alloc(length, some)))

test('whatever packages and commands bring can be recorded: what is too long is cut, and is a gap where an undo goes by it', () => {
  const property = fc.property(fc.array(long, { minLength: 12, maxLength: 12 }), longBytes, (texts, word) => {
    const [name = '', login = '', modeReason = '', section = '', origin = '', source = ''] = texts
    const [to = '', check = '', message = '', unit = '', reason = '', needs = ''] = texts.slice(6)
    const whole: TransactionDocument = {
      ...document,
      complete: true,
      gaps: [],
      modeReason,
      command: [word],
      user: { name, uid: 0, login },
      packages: [
        {
          name: 'joe',
          architecture: 'amd64',
          fate: 'upgraded',
          from: '1',
          to,
          section,
          origin,
          source,
          neededBy: [needs],
        },
      ],
      validations: [{ name: check, outcome: 'failed', message }],
      services: [{ unit, action: 'stop', outcome: 'done', stoppedMs: -1.5 }],
      notKept: [{ path: word, reason }],
      preImageBytes: 1e300,
    }
    const read = parseTransaction(encodeTransaction(whole))
    const isSame = (was: string, is = '') =>
      is === was || (was.length > is.length && was.startsWith(is.slice(0, -3)))
    assert.ok(isSame(name, read.user.name) && isSame(login, read.user.login))
    assert.ok(isSame(modeReason, read.modeReason) && isSame(word, read.command[0]))
    const [known] = read.packages
    assert.ok(
      isSame(section, known?.section) && isSame(origin, known?.origin) && isSame(source, known?.source),
    )
    assert.ok(isSame(check, read.validations[0]?.name) && isSame(message, read.validations[0]?.message))
    assert.ok(isSame(unit, read.services[0]?.unit) && isSame(reason, read.notKept?.[0]?.reason))
    assert.equal(read.services[0]?.stoppedMs, 0)
    assert.equal(read.complete, known?.to === to)
    assert.equal(read.gaps.length, known?.to === to ? 0 : 1)
    // Written anew, it says no more of it.
    assert.deepEqual(parseTransaction(encodeTransaction(read)), read)
  })
  fc.assert(property, { numRuns: 100 })
})

test('lists that are too long end in what says so, and are read again', () => {
  const transition = document.packages[0]
  assert.ok(transition)
  const path = rawFromString(`/${'p'.repeat(2000)}`)
  const whole: TransactionDocument = {
    ...document,
    packages: Array.from({ length: 200_001 }, () => transition),
    command: Array.from({ length: 100_001 }, () => rawFromString('w')),
    validations: Array.from({ length: 10_001 }, () => ({ name: 'v', outcome: 'passed' })),
    gaps: Array.from({ length: 40_000 }, () => ({ path, reason: 'r'.repeat(5000) })),
  }
  const read = parseTransaction(encodeTransaction(whole))
  assert.deepEqual([read.packages.length, read.command.length], [200_000, 100_000])
  assert.equal(read.command.at(-1), rawFromString('…'))
  assert.ok(read.gaps.length > 4000 && read.gaps.length < 40_000)
})

test('a change with whatever owner, names and reasons is a line that can be read', () => {
  const property = fc.property(
    fc.array(long, { minLength: 2, maxLength: 2 }),
    longBytes,
    ([name = '', reason = ''], user) => {
      const before = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, user, group: user } as const
      const change: RecordedChange = {
        path: '/a' as RawPath,
        before,
        owner: { kind: 'package', package: name },
        preImage: { kind: 'lost', reason },
        afterKept: false,
      }
      const [read] = parseChanges(Buffer.concat([...encodeChanges([change])]))
      assert.ok(read?.preImage.kind === 'lost' && reason.startsWith(read.preImage.reason.slice(0, -1)))
    },
  )
  fc.assert(property, { numRuns: 100 })
})
