import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { asRaw, rawFromString } from '../base/raw-text.ts'
import {
  encodeEntryDocument,
  encodeEnvironment,
  encodeLibraries,
  encodePackages,
  parseEntryDocument,
  parseEnvironment,
  parseLibraries,
  parsePackages,
} from './documents.ts'
import type { EntryDocument } from './entry.ts'
import { parseId, type EntryId } from './ids.ts'
import type { LibrariesDocument } from './libraries.ts'
import { parseRawPath, type RawPath } from './raw-path.ts'

const home = { path: '/home/lab', raw: Buffer.from('/home/lab').toString('base64') }
const since = parseId<EntryId>('ab'.repeat(32))
assert.ok(since)

const entry: EntryDocument = {
  schema: 1,
  kind: 'environment',
  title: 'fit v1',
  note: 'two\nlines',
  machine: 'lab',
  number: 42,
  mode: 'incremental',
  since,
  startedAt: '2026-11-03T10:00:00.123456789+01:00',
  user: { name: 'lab', uid: 1000, gid: 1000, home: '/home/lab', homeRaw: home.raw },
  roots: [{ ...home, why: 'home' }],
  image: { name: 'tiny', version: '1.0', guessed: true },
  facts: { os: { ID: 'tiny', VERSION_ID: '1.0' }, kernel: '6.1.0' },
  scan: { startedNs: '1790000000000000000', resolutionNs: 1 },
  fidelity: {
    timeResolutionNs: 1,
    ctime: true,
    inode: true,
    ownerNames: true,
    xattrs: true,
    acls: false,
    sparse: true,
    notes: ['ACLs cannot be read'],
  },
  rules: { exclude: ['*.o'], defaults: true },
  excluded: [{ ...home, rule: '.vmlignore:3 *.o' }],
  problems: [{ ...home, problem: 'unreadable', message: 'Permission denied' }],
  mounts: [{ ...home, type: 'nfs' }],
  cvmfs: [{ repository: 'sft.cern.ch', revision: '7' }],
  caches: [{ name: 'pip', ...home, files: 1, bytes: 2 }],
  outcome: 'partial',
  statistics: { files: 1, folders: 2, others: 3, bytes: 4, filesRead: 5, bytesRead: 6 },
}

test('an entry’s document comes back as it was written, and fields of a later version are passed over', () => {
  assert.deepEqual(parseEntryDocument(encodeEntryDocument(entry)), entry)
  assert.deepEqual(parseEntryDocument({ ...entry, later: { field: 1 } }), entry)
})

test('a wrong field is named', () => {
  const wrong: readonly [string, object][] = [
    ['title', { title: 7 }],
    ['number', { number: -1 }],
    ['machine', { machine: 'a\x1b[31m' }],
    ['startedAt', { startedAt: 'yesterday' }],
    ['since', { since: 'AB' }],
    ['user.homeRaw', { user: { ...entry.user, homeRaw: '!' } }],
    ['roots.0.raw', { roots: [{ ...entry.roots[0], raw: base64('/home/../etc') }] }],
    ['roots.0.raw', { roots: [{ ...entry.roots[0], raw: base64('relative') }] }],
    ['excluded.0.raw', { excluded: [{ ...entry.excluded[0], raw: base64('/a\0b') }] }],
    ['image', { image: { name: '../x', version: '1', guessed: false } }],
    ['facts.os.ID', { facts: { os: { ID: {} } } }],
    ['statistics.bytes', { statistics: { ...entry.statistics, bytes: 0.5 } }],
    ['outcome', { outcome: undefined }],
  ]
  for (const [field, change] of wrong) {
    assert.throws(
      () => parseEntryDocument({ ...entry, ...change }),
      (error) => isFailure(error, 'integrity.format') && error.details['field'] === field,
      field,
    )
  }
})

test('what is no document of ours is refused, that of a newer VML with what to do', () => {
  for (const input of ['', '[]', 'null', '{"schema":1}', '\xff', '{"schema":1,'])
    assert.throws(
      () => parseEntryDocument(Buffer.from(input, 'latin1')),
      (error) => isFailure(error, 'integrity.format'),
    )
  assert.throws(
    () => parsePackages({ schema: 2 }),
    (error) => isFailure(error, 'integrity.format') && error.hint !== undefined,
  )
})

