import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { isFailure, type VmlError } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import { buildDeb } from './deb.fixture.ts'
import { fileOfPackage, readPackageFiles } from './package-files.ts'
import {
  fetchPackage,
  openLocalPackage,
  openPackageSources,
  type PackageSourcesOptions,
  type WantedPackage,
} from './package-sources.ts'

const shell = openLocalShell()
const wanted: WantedPackage = { name: 'thing', version: '1:2.0~x+y-3', architecture: 'all' }
const big = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * at * at) % 253))
let folder = ''
let deb = ''
let server: Server
let address = ''
const asked: string[] = []
/** What the server does, by the beginning of the path. */
let answers: Record<string, { status?: number; body?: string | Buffer; cutAt?: number; silent?: boolean }> =
  {}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vml-sources-'))
  deb = buildDeb(join(folder, 'thing.deb'), {
    ...wanted,
    files: { 'usr/bin/thing': big, 'usr/share/é thing': 'text', 'etc/thing.conf': 'conf' },
    links: { 'usr/bin/other': 'usr/bin/thing', 'usr/bin/third': 'usr/bin/thing' },
    scripts: { postinst: '#!/bin/sh\n' },
  })
  server = createServer(({ method = '', url = '' }, response) => {
    asked.push(`${method} ${url}`)
    const answer = answers[Object.keys(answers).find((start) => url.startsWith(start)) ?? '']
    if (answer === undefined) return void response.writeHead(404).end()
    if (answer.silent === true) return
    const body = Buffer.from(answer.body ?? '')
    response.writeHead(answer.status ?? 200, { 'content-length': body.length })
    if (method === 'HEAD') response.end()
    else if (answer.cutAt === undefined) response.end(body)
    else response.write(body.subarray(0, answer.cutAt), () => response.destroy())
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const bound = server.address()
  address = `http://127.0.0.1:${typeof bound === 'object' && bound ? bound.port : 0}`
})
after(() => {
  server.closeAllConnections()
  server.close()
  rmSync(folder, { recursive: true, force: true })
})

function sources(options: Partial<PackageSourcesOptions>, problems: VmlError[] = []) {
  return openPackageSources({
    shell,
    http: { fetch, idleTimeoutMs: 30_000 },
    onProblem: (problem) => void problems.push(problem),
    ...options,
  })
}

function pathOf(text: string): RawPath {
  return parseRawPath(rawFromString(text)) ?? rootPath
}

function sumOf(file: string, algorithm = 'sha256'): string {
  return createHash(algorithm).update(readFileSync(file)).digest('hex')
}

/** As snapshot.debian.org answers: the same version for two architectures. */
function service(body: Buffer = readFileSync(deb)): void {
  const sha1 = createHash('sha1').update(body).digest('hex')
  const info = (name: string) => [
    { name, archive_name: 'debian', path: '/pool/main/t/thing', size: body.length },
  ]
  answers = {
    '/mr/binary/thing/1%3A2.0~x%2By-3/binfiles': {
      body: JSON.stringify({
        result: [{ hash: sha1, architecture: 'all' }],
        fileinfo: {
          ['0'.repeat(40)]: info('thing_2.0~x+y-3_arm64.deb'),
          [sha1]: info('thing_2.0~x+y-3_all.deb'),
        },
      }),
    },
    [`/file/${sha1}`]: { body },
  }
}

