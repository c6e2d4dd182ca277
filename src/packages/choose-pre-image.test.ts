import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileOf } from '../../test/recorded-transaction.ts'
import { isFailure } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import { applyDelta } from '../wire/zstd-delta.ts'
import { choosePreImage, deltaBases, type PreImageMeans } from './choose-pre-image.ts'
import { buildDeb } from './deb.fixture.ts'
import type { PackagedFile } from './dpkg-files.ts'
import { findReferences, type Reference } from './package-references.ts'
import {
  openLocalPackage,
  openPackageSources,
  type FoundPackage,
  type PackageSources,
} from './package-sources.ts'

const shell = openLocalShell()
const digest = (content: Buffer) => hash('sha256', content, 'hex')
const md5 = (content: Buffer | string) => hash('md5', content, 'hex')

function pathOf(text: string): RawPath {
  return parseRawPath(rawFromString(text)) ?? rootPath
}

function noise(length: number, name: string): Buffer {
  return hash('shake256', name, { outputEncoding: 'buffer', outputLength: length })
}

const old = noise(20_000, 'old')
const now = Buffer.concat([noise(300, 'new'), old])
const change: PathChange = { path: pathOf('/usr/lib/x'), before: fileOf(old), after: fileOf(now) }
const reference: Reference = {
  kind: 'reference',
  package: 'x',
  version: '1',
  architecture: 'all',
  inside: pathOf('/usr/lib/x'),
  from: 'logbook',
}

function means(more: Partial<PreImageMeans> = {}): PreImageMeans {
  const base = deltaBases([change]).get(change.path)
  return {
    ...(base === undefined ? {} : { base }),
    readBefore: async () => await Promise.resolve(old),
    readAfter: async () => await Promise.resolve(now),
    ...more,
  }
}

describe('a pre-image', () => {
  test('is a package’s, else made by a rule, else a delta, else the content itself', async () => {
    assert.deepEqual((await choosePreImage(change, means({ reference, rule: 'r' }))).preImage, reference)
    assert.deepEqual((await choosePreImage(change, means({ rule: 'r' }))).preImage, {
      kind: 'regenerable',
      rule: 'r',
    })
    assert.equal((await choosePreImage(change, means())).preImage.kind, 'delta')
    const { base: _, ...without } = means()
    assert.deepEqual((await choosePreImage(change, without)).preImage, { kind: 'blob' })
  })

  test('of what has no content is its fingerprint, and nothing is read for it', async () => {
    const unread = means({ readBefore: async () => await Promise.reject(new Error('read')) })
    const folder: Fingerprint = { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }
    for (const before of [
      undefined,
      folder,
      { ...folder, type: 'symlink', linkTarget: rawFromString('x') } as const,
    ])
      assert.deepEqual(
        (await choosePreImage({ path: change.path, ...(before && { before }) }, { ...unread, reference }))
          .preImage,
        { kind: 'fingerprint' },
      )
  })

  test('that is a delta gives the old content from the new one, whose checksum it names', async () => {
    const chosen = await choosePreImage(change, means())
    assert.ok('delta' in chosen)
    assert.equal(chosen.preImage.base, digest(now))
    assert.equal(chosen.base, change.path)
    assert.match(chosen.preImage.file, /^[0-9a-f]{32}-[0-9a-f]{32}\.zst$/)
    assert.ok(chosen.delta.length < 200)
    assert.deepEqual(applyDelta({ delta: chosen.delta, base: now, sizeBytes: old.length }), old)
  })

  test('is the content itself where a delta would not pay or would take too much memory', async () => {
    const kind = async (before: Buffer, after: Buffer, more: Partial<PreImageMeans> = {}) => {
      const one = { path: change.path, before: fileOf(before), after: fileOf(after) }
      const base = deltaBases([one]).get(one.path)
      const read = {
        readBefore: async () => await Promise.resolve(before),
        readAfter: async () => await Promise.resolve(after),
      }
      return (await choosePreImage(one, means({ ...(base && { base }), ...read, ...more }))).preImage.kind
    }
    assert.equal(await kind(old, now), 'delta')
    assert.equal(await kind(old, noise(20_000, 'nothing in common')), 'blob')
    assert.equal(await kind(old.subarray(0, 400), now), 'blob')
    assert.equal(await kind(Buffer.alloc(3000, 'text '), Buffer.alloc(3500, 'text ')), 'blob')
    assert.equal(await kind(old, now, { deltaContentBytesMax: 20_100 }), 'blob')
    assert.equal(await kind(Buffer.alloc(0), now), 'blob')
  })

  test('is not chosen where its content is not the one of its fingerprint, and is no delta to such a one', async () => {
    const other = async () => await Promise.resolve(noise(20_000, 'other'))
    await assert.rejects(choosePreImage(change, means({ readBefore: other })), (error) =>
      isFailure(error, 'integrity.hash'),
    )
    for (const readAfter of [other, async () => await Promise.resolve(undefined)])
      assert.deepEqual(await choosePreImage(change, means({ readAfter })), { preImage: { kind: 'blob' } })
  })
})

