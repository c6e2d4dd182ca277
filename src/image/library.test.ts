import assert from 'node:assert/strict'
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { Clock } from '../base/clock.ts'
import { type FailureCode, isFailure } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import { openImageLibrary } from './library.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const folder = await mkdtemp(join(tmpdir(), 'vml-images-'))
after(() => rm(folder, { recursive: true }))

const disk = Buffer.alloc(3_000_000)
for (let at = 0; at < disk.length; at += 4) disk.writeUInt32LE(at, at)
disk.write('QFI\xfb', 'latin1')
const kernel = Buffer.from('a kernel')
const initrd = Buffer.from('an initrd')

type Handler = (request: IncomingMessage, response: ServerResponse) => void
/** What a path answers; a test sets what it is about. */
const answers = new Map<string, Handler>()
const asked: { path: string; range: string | undefined }[] = []
const server = createServer((request, response) => {
  const path = request.url ?? ''
  asked.push({ path, range: request.headers.range })
  const answer = answers.get(path)
  if (answer !== undefined) return answer(request, response)
  response.writeHead(404).end()
})
const listening = Promise.withResolvers<undefined>()
server.listen(0, '127.0.0.1', () => listening.resolve(undefined))
await listening.promise
after(() => {
  server.closeAllConnections()
  server.close()
})
const address = server.address()
const origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`

/** A well-behaved answer: validators, ranges. */
function file(content: Buffer, etag = '"one"'): Handler {
  return (request, response) => {
    const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1]
    if (start === undefined || request.headers['if-range'] !== etag) {
      response.writeHead(200, { etag, 'content-length': content.length }).end(content)
      return
    }
    const from = Number(start)
    const range = `bytes ${from}-${content.length - 1}/${content.length}`
    response.writeHead(206, { etag, 'content-range': range }).end(content.subarray(from))
  }
}

const slowly: Handler = (request, response) => void setTimeout(() => file(disk)(request, response), 300)

/** Sends so many bytes of a whole file, then cuts the line. */
function cutAfter(bytes: number, content: Buffer, etag = '"one"'): Handler {
  return (_, response) => {
    response.writeHead(200, { etag, 'content-length': content.length })
    response.write(content.subarray(0, bytes), () => setTimeout(() => response.destroy(), 20))
  }
}

function item(ftype: string, path: string, content: Buffer) {
  return { ftype, path, sha256: sha256(content), size: content.length }
}

function serveCatalogue(...versions: readonly string[]) {
  answers.clear()
  asked.length = 0
  const entries = (versions.length === 0 ? ['1'] : versions).map((version): [string, unknown] => [
    version,
    {
      items: {
        disk: item('disk-kvm.img', `tiny/${version}/disk.qcow2`, disk),
        kernel: item('boot-kernel', 'tiny/kernel', kernel),
        initrd: item('boot-initrd', 'tiny/initrd', initrd),
      },
    },
  ])
  const vml = { seed: 'systemd-credentials', user: 'lab', kernelArguments: 'quiet' }
  const products = {
    'x:tiny': { aliases: 'tiny,small', arch: 'amd64', versions: Object.fromEntries<unknown>(entries), vml },
  }
  const index = { images: { path: 'streams/v1/images.json', format: 'products:1.0' } }
  answers.set('/streams/v1/index.json', file(Buffer.from(JSON.stringify({ format: 'index:1.0', index }))))
  const document = Buffer.from(JSON.stringify({ format: 'products:1.0', products }))
  answers.set('/streams/v1/images.json', file(document))
  for (const [version] of entries) answers.set(`/tiny/${version}/disk.qcow2`, file(disk))
  answers.set('/tiny/kernel', file(kernel))
  answers.set('/tiny/initrd', file(initrd))
}

// Pauses between tries are not what is tested.
const clock: Clock = {
  now: () => Date.now(),
  sleep: async () => await new Promise((resolve) => setImmediate(resolve)),
}
let count = 0
function library({ at = join(folder, String(++count)), idleTimeoutMs = 5_000 } = {}) {
  return { at, images: openImageLibrary({ folder: at, catalogues: [origin], clock, idleTimeoutMs }) }
}
const tiny = { reference: { name: 'tiny', version: '1' } }

async function filesIn(path: string): Promise<string[]> {
  const names = await readdir(path, { recursive: true, withFileTypes: true })
  return names.filter((entry) => entry.isFile() && !entry.name.endsWith('.lock')).map((entry) => entry.name)
}

async function refused(work: Promise<unknown>, code: FailureCode, saying: RegExp) {
  await assert.rejects(work, (error) => isFailure(error, code) && (assert.match(error.message, saying), true))
}

async function* pieces(content: Buffer) {
  for (let at = 0; at < content.length; at += 700_000) yield content.subarray(at, at + 700_000)
}

test('a pulled image is whole, private, found by name, alias and digest, and asked for only once', async () => {
  serveCatalogue()
  const { at, images } = library()
  assert.equal(await images.find(tiny), undefined)
  const pulled = await images.pull(tiny)
  assert.deepEqual(await readFile(pulled.paths.disk), disk)
  assert.deepEqual(await readFile(pulled.paths.kernel ?? ''), kernel)
  assert.deepEqual(
    [pulled.record.user, pulled.record.seed, pulled.record.arch],
    ['lab', 'systemd-credentials', 'x86_64'],
  )
  assert.equal((await stat(pulled.paths.disk)).mode & 0o777, 0o400)
  assert.equal((await stat(join(at, 'items'))).mode & 0o777, 0o700)
  assert.equal((await filesIn(at)).length, 4)
  const requests = asked.length
  assert.deepEqual(await images.pull({ reference: { name: 'small', version: '1' } }), pulled)
  assert.deepEqual(await images.find({ sha256: sha256(disk) }), pulled)
  assert.equal(asked.length, requests)
  await images.verify(pulled)
})

test('versions are listed with where they are, and one that nobody has is refused with those there are', async () => {
  serveCatalogue('1', '10', '2')
  const { images } = library()
  await images.pull(tiny)
  const listed = await images.list()
  assert.deepEqual(
    listed.map(({ record, isLocal }) => [record.version, isLocal]),
    [
      ['1', true],
      ['2', false],
      ['10', false],
    ],
  )
  await refused(images.pull({ reference: { name: 'tiny', version: '3' } }), 'image.unobtainable', /1, 2, 10/)
})

test('a line that is cut goes on from there in the same pull', async () => {
  serveCatalogue()
  const { images } = library()
  const whole = file(disk)
  let calls = 0
  answers.set('/tiny/1/disk.qcow2', (request, response) => {
    if (++calls === 1) return cutAfter(1_000_000, disk)(request, response)
    return whole(request, response)
  })
  const pulled = await images.pull(tiny)
  assert.deepEqual(await readFile(pulled.paths.disk), disk)
  assert.match(asked.findLast((entry) => entry.path.endsWith('disk.qcow2'))?.range ?? '', /^bytes=[1-9]/)
})

test('what came before a failure is kept and not fetched again by the next pull', async () => {
  serveCatalogue()
  const { at, images } = library()
  const whole = file(disk)
  answers.set('/tiny/1/disk.qcow2', (request, response) => {
    if (request.headers.range === undefined) return cutAfter(1_000_000, disk)(request, response)
    response.destroy()
  })
  await refused(images.pull(tiny), 'image.unobtainable', /disk\.qcow2/)
  assert.equal(await images.find(tiny), undefined)
  assert.deepEqual(await readdir(join(at, 'items')), [])
  answers.set('/tiny/1/disk.qcow2', whole)
  await images.pull(tiny)
  assert.match(asked.find((entry) => entry.range !== undefined)?.range ?? '', /^bytes=[1-9]/)
})

test('a server that ignores ranges is read from the start, and a file that changed meanwhile too', async () => {
  for (const etag of ['"one"', '"two"']) {
    serveCatalogue()
    const { images } = library()
    let calls = 0
    answers.set('/tiny/1/disk.qcow2', (request, response) => {
      if (++calls === 1) return cutAfter(1_000_000, disk)(request, response)
      if (etag === '"two"') return file(disk, etag)(request, response)
      response.writeHead(200, { 'content-length': disk.length }).end(disk)
    })
    assert.deepEqual(await readFile((await images.pull(tiny)).paths.disk), disk)
  }
})

test('a part that turns out to be wrong after going on is fetched once more from the start', async () => {
  serveCatalogue()
  const { images } = library()
  let calls = 0
  const other = Buffer.alloc(disk.length, 'x')
  answers.set('/tiny/1/disk.qcow2', (request, response) => {
    if (++calls === 1) return cutAfter(1_000_000, other)(request, response)
    return file(disk)(request, response)
  })
  assert.deepEqual(await readFile((await images.pull(tiny)).paths.disk), disk)
})

const faults: readonly {
  name: string
  code?: FailureCode
  saying: RegExp
  answer: Handler
  idleTimeoutMs?: number
}[] = [
  { name: 'a wrong checksum', saying: /sha256 is/, answer: file(Buffer.alloc(disk.length, 'x')) },
  {
    name: 'a file that ends early',
    saying: /ends after 1000 of 3000000/,
    answer: (_, response) =>
      void response.writeHead(200, { 'transfer-encoding': 'chunked' }).end(disk.subarray(0, 1000)),
  },
  { name: 'a file that is too long', saying: /longer/, answer: file(Buffer.concat([disk, disk])) },
  { name: 'a line that is always cut', saying: /disk\.qcow2/, answer: cutAfter(1000, disk) },
  { name: 'a 404', saying: /answers 404/, answer: (_, response) => void response.writeHead(404).end('no') },
  {
    name: 'an endless redirect',
    saying: /redirects more than 5/,
    answer: (request, response) => void response.writeHead(302, { location: request.url }).end(),
  },
  {
    name: 'a redirect to a file',
    saying: /only http/,
    answer: (_, response) => void response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
  },
  {
    name: 'a server that falls silent',
    saying: /without a byte/,
    idleTimeoutMs: 60,
    answer: (_, response) => {
      response.writeHead(200, { 'content-length': disk.length })
      response.write(disk.subarray(0, 1000))
    },
  },
]
for (const { name, saying, answer, idleTimeoutMs } of faults) {
  test(`${name} is refused, and no part of the image can be seen`, async () => {
    serveCatalogue()
    const { at, images } = library(idleTimeoutMs === undefined ? {} : { idleTimeoutMs })
    answers.set('/tiny/1/disk.qcow2', answer)
    await refused(images.pull(tiny), 'image.unobtainable', saying)
    assert.equal(await images.find(tiny), undefined)
    assert.deepEqual(
      (await images.list()).map(({ isLocal }) => isLocal),
      [false],
    )
    assert.deepEqual(await filesIn(join(at, 'items')), [])
  })
}

async function toHttp(): Promise<Response> {
  return await Promise.resolve(new Response(null, { status: 301, headers: { location: `${origin}/x` } }))
}

test('a redirect from https to http is refused', async () => {
  const { at } = library()
  const images = openImageLibrary({ folder: at, catalogues: [], fetch: toHttp, clock })
  const source = { url: 'https://localhost/x', checksum: sha256(disk) }
  await refused(images.pullUrl(source), 'image.unobtainable', /not protected/)
})

test('a catalogue that is not there is a warning, and named when nothing else has the image', async () => {
  serveCatalogue()
  const { at, images } = library()
  await images.pull(tiny)
  const warnings: string[] = []
  const reporter: Reporter = { progress: () => {}, warn: ({ warning }) => warnings.push(warning) }
  const alone = openImageLibrary({ folder: at, catalogues: ['http://127.0.0.1:9'], clock })
  assert.equal((await alone.list({ reporter })).length, 1)
  assert.match(warnings.join(), /127\.0\.0\.1:9/)
  await refused(
    alone.pull({ reference: { name: 'tiny', version: '2' } }),
    'image.unobtainable',
    /127\.0\.0\.1:9/,
  )
})

test('two pulls at once, in two processes, fetch once and both get the image', async () => {
  serveCatalogue()
  const { at, images } = library()
  answers.set('/tiny/1/disk.qcow2', slowly)
  const script = `
    import { openImageLibrary } from ${JSON.stringify(join(import.meta.dirname, 'library.ts'))}
    const images = openImageLibrary({ folder: ${JSON.stringify(at)}, catalogues: [${JSON.stringify(origin)}] })
    const { paths } = await images.pull({ reference: { name: 'tiny', version: '1' } })
    console.log(paths.disk)`
  const { promise, resolve } = Promise.withResolvers<string>()
  execFile(process.execPath, ['--input-type=module', '-e', script], (error, stdout) =>
    resolve(error === null ? stdout.trim() : error.message),
  )
  const [mine, again, theirs] = await Promise.all([images.pull(tiny), images.pull(tiny), promise])
  assert.deepEqual([again.paths.disk, theirs], [mine.paths.disk, mine.paths.disk])
  assert.equal(asked.filter(({ path }) => path.endsWith('disk.qcow2')).length, 1)
})

test('a pull that is cancelled stops, and the lock is free again', async () => {
  serveCatalogue()
  const { images } = library()
  answers.set(
    '/tiny/1/disk.qcow2',
    (_, response) => void response.writeHead(200).write(disk.subarray(0, 1000)),
  )
  const stop = new AbortController()
  setTimeout(() => stop.abort(new Error('enough')), 100)
  await assert.rejects(images.pull(tiny, { signal: stop.signal }), /enough/)
  answers.set('/tiny/1/disk.qcow2', file(disk))
  await images.pull(tiny)
})

test('a full disk is said as such, and nothing incomplete is kept', async () => {
  // The size is not told before, so that the disk fills while the file comes.
  serveCatalogue()
  answers.set('/disk.img', file(disk))
  answers.set('/disk.img.sha256', file(Buffer.from(sha256(disk))))
  const at = join(folder, 'full')
  const program = `
    import { openImageLibrary } from ${JSON.stringify(join(import.meta.dirname, 'library.ts'))}
    const images = openImageLibrary({ folder: ${JSON.stringify(join(at, 'images'))}, catalogues: [${JSON.stringify(origin)}] })
    const known = await images.pull({ reference: { name: 'tiny', version: '1' } }).catch((error) => error.code)
    const late = await images.pullUrl({ url: ${JSON.stringify(`${origin}/disk.img`)} }).catch((error) => error.code)
    console.log(known, late)`
  await writeFile(`${at}.mjs`, program)
  const script = `mkdir -p "$1" && mount -t tmpfs -o size=1m,mode=700 tmpfs "$1" && "$2" "$1.mjs" && find "$1" -name 'sha*' -size +0`
  const { promise, resolve } = Promise.withResolvers<string>()
  const namespaces = process.getuid?.() === 0 ? ['-m'] : ['-Urm']
  execFile(
    'unshare',
    [...namespaces, 'sh', '-c', script, 'sh', at, process.execPath],
    (error, stdout, stderr) => resolve(error === null ? stdout : stderr),
  )
  assert.equal((await promise).trim(), 'unavailable.space unavailable.space')
})

test('a plain URL is checked by the checksum file beside it, in any of its forms', async () => {
  const sha512 = createHash('sha512').update(disk).digest('hex')
  const forms: readonly [string, string][] = [
    ['/disk-12.qcow2.sha256', `${sha256(disk)}\n`],
    ['/SHA256SUMS', `${'0'.repeat(64)}  other.qcow2\n${sha256(disk)} *disk-12.qcow2\n`],
    ['/SHA512SUMS', `SHA512 (disk-12.qcow2) = ${sha512}\n`],
  ]
  for (const [path, text] of forms) {
    answers.clear()
    answers.set('/disk-12.qcow2', file(disk))
    answers.set(path, file(Buffer.from(text)))
    const { images } = library()
    const { record } = await images.pullUrl({ url: `${origin}/disk-12.qcow2` })
    assert.deepEqual(
      [record.name, record.format, record.items.disk.sha256],
      ['disk-12', 'qcow2', sha256(disk)],
    )
    assert.deepEqual((await images.find({ sha256: sha256(disk) }))?.record, record)
  }
})

test('a plain URL without a checksum anywhere, with a wrong one, or of a packed file is refused', async () => {
  answers.clear()
  answers.set('/disk.qcow2', file(disk))
  const { at, images } = library()
  const source = { url: `${origin}/disk.qcow2` }
  await refused(images.pullUrl(source), 'image.unobtainable', /SHA256SUMS.*404/)
  await refused(images.pullUrl({ ...source, checksum: '0'.repeat(64) }), 'image.unobtainable', /sha256 is/)
  const packed = Buffer.from('1f8b08000000', 'hex')
  answers.set('/disk.gz', file(packed))
  await refused(images.pullUrl({ url: `${origin}/disk.gz`, checksum: sha256(packed) }), 'unsupported', /gzip/)
  await refused(images.pullUrl({ url: 'http://a:b@127.0.0.1/x' }), 'image.unobtainable', /password/)
  assert.deepEqual(await filesIn(join(at, 'records')), [])
})

test('an image from a share is taken in when its bytes are right, and leaves nothing when they are not', async () => {
  serveCatalogue()
  const { record } = await library().images.pull(tiny)
  const contents = { disk, kernel, initrd }
  const { at, images } = library()
  await refused(
    images.importImage(record, (role) =>
      pieces(role === 'disk' ? Buffer.alloc(disk.length) : contents[role]),
    ),
    'integrity.hash',
    /not what its record says/,
  )
  assert.deepEqual(await filesIn(at), [])
  const imported = await images.importImage(record, (role) => pieces(contents[role]))
  assert.deepEqual(await readFile(imported.paths.disk), disk)
  assert.deepEqual((await images.find(tiny))?.record, record)
})

test('a record from elsewhere is enough to fetch an image that no catalogue has', async () => {
  serveCatalogue()
  const { record } = await library().images.pull(tiny)
  const images = openImageLibrary({ folder: join(folder, 'offered'), catalogues: [], clock })
  const pulled = await images.pull({ sha256: record.items.disk.sha256 }, { offered: [record] })
  assert.deepEqual(pulled.record, record)
})

test('a damaged item is told by verify, and a damaged record is as good as none', async () => {
  serveCatalogue()
  const { at, images } = library()
  const pulled = await images.pull(tiny)
  execFileSync('chmod', ['u+w', pulled.paths.disk])
  await writeFile(pulled.paths.disk, Buffer.alloc(disk.length))
  await refused(images.verify(pulled), 'integrity.hash', /sha256/)
  const [name = ''] = await readdir(join(at, 'records'))
  await writeFile(join(at, 'records', name), '{"name": "../../etc"}')
  assert.equal(await images.find(tiny), undefined)
  assert.equal(spawnSync('test', ['-e', join(at, 'records', name)]).status, 0)
})
