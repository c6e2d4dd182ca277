// What a machine over ssh says of a transaction is not believed further than it can be kept.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { asRaw } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import type { Segment } from '../model/tree.ts'
import { listBelow } from '../source/list-below.ts'
import type { ReadRecord } from '../source/source.ts'
import type { FileSink } from '../store/store.ts'
import { encodeIntended } from './commit-intent.ts'
import { lyingShell } from './lying-shell.fixture.ts'
import { storeRemoteContents } from './remote-contents.ts'
import { readMountInfo, readRemoteNote } from './remote-stage.ts'
import { encodeStageNote, type StageNote } from './stage-note.ts'
import { readToldChanges } from './storable-changes.ts'

const path = (text: string) => asRaw(text) as RawPath
const notBelieved = (saying: RegExp) => (error: unknown) =>
  isFailure(error, 'remote.protocol') && saying.test(error.message)

/** As find prints it with the format of a walk. */
const row = (name: string, { head = 'if', mode = '644', size = '1', links = '1' } = {}) =>
  `${[head, mode, '0', '0', size, '1.5000000000', '1.5000000000', '7', '8', links, '', name].join('\0')}\0`

const listed = async (says: Parameters<typeof lyingShell>[0], pathsMax?: number) =>
  await Array.fromAsync(
    listBelow(lyingShell(says), { starts: [path('/layer/upper')], ...(pathsMax ? { pathsMax } : {}) }),
  )

test('a list that never ends, of one path or of many, ends where no machine has so many', async () => {
  function* forEver() {
    for (;;) yield Buffer.from(row('/layer/upper/a').repeat(100))
  }
  function* andMore() {
    for (let count = 0; ; count++) yield Buffer.from(row(`/layer/upper/${count}`))
  }
  for (const endless of [forEver, andMore])
    await assert.rejects(listed(endless, 5000), notBelieved(/more than 5000 files/))
})

test('a list with other paths than asked for, or with numbers and names that are none, is not believed', async () => {
  const end = row('/.')
  assert.equal((await listed(row('/layer/upper') + row('/layer/upper/new\nline') + end)).length, 2)
  for (const bad of [
    row('/etc/shadow'),
    row('/layer/upper-too'),
    row('/layer/upper/../../etc/shadow'),
    row('/layer/upper//a'),
    row('relative'),
    row('/layer/upper/a', { mode: '77777' }),
    row('/layer/upper/a', { size: '99999999999999999999' }),
    row('/layer/upper/a', { size: '-1' }),
    row('/layer/upper/a', { links: 'many' }),
    row('/layer/upper/a', { head: 'xf' }),
    'Welcome to this machine!\n',
  ])
    await assert.rejects(listed(bad + end), notBelieved(/liar/), JSON.stringify(bad))
  await assert.rejects(
    listed(row('/layer/upper/a') + end + row('/layer/upper/b')),
    notBelieved(/does not end/),
  )
})

const file: Fingerprint = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, sha256: '0'.repeat(64) }
const folder: Fingerprint = { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }

test('changes that no machine can make are not recorded: out of order, twice, below a file, beyond what a record takes', () => {
  const read = (...changes: readonly PathChange[]) => readToldChanges('liar', encodeIntended(changes))
  const [a, b, inA] = [path('/a'), path('/b'), path('/a/b')]
  const good = [
    { path: a, before: folder, after: file },
    { path: inA, before: file },
    { path: b, after: folder },
    { path: path('/b/c'), after: file },
  ]
  assert.equal(read(...good).length, 4)
  for (const bad of [
    [
      { path: b, before: file },
      { path: a, before: file },
    ],
    [
      { path: a, before: file },
      { path: a, before: file },
    ],
    [
      { path: a, before: file },
      { path: inA, before: file },
    ],
    [
      { path: a, after: { ...file, type: 'symlink' as const } },
      { path: inA, after: file },
    ],
    [{ path: a, before: { ...file, mode: 0o77777 } }],
    [{ path: a, before: { ...file, size: -1 } }],
    [{ path: a, before: { ...file, linkTarget: asRaw('x'.repeat(100_000)) } }],
    [{ path: a, before: { ...file, sha256: 'none' } }],
    [{ path: a, before: { ...file, xattrs: [{ name: asRaw('user.a'), value: Buffer.alloc(200_000) }] } }],
    [{ path: path('/a/../../etc/shadow'), before: file }],
    [{ path: path(`/${'a'.repeat(300)}/b`), before: file }],
  ])
    assert.throws(() => read(...bad), notBelieved(/Cannot understand liar/), JSON.stringify(bad, bigints))
  assert.throws(() => readToldChanges('liar', Buffer.from('welcome\n')), notBelieved(/liar/))
})

