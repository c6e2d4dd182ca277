import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ImageRecord } from '../model/image.ts'
import { readCatalogue } from './catalogue.ts'

const sum = (digit: string) => digit.repeat(64)
const disk = (path: string, ftype = 'disk1.img') => ({ ftype, path, sha256: sum('a'), size: 5 })

async function read(product: object): Promise<ImageRecord[]> {
  const documents: Readonly<Record<string, unknown>> = {
    '/mirror/streams/v1/index.json': { format: 'index:1.0', index: { i: { path: 'streams/v1/p.json' } } },
    '/mirror/streams/v1/p.json': { format: 'products:1.0', products: { p: product } },
  }
  const fetch = async (input: string | URL | Request) => {
    const { pathname } = new URL(input instanceof Request ? input.url : input)
    return await Promise.resolve(new Response(JSON.stringify(documents[pathname] ?? null)))
  }
  return await readCatalogue('http://127.0.0.1/mirror', { fetch, idleTimeoutMs: 1_000 })
}

test('builds of one version of a system, as Ubuntu lists them, are each obtainable, and the newest by the version alone', async () => {
  const versions = {
    '20220420': { items: { d: disk('a/1.img') } },
    '20220501': { items: { d: disk('a/2.img') } },
  }
  const tags = { os: 'Ubuntu', release: 'jammy', version: '22.04', aliases: '22.04,j,jammy', arch: 'amd64' }
  const records = await read({ ...tags, versions })
  assert.deepEqual(
    records.map(({ name, version, items }) => [name, version, items.disk.urls[0]]),
    [
      ['ubuntu', '22.04.20220420', 'http://127.0.0.1/mirror/a/1.img'],
      ['ubuntu', '22.04', 'http://127.0.0.1/mirror/a/2.img'],
      ['ubuntu', '22.04.20220501', 'http://127.0.0.1/mirror/a/2.img'],
    ],
  )
  assert.deepEqual([records[0]?.arch, records[0]?.seed], ['x86_64', 'nocloud'])
  assert.ok(records[0]?.aliases?.includes('ubuntu-jammy'))
})

test('an alias with slashes, as LXD has it, becomes a name that can be typed', async () => {
  const items = { d: disk('x/disk.qcow2', 'disk-kvm.img'), m: disk('x/lxd.tar.xz', 'lxd.tar.xz') }
  const versions = { '20240101_05:24': { items } }
  const [record] = await read({ aliases: 'debian/12/cloud,debian/bookworm/cloud', arch: 'arm64', versions })
  assert.deepEqual(
    [record?.name, record?.version, record?.arch],
    ['debian-12-cloud', '20240101_05:24', 'aarch64'],
  )
})

test('what has no disk, no checksum, no name or a hostile tag is left out, and the rest is kept', async () => {
  const good = { items: { d: disk('a') } }
  assert.equal((await read({ aliases: 'a', versions: { '1': good } })).length, 1)
  assert.equal(
    (await read({ aliases: 'a', versions: { '1': { items: { d: disk('a', 'root.tar.gz') } } } })).length,
    0,
  )
  assert.equal(
    (await read({ aliases: 'a', versions: { '1': { items: { d: { ftype: 'disk1.img', path: 'a' } } } } }))
      .length,
    0,
  )
  assert.equal((await read({ aliases: '$(id)', versions: { '1': good } })).length, 0)
  assert.equal((await read({ aliases: 'a', versions: { '1/../..': good } })).length, 0)
  assert.equal(
    (await read({ aliases: 'a', vml: { user: '-oProxyCommand=x' }, versions: { '1': good } })).length,
    0,
  )
  assert.equal(
    (await read({ aliases: 'a', vml: { kernelArguments: 'a\nb' }, versions: { '1': good } })).length,
    0,
  )
})

test('a kernel beside the disk is taken only where the publisher says how to start it', async () => {
  const items = { d: disk('d'), k: disk('k', 'boot-kernel'), i: disk('i', 'boot-initrd') }
  const [plain] = await read({ aliases: 'a', versions: { '1': { items } } })
  assert.deepEqual(Object.keys(plain?.items ?? {}), ['disk'])
  const [direct] = await read({
    aliases: 'a',
    vml: { kernelArguments: 'quiet' },
    versions: { '1': { items } },
  })
  assert.deepEqual(Object.keys(direct?.items ?? {}), ['disk', 'kernel', 'initrd'])
})