test('environment variables keep every byte', () => {
  const name = bytes('AZ_é\xff\n ').map((text) => asRaw(`N${text}`))
  const value = bytes('aé\xc3\xa9\xff\n="\\').map(asRaw)
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value)), (pairs) => {
      const variables = new Map(pairs)
      const sorted = new Map([...variables].toSorted(([a], [b]) => (a < b ? -1 : 1)))
      assert.deepEqual([...parseEnvironment(encodeEnvironment(variables))], [...sorted])
    }),
  )
  const text = encodeEnvironment(new Map([[rawFromString('LANG'), rawFromString('Zürich')]])).toString()
  assert.ok(text.includes('"Zürich"'), 'readable after a plain restore')
})

test('no variable can smuggle in another, and none holds a NUL', () => {
  for (const variable of [
    { name: 'A=B', value: '' },
    { name: '', value: '' },
    { name: 'A', value: 'x\0y' },
    { name: 'A', value: { raw: 'AA==' } },
    { name: 'A', value: 'x'.repeat(2_000_000) },
  ])
    assert.throws(
      () => parseEnvironment({ schema: 1, variables: [variable] }),
      (error) => isFailure(error, 'integrity.format'),
    )
})

test('package lists and libraries come back as they were written', () => {
  const set = { manager: 'dpkg', packages: [{ name: 'a', version: '1:2-3', architecture: 'all' }] } as const
  assert.deepEqual(parsePackages(encodePackages(set)), set)
  const libraries: LibrariesDocument = {
    complete: true,
    needs: [
      {
        soname: rawFromString('libfit.so.1'),
        bits: 64,
        machine: 'x86-64',
        folders: [path('/opt/\xff')],
        neededBy: [path('/home/lab/fit')],
        programs: 1,
      },
    ],
    libraries: [
      {
        soname: rawFromString('libfit.so.1'),
        bits: 64,
        machine: 'x86-64',
        path: path('/usr/lib/libfit.so.1'),
        target: path('/usr/lib/libfit.so.1.0.3'),
        package: 'libfit1',
      },
    ],
  }
  assert.deepEqual(parseLibraries(encodeLibraries(libraries)), libraries)
  const [first] = libraries.needs
  for (const bad of [
    { ...first, soname: '../x' },
    { ...first, folders: ['/a/../b'] },
  ])
    assert.throws(
      () => parseLibraries({ schema: 1, complete: true, needs: [bad], libraries: [] }),
      (error) => isFailure(error, 'integrity.format'),
    )
})

function bytes(unit: string): fc.Arbitrary<string> {
  return fc.string({ unit: fc.constantFrom(...unit.split('')), maxLength: 9 })
}

function base64(text: string): string {
  return Buffer.from(text, 'latin1').toString('base64')
}

function path(text: string): RawPath {
  const parsed = parseRawPath(asRaw(text))
  assert.ok(parsed)
  return parsed
}

test('what an entry left out, or a safety entry holds, may be long: it comes back', () => {
  const text = `/home/lab/${Array.from({ length: 20 }, () => 'n'.repeat(250)).join('/')}`
  const raw = Buffer.from(text).toString('base64')
  const excluded = Array.from({ length: 8000 }, () => ({ path: text, raw, rule: '--exclude *.o' }))
  const bytes = encodeEntryDocument({ ...entry, excluded })
  assert.ok(bytes.length > 80 * 1024 * 1024)
  assert.equal(parseEntryDocument(bytes).excluded.length, excluded.length)
})

test('a document that could not be read back is not written', () => {
  const refused = (error: unknown) => isFailure(error, 'unsupported')
  assert.throws(() => encodeEntryDocument({ ...entry, note: 'n'.repeat(2 * 1024 * 1024) }), refused)
  const long = { path: '/x', raw: home.raw, rule: 'r'.repeat(60_000) }
  const excluded = Array.from({ length: 5000 }, () => long)
  assert.throws(() => encodeEntryDocument({ ...entry, excluded }), refused)
  assert.throws(() => encodeEnvironment(new Map([[rawFromString('a=b'), rawFromString('x')]])), refused)
})

test('the name of a variable may be as long as a program can get it', () => {
  const variables = new Map([[rawFromString('N'.repeat(100_000)), rawFromString('x')]])
  assert.deepEqual(parseEnvironment(encodeEnvironment(variables)), variables)
})

test('a list of millions of wrong items is refused at the first one, without a word on each of the others', () => {
  const items = `[${'0,'.repeat(3_900_000)}0]`
  const before = process.resourceUsage().maxRSS
  for (const parse of [parseEntryDocument, parseLibraries]) {
    const document = JSON.parse(`{"schema":1,"excluded":${items},"needs":[${items}]}`) as unknown
    assert.throws(() => parse(document), { code: 'integrity.format' })
  }
  const grownMiB = (process.resourceUsage().maxRSS - before) / 1024
  assert.ok(grownMiB < 600, `${grownMiB} MiB`)
})
