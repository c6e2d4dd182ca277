// The image repository that tests and the demo use: its catalogue names what it serves, and downloads resume.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeCatalog } from './catalog.ts'
import { buildImage } from './images.ts'
import { serveImages } from './serve.ts'

async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'vml-images-'))
  return { path, [Symbol.asyncDispose]: async () => await rm(path, { recursive: true, force: true }) }
}

test('the catalogue leads from the index to files with the sums it names', async () => {
  await using folder = await temporaryFolder()
  const images = await Promise.all([buildImage('tiny@1'), buildImage('tiny@2')])
  await writeCatalog(folder.path, images)
  await using server = await serveImages({ dir: folder.path })
  const index = (await (await fetch(`${server.url}streams/v1/index.json`)).json()) as {
    index: Record<string, { path: string }>
  }
  const products = (await (await fetch(server.url + index.index['images']?.path)).json()) as {
    products: Record<
      string,
      { versions: Record<string, { items: Record<string, { path: string; sha256: string }> }> }
    >
  }
  assert.deepEqual(Object.keys(products.products), ['org.vml:tiny:1:amd64', 'org.vml:tiny:2:amd64'])
  const [version] = Object.values(products.products['org.vml:tiny:1:amd64']?.versions ?? {})
  for (const ftype of ['disk1.img', 'boot-kernel', 'boot-initrd']) {
    const item = version?.items[ftype]
    const bytes = await (await fetch(server.url + item?.path)).bytes()
    assert.equal(createHash('sha256').update(bytes).digest('hex'), item?.sha256)
  }
})

test('a range gives just these bytes, and one beyond the end is refused', async () => {
  await using folder = await temporaryFolder()
  await writeFile(join(folder.path, 'file'), '0123456789')
  await using server = await serveImages({ dir: folder.path })
  const ask = async (range: string) => await fetch(`${server.url}file`, { headers: { range } })
  const middle = await ask('bytes=2-4')
  assert.deepEqual([middle.status, await middle.text()], [206, '234'])
  assert.equal(middle.headers.get('content-range'), 'bytes 2-4/10')
  assert.equal(await (await ask('bytes=8-')).text(), '89')
  assert.equal(await (await ask('bytes=-3')).text(), '789')
  assert.equal((await ask('bytes=10-')).status, 416)
})

test('nothing outside of the folder is served', async () => {
  await using folder = await temporaryFolder()
  await using server = await serveImages({ dir: folder.path })
  assert.equal((await fetch(`${server.url}%2e%2e/%2e%2e/etc/passwd`)).status, 404)
  assert.equal((await fetch(`${server.url}..%2f..%2fetc/passwd`)).status, 404)
})