describe('a pool', () => {
  test('has a version under any of the names that archives and apt give it, at any depth', async () => {
    for (const name of ['pool/t/thing_2.0~x+y-3_all.deb', 'thing_1%3a2.0~x+y-3_all.deb']) {
      const pool = mkdtempSync(join(folder, 'pool-'))
      buildDeb(join(pool, name), { ...wanted, files: {} })
      const found = await sources({ pools: [pathOf(pool)] }).find(wanted)
      assert.equal(found?.from, `pool ${pool}`)
      assert.equal(found?.sha256, sumOf(join(pool, name)))
      assert.equal(found?.control?.paragraph.get('version'), wanted.version)
    }
  })

  test('with another package under the name has nothing, and that is said', async () => {
    const pool = mkdtempSync(join(folder, 'pool-'))
    buildDeb(join(pool, 'thing_2.0~x+y-3_all.deb'), { ...wanted, version: '2.0~x+y-3', files: {} })
    const problems: VmlError[] = []
    assert.equal(await sources({ pools: [pathOf(pool)] }, problems).find(wanted), undefined)
    assert.equal(problems[0]?.code, 'integrity.format')
  })

  test('with another build of the version has nothing where a list told the checksum', async () => {
    const pool = mkdtempSync(join(folder, 'pool-'))
    const file = buildDeb(join(pool, 'thing_2.0~x+y-3_all.deb'), { ...wanted, files: { 'usr/x': 'other' } })
    const from = sources({ pools: [pathOf(pool)] })
    assert.equal(await from.find({ ...wanted, sha256: sumOf(deb) }), undefined)
    assert.ok(await from.find({ ...wanted, sha256: sumOf(file) }))
  })

  test('that is not there, and one that holds no package, have nothing', async () => {
    const empty = mkdtempSync(join(folder, 'pool-'))
    mkdirSync(join(empty, 'thing_2.0~x+y-3_all.deb'))
    const pools = [pathOf(join(folder, 'nowhere')), pathOf(deb), pathOf(empty)]
    assert.equal(await sources({ pools }).find(wanted), undefined)
  })
})

test('what the logbook keeps comes first, and nobody else is asked', async () => {
  service()
  asked.length = 0
  const kept = async () => await openLocalPackage(pathOf(deb))
  const found = await sources({ kept, snapshots: [{ kind: 'index', address }] }).find(wanted)
  assert.equal(found?.from, 'logbook')
  assert.equal(found?.sha256, sumOf(deb))
  assert.deepEqual(asked, [])
})

