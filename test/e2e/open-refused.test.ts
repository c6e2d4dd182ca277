// `vml open` where the image cannot be had: exit 16, what there is instead, and nothing started.
import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome, type TestHome } from '../cli.ts'
import { addEntry } from '../entries.ts'
import { publishImages } from '../image-repository.ts'

const at = '2026-11-01T10:00:00Z'
const files = { '/home/lab/fit.C': 'one\n' }

type Intercept = (request: IncomingMessage, response: ServerResponse) => boolean

const troubles: readonly { what: string; intercept: Intercept; says: RegExp }[] = [
  {
    what: 'has another checksum than the catalogue says',
    intercept: (request, response) => answerDisk(request, response, 'garbage'),
    says: /sha256|bytes|checksum/i,
  },
  {
    what: 'is not there (404)',
    intercept: (request, response) => answerDisk(request, response, undefined),
    says: /404/,
  },
]

for (const { what, intercept, says } of troubles) {
  test(`an image that ${what} ends with 16, and nothing is started or kept`, async () => {
    await using repository = await publishImages(['tiny@1'], { intercept })
    await using home = await openTestHome()
    await repository.useIn(home)
    await addEntry(home, { title: 'fit', at, files, image: { name: 'tiny', version: '1', guessed: false } })
    const opened = await home.run(['open', '1', '--name', 'never'])
    assert.equal(opened.status, 16, opened.stderr)
    assert.match(opened.stderr, says)
    await nothingStarted(home)
    const records = join(home.home, '.local/share/vml/images/records')
    assert.deepEqual(await readdir(records).catch(() => []), [])
  })
}

test('an entry whose image nobody has ends with 16 and the versions that there are', async () => {
  await using repository = await publishImages(['tiny@1', 'tiny@2'])
  await using home = await openTestHome()
  await repository.useIn(home)
  await addEntry(home, { title: 'fit', at, files, image: { name: 'tiny', version: '9', guessed: true } })
  await addEntry(home, { title: 'bare', at, files })
  const opened = await home.run(['open', '1'])
  assert.equal(opened.status, 16)
  assert.match(opened.stderr, /tiny@9/)
  assert.match(opened.stderr, /\b1, 2\b/)
  assert.match(opened.stderr, /only guessed/)
  const bare = await home.run(['open', '2'])
  assert.equal(bare.status, 16)
  assert.match(bare.stderr, /--image NAME@VERSION/)
  await nothingStarted(home)
})

test('open --dry-run tells what would be fetched and started, or that nobody has it, and does neither', async () => {
  await using repository = await publishImages(['tiny@1'])
  await using home = await openTestHome()
  await repository.useIn(home)
  await addEntry(home, { title: 'fit', at, files, image: { name: 'tiny', version: '1', guessed: false } })
  const told = await home.run(['open', '1', '--dry-run', '--user', 'lab'])
  assert.equal(told.status, 0, told.stderr)
  assert.match(
    told.stdout,
    /base image tiny@1 would be downloaded \(.+ from http.+\)\n {2}user lab, with network/,
  )
  assert.match(told.stdout, /Would open entry-1; nothing was started/)
  assert.equal((await home.run(['open', '1', '--dry-run', '--image', 'tiny@9'])).status, 16)
  await nothingStarted(home)
  assert.deepEqual(await readdir(join(home.home, '.local/share/vml/images/records')).catch(() => []), [])
})

async function nothingStarted(home: TestHome) {
  const listed = JSON.parse((await home.run(['open', '--list', '--json'])).stdout) as { machines: unknown[] }
  assert.deepEqual(listed.machines, [])
}

function answerDisk(request: IncomingMessage, response: ServerResponse, bytes: string | undefined): boolean {
  if (request.url?.endsWith('disk1.img') !== true) return false
  if (bytes === undefined) response.writeHead(404).end()
  else response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
  return true
}