test('what lies where an entry tells of itself is no part of a transaction', () => {
  assert.throws(
    () => readToldChanges('liar', encodeIntended([{ path: path('/.vml/transaction.json'), after: file }])),
    (error) => isFailure(error, 'unsupported') && /"\/\.vml"/.test(error.message),
  )
})

test('a machine with more mounts than any has is refused, before a stage is planned for them', async () => {
  const table = (mounts: number) => '1 0 8:1 / / rw - ext4 /dev/a rw\n'.repeat(mounts)
  const read = async (mounts: number) =>
    await readMountInfo({ name: 'liar', shell: lyingShell(table(mounts)) })
  assert.equal((await read(100)).length, table(100).length)
  await assert.rejects(
    read(4000),
    (error) => isFailure(error, 'unsupported') && /4000 mounts/.test(error.message),
  )
})

test('a note with tags that only VML gives is not believed', async () => {
  const note: StageNote = {
    schema: 1,
    token: '0'.repeat(32),
    source: 'command',
    title: 'a title',
    note: '',
    tags: ['mine'],
    command: [],
    user: { name: 'root', uid: 0 },
    startedAt: '2026-01-01T00:00:00Z',
    process: { id: 1, started: '1' },
  }
  const read = async (told: StageNote) =>
    await readRemoteNote({
      name: 'liar',
      shell: lyingShell(encodeStageNote(told)),
      state: path('/var/lib/vml'),
    })
  assert.equal((await read(note))?.title, 'a title')
  for (const tag of ['vml:imported', 'vml:project=mine', 'two,of them'])
    await assert.rejects(read({ ...note, tags: [tag] }), notBelieved(/tags/))
})

test('a file that is not what was seen is not stored; one without end is left, and the rest is read', async () => {
  const contents = new Map([
    [path('/true'), Buffer.from('what was seen')],
    [path('/other'), Buffer.from('what was not')],
    [path('/last'), Buffer.from('the last one')],
  ])
  const asked: RawPath[][] = []
  async function* read(paths: readonly RawPath[]): AsyncIterable<ReadRecord> {
    asked.push([...paths])
    for (const each of paths)
      yield { kind: 'file', path: each, attributes: file, segments: () => segmentsOf(contents.get(each)) }
  }
  async function* segmentsOf(bytes: Buffer | undefined): AsyncIterable<Segment> {
    if (bytes) yield await Promise.resolve({ kind: 'data', bytes })
    else for (;;) yield await Promise.resolve({ kind: 'hole', length: 1024 ** 3 })
  }
  const sumOf = (text: string) => createHash('sha256').update(text).digest('hex')
  const wanted = (place: string, text: string) => ({
    place: path(place),
    size: text.length,
    sha256: sumOf(text),
  })
  const finished: number[] = []
  const openFile = (): FileSink => {
    let bytes = 0
    return {
      async write(segment) {
        bytes += segment.kind === 'data' ? segment.bytes.length : segment.length
        await Promise.resolve()
      },
      async finish() {
        finished.push(bytes)
        return await Promise.resolve({ content: [], size: bytes })
      },
      abort() {},
    }
  }
  const stored = await storeRemoteContents({ source: { read } }, { openFile }, [
    wanted('/true', 'what was seen'),
    wanted('/endless', 'short'),
    wanted('/other', 'was not what'),
    wanted('/last', 'the last one'),
  ])
  assert.deepEqual([...stored.keys()], [sumOf('what was seen'), sumOf('the last one')])
  assert.deepEqual(finished, [13, 12])
  assert.deepEqual(
    asked.map((paths) => paths.length),
    [4, 2],
  )
})

const bigints = (_key: string, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)