describe('a snapshot service', () => {
  test('is asked by name and version, and its package fetched with its checksum', async () => {
    service()
    const found = await sources({ snapshots: [{ kind: 'index', address: `${address}/` }] }).find(wanted)
    assert.equal(found?.from, `snapshot ${address}/`)
    assert.equal(found?.place, 'snapshot')
    assert.equal(
      found?.control?.md5sums.get(pathOf('/usr/bin/thing')),
      createHash('md5').update(big).digest('hex'),
    )
    const to = mkdtempSync(join(folder, 'fetched-'))
    const fetched = await fetchPackage(found ?? assert.fail(), { folder: to })
    assert.equal(fetched.sha256, sumOf(deb))
    assert.deepEqual(readdirSync(to), [`${fetched.sha256}.deb`])
    assert.deepEqual(await fileOfPackage(fetched, pathOf('/usr/bin/thing'), { shell }), big)
  })

  test('of one moment is asked for the file that the lists named', async () => {
    answers = { '/at/20260101T000000Z/pool/t/thing_2.0~x%2By-3_all.deb': { body: readFileSync(deb) } }
    const from = sources({ snapshots: [{ kind: 'moment', address: `${address}/at/20260101T000000Z` }] })
    assert.equal(await from.find(wanted), undefined)
    assert.equal(await from.find({ ...wanted, file: '../pool/t/thing.deb' }), undefined)
    const found = await from.find({ ...wanted, file: 'pool/t/thing_2.0~x+y-3_all.deb' })
    assert.equal(found?.place, 'snapshot')
  })

  test('that does not have it, does not answer, or answers nonsense gives nothing, and the next one is asked', async () => {
    const nonsense = ['<html>', '[]', '{"fileinfo":7}', '{"fileinfo":{"../x":[{"name":"a_all.deb"}]}}']
    for (const body of nonsense) {
      answers = { '/mr': { body } }
      assert.equal(await sources({ snapshots: [{ kind: 'index', address }] }).find(wanted), undefined)
    }
    service()
    answers['/broken/mr'] = { status: 500 }
    answers['/long/mr'] = { body: Buffer.alloc(5 * 1024 * 1024, ' ') }
    const problems: VmlError[] = []
    const found = await sources(
      {
        snapshots: [
          { kind: 'index', address: 'http://127.0.0.1:1' },
          { kind: 'index', address: 'ftp://127.0.0.1/' },
          { kind: 'index', address: `${address}/none` },
          { kind: 'index', address: `${address}/broken` },
          { kind: 'index', address: `${address}/long` },
          { kind: 'index', address },
        ],
      },
      problems,
    ).find(wanted)
    assert.equal(found?.from, `snapshot ${address}`)
    assert.deepEqual(
      problems.map(({ code }) => code),
      ['unavailable.network', 'usage', 'remote.protocol', 'remote.protocol'],
    )
  })

  test('that says nothing is given up, and not asked for the next package', async () => {
    answers = { '/mr': { silent: true } }
    const problems: VmlError[] = []
    const silent = { http: { fetch, idleTimeoutMs: 50 }, snapshots: [{ kind: 'index', address }] as const }
    const from = sources(silent, problems)
    asked.length = 0
    for (const version of ['1', '2', '3']) assert.equal(await from.find({ ...wanted, version }), undefined)
    assert.deepEqual(
      problems.map(({ code }) => code),
      ['unavailable.timeout'],
    )
    // On a busy computer it may be given up before the question has arrived.
    assert.ok(asked.length <= 1, asked.join(' '))
  })

  test('whose package is another one, or breaks off, gives nothing that is taken for it', async () => {
    const other = buildDeb(join(folder, 'other.deb'), { ...wanted, version: '9', files: {} })
    service(readFileSync(other))
    const from = sources({ snapshots: [{ kind: 'index', address }] })
    assert.equal(await from.find(wanted), undefined)
    service()
    const file = Object.keys(answers).find((path) => path.startsWith('/file/')) ?? ''
    const found = (await from.find(wanted)) ?? assert.fail()
    const to = mkdtempSync(join(folder, 'fetched-'))
    answers[file] = { body: readFileSync(deb), cutAt: readFileSync(deb).length - 100 }
    await assert.rejects(fetchPackage(found, { folder: to }), (error) =>
      isFailure(error, 'unavailable.network'),
    )
    answers[file] = { body: readFileSync(other) }
    await assert.rejects(fetchPackage(found, { folder: to }), (error) => isFailure(error, 'integrity.hash'))
    answers[file] = { status: 503 }
    await assert.rejects(fetchPackage(found, { folder: to }), (error) => isFailure(error, 'remote.protocol'))
    assert.deepEqual(readdirSync(to), [])
  })
})

describe('files out of a package', () => {
  const open = async () => await openLocalPackage(pathOf(deb))

  test('come in one pass, as many as are wanted; other names of a file have its content', async () => {
    const all = [
      '/usr/bin/other',
      '/usr/bin/third',
      '/usr/share/é thing',
      '/etc/thing.conf',
      '/DEBIAN/postinst',
      '/none',
      '/DEBIAN/none',
    ]
    const read = new Map<string, Buffer>()
    for await (const { inside, attributes, segments } of readPackageFiles(
      await open(),
      new Set(all.map(pathOf)),
      { shell },
    )) {
      const pieces: Buffer[] = []
      for await (const segment of segments())
        if (segment.kind === 'data') pieces.push(Buffer.from(segment.bytes))
      const content = Buffer.concat(pieces)
      assert.equal(attributes.size, content.length)
      read.set(inside, content)
    }
    assert.deepEqual(
      read,
      new Map([
        ['/DEBIAN/postinst', Buffer.from('#!/bin/sh\n')],
        ['/etc/thing.conf', Buffer.from('conf')],
        [rawFromString('/usr/share/é thing'), Buffer.from('text')],
        ['/usr/bin/other', big],
        ['/usr/bin/third', big],
      ]),
    )
  })

  test('that are none are not found', async () => {
    for (const path of ['/usr/bin', '/none', '/DEBIAN/none'])
      await assert.rejects(fileOfPackage(await open(), pathOf(path), { shell }), (error) =>
        isFailure(error, 'not-found'),
      )
  })
})