test('what is gone has for its base what came under the same name but for digits, nearest in size', () => {
  const gone = (path: string, size: number): PathChange => ({
    path: pathOf(path),
    before: fileOf(noise(size, path)),
  })
  const came = (path: string, size: number): PathChange => ({
    path: pathOf(path),
    after: fileOf(noise(size, path)),
  })
  const bases = deltaBases([
    gone('/usr/lib/libz.so.1.2.9', 1000),
    came('/usr/lib/libz.so.1.3.10', 1010),
    came('/usr/lib/libz.so.2.0.0', 1500),
    gone('/usr/lib/other', 1000),
    came('/usr/share/libz.so.1.2.9', 1000),
    gone('/lib/modules/6.1.0-1/a.ko', 5),
    came('/lib/modules/6.1.0-22/a.ko', 5),
    change,
  ])
  assert.deepEqual(
    [...bases]
      .map(([path, base]) => [path, base.path])
      .toSorted(([one = ''], [other = '']) => (one < other ? -1 : 1)),
    [
      ['/lib/modules/6.1.0-1/a.ko', '/lib/modules/6.1.0-22/a.ko'],
      ['/usr/lib/libz.so.1.2.9', '/usr/lib/libz.so.1.3.10'],
      ['/usr/lib/x', '/usr/lib/x'],
    ],
  )
})

describe('a reference', () => {
  let folder = ''
  let deb = ''
  const content = { 'usr/a': 'a\n', 'usr/b': 'b\n', 'usr/sum-lies': 'true\n', 'etc/a.conf': 'conf\n' }
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'vml-references-'))
    const sums = ['usr/a', 'usr/b'].map((path) => `${md5(path === 'usr/a' ? 'a\n' : 'b\n')}  ${path}\n`)
    deb = buildDeb(join(folder, 'a.deb'), {
      name: 'a',
      files: content,
      scripts: { postinst: '#!/bin/sh\n' },
      md5sums: [...sums, `${md5('lie\n')}  usr/sum-lies\n`].join(''),
    })
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** What lay on the machine: `a` as the package has it, `b` changed by hand. */
  const present = new Map<string, Buffer>([
    ['/usr/a.diverted', Buffer.from('a\n')],
    ['/usr/b', Buffer.from('B\n')],
    ['/usr/sum-lies', Buffer.from('lie\n')],
    ['/etc/a.conf', Buffer.from('conf\n')],
    ['/var/lib/dpkg/info/a.postinst', Buffer.from('#!/bin/sh\n')],
    ['/usr/foreign', Buffer.from('a\n')],
  ])
  const changes: PathChange[] = [...present].map(([path, bytes]) => ({
    path: pathOf(path),
    before: fileOf(bytes),
  }))
  const inside: Readonly<Record<string, readonly [string, string?]>> = {
    '/usr/a.diverted': ['/usr/a', md5('a\n')],
    '/usr/b': ['/usr/b', md5('b\n')],
    '/usr/sum-lies': ['/usr/sum-lies', md5('lie\n')],
    '/etc/a.conf': ['/etc/a.conf', md5('conf\n')],
    '/var/lib/dpkg/info/a.postinst': ['/DEBIAN/postinst'],
  }
  const files = {
    fileOf(path: RawPath): PackagedFile | undefined {
      const [name, sum] = inside[path] ?? []
      return name === undefined
        ? undefined
        : {
            package: { name: 'a', version: '1', architecture: 'all', state: 'installed', key: 'a' },
            inside: pathOf(name),
            ...(sum === undefined ? {} : { md5: sum }),
            isConffile: false,
          }
    },
  }
  const find = async (sources: PackageSources) => {
    const md5Of = async (path: RawPath) => await Promise.resolve(md5(present.get(path) ?? ''))
    const found = await findReferences({ changes, files, sources, shell, md5Of })
    return Object.fromEntries([...found].map(([path, { inside: name, from }]) => [path, [name, from]]))
  }
  const pool = () =>
    openPackageSources({
      kept: async () => await openLocalPackage(pathOf(deb)),
      http: { fetch, idleTimeoutMs: 30_000 },
      shell,
    })

  test('to a package at hand holds for each file whose content is the package’s', async () => {
    assert.deepEqual(await find(pool()), {
      '/usr/a.diverted': ['/usr/a', 'logbook'],
      '/etc/a.conf': ['/etc/a.conf', 'logbook'],
      '/var/lib/dpkg/info/a.postinst': ['/DEBIAN/postinst', 'logbook'],
    })
  })

  test('to a service’s package holds for what its list of checksums and the machine say alike', async () => {
    const remote: PackageSources = {
      async find(wanted) {
        const found = (await pool().find(wanted)) ?? assert.fail()
        const { sha256: _, ...rest } = found
        return { ...rest, place: 'snapshot', from: 'snapshot x' } satisfies FoundPackage
      },
    }
    assert.deepEqual(await find(remote), {
      '/usr/a.diverted': ['/usr/a', 'snapshot x'],
      // The list of a package that lies is believed where it and the machine lie alike; opening it then fails by its SHA-256.
      '/usr/sum-lies': ['/usr/sum-lies', 'snapshot x'],
      '/var/lib/dpkg/info/a.postinst': ['/DEBIAN/postinst', 'snapshot x'],
    })
  })

  test('is none where no source has the version', async () => {
    assert.deepEqual(await find({ find: async () => await Promise.resolve(undefined) }), {})
  })
})
