// Base images that are not what they should be: refused by name, nothing started, and no part of one counts as here.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { globSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openTestHome, type TestHome, type VmlOutcome } from '../cli.ts'
import { noise } from '../store-fixture.ts'
import { assertPrintable, assertRefused, digestOf } from './refusals.ts'

let home: TestHome
let origin: string

const disk = Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), noise(1_000_000, 'disk')])
const sha256 = createHash('sha256').update(disk).digest('hex')
/** What is sent for the disk; each test says. */
let answer: RequestListener

const server = createServer((request, response) => {
  const path = request.url ?? ''
  if (path === '/streams/v1/index.json') return void response.end(JSON.stringify(index))
  if (path === '/streams/v1/images.json') return void response.end(JSON.stringify(products))
  if (path.endsWith('.sha256') || path.endsWith('SUMS')) return void response.writeHead(404).end()
  answer(request, response)
})
const index = {
  format: 'index:1.0',
  index: { images: { path: 'streams/v1/images.json', format: 'products:1.0' } },
}
const products = {
  format: 'products:1.0',
  products: {
    'x:tiny': {
      aliases: 'tiny',
      arch: 'amd64',
      versions: {
        1: { items: { disk: { ftype: 'disk-kvm.img', path: 'disk.qcow2', sha256, size: disk.length } } },
      },
    },
  },
}

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  home = await openTestHome()
  const config = join(home.home, '.config/vml/config.toml')
  await writeFile(config, `${await readFile(config, 'utf8')}\n[images]\ncatalogues = ["${origin}"]\n`)
  const work = join(home.home, 'work')
  await mkdir(work)
  await writeFile(join(work, 'file'), 'x')
  ok(await home.run(['machine', 'add', 'here', 'local:']))
  ok(await home.run(['save', 'here', '-m', 'one', '--only', work]))
})
after(async () => {
  server.closeAllConnections()
  server.close()
  await home[Symbol.asyncDispose]()
})

function ok(outcome: VmlOutcome): VmlOutcome {
  assert.equal(outcome.status, 0, outcome.stderr)
  return outcome
}

const wrongs: readonly (readonly [string, RequestListener, RegExp])[] = [
  [
    'has another checksum',
    (_, response) => void response.end(Buffer.concat([disk.subarray(0, -1), Buffer.from('x')])),
    /checksum|SHA-256|sha256/i,
  ],
  [
    'is longer than it should be',
    (_, response) => void response.end(Buffer.concat([disk, disk])),
    /Cannot (take|read|obtain) /,
  ],
  [
    'is cut off each time',
    (_, response) => {
      response.writeHead(200, { 'content-length': disk.length })
      response.write(disk.subarray(0, 1000), () => response.destroy())
    },
    /Cannot (take|read|obtain) /,
  ],
  [
    'is shorter than it should be',
    (_, response) => void response.end(disk.subarray(0, 1000)),
    /Cannot (take|read|obtain) /,
  ],
  ['is not there', (_, response) => void response.writeHead(404, 'Not\tthere').end('\x1b[31m'), /404/],
  [
    'redirects for ever',
    (_, response) => void response.writeHead(302, { location: '/again' }).end(),
    /redirects more than/,
  ],
  [
    'redirects to a file of this host',
    (_, response) => void response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
    /Cannot (take|read|obtain) /,
  ],
]

for (const [what, listener, saying] of wrongs) {
  test(`an image that ${what} is refused by pull and by open, and nothing is started`, async () => {
    answer = listener
    const before = digestOf(home.logbook)
    for (const args of [
      ['image', 'pull', 'tiny@1'],
      ['open', '1', '--image', 'tiny@1'],
    ]) {
      assertRefused(await home.run(args), { status: 16, saying })
      await assertNothingHere()
    }
    assert.equal(digestOf(home.logbook), before)
  })
}

test('an image that nobody has is refused with those there are', async () => {
  assertRefused(await home.run(['image', 'pull', 'tiny@9']), { status: 16, saying: /tiny@9/ })
  assertRefused(await home.run(['open', '1', '--image', 'other@1']), { status: 16, saying: /other@1/ })
  await assertNothingHere()
})

test('a plain address with a wrong checksum, without any, or that is none', async () => {
  answer = (_, response) => void response.end(disk)
  const wrong = 'a'.repeat(64)
  const cases: readonly (readonly [number, RegExp, ...string[]])[] = [
    [16, /its sha256 is/, `${origin}/disk.qcow2`, '--checksum', wrong],
    [16, /checksum/i, `${origin}/disk.qcow2`],
    [2, /checksum/i, `${origin}/disk.qcow2`, '--checksum', 'zz'],
    [16, /it is no URL/, 'http://', '--checksum', wrong],
    [16, /./, `${origin}/%zz.qcow2`, '--checksum', wrong],
    [16, /127\.0\.0\.1:1\b/, 'http://127.0.0.1:1/disk.qcow2', '--checksum', wrong],
  ]
  for (const [status, saying, ...args] of cases) {
    assertRefused(await home.run(['image', 'pull', ...args]), { status, saying })
    await assertNothingHere()
  }
})

test('a damaged record of an image in the data folder is no reason to fail', async () => {
  const folder = join(home.home, '.local/share/vml/image-records')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, `${'b'.repeat(64)}.json`), 'no record')
  answer = (_, response) => void response.end(disk)
  ok(await home.run(['image', 'pull', 'tiny@1']))
  assert.match(ok(await home.run(['image', 'list'])).stdout, /tiny@1.*here/)
  await rm(join(home.home, '.local/share/vml/images'), { recursive: true })
})

/** No image in the list, no file that could be taken for one, no machine. */
async function assertNothingHere(): Promise<void> {
  const list = ok(await home.run(['image', 'list', '--json']))
  assertPrintable(list)
  assert.doesNotMatch(list.stdout, /"local":\s*true/)
  const left = globSync('.local/{share,state}/vml/**/*', { cwd: home.home }).filter((name) =>
    /\.qcow2$|machines\/.|records\/./.test(name),
  )
  assert.deepEqual(left, [])
}
