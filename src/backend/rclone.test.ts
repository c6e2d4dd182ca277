import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { testBackend } from '../../test/conformance/backend.ts'
import { rcloneEnvironment } from '../../test/rclone.ts'
import { isFailure } from '../base/failure.ts'
import type { Backend } from './backend.ts'
import { openRcloneBackend, parseRcloneLocation } from './rclone.ts'

const environment = rcloneEnvironment

testBackend(
  'rclone',
  async () => {
    await using resources = new AsyncDisposableStack()
    const folder = await mkdtemp(join(tmpdir(), 'vml-rclone-'))
    resources.defer(async () => await rm(folder, { recursive: true, force: true, maxRetries: 5 }))
    const address = `rclone:${join(folder, 'logbook')}`
    const owned = resources.move()
    return {
      address,
      driver: { environment },
      open: (): Backend =>
        owned.use(openRcloneBackend(parseRcloneLocation(address), { environment, settleMs: 300 })),
      [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
    }
  },
  { reachable: true, noticesMs: 10_000 },
)

test('a remote that rclone does not know, and a rclone that is not there, are told as such', async () => {
  const config = { kind: 'config', name: '' } as const
  await using unknown = openRcloneBackend(parseRcloneLocation('rclone:nosuchremote:path'), { environment })
  await assert.rejects(unknown.size(config), (error) => isFailure(error, 'usage'))
  await using absent = openRcloneBackend(parseRcloneLocation('rclone:x:y'), {
    environment: { PATH: '/nonexistent' },
  })
  await assert.rejects(absent.size(config), (error) => isFailure(error, 'unsupported'))
})

test('what looks like an option of rclone is a remote', async () => {
  await using backend = openRcloneBackend(parseRcloneLocation('rclone:--version'), { environment })
  assert.deepEqual(await Array.fromAsync(backend.list('lock')), [])
})

test('secrets in a remote on the fly are not shown', () => {
  const shown = (text: string) => openRcloneBackend(parseRcloneLocation(text)).location
  assert.equal(shown('rclone::sftp,host=h,pass=secret:path'), 'rclone::sftp,…:path')
  assert.equal(shown('rclone:box,pass="se:cret":path'), 'rclone:box,…:path')
  assert.equal(shown('rclone:box:path,with=commas'), 'rclone:box:path,with=commas')
})

test('many packs at once go out and come back whole', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vml-rclone-'))
  try {
    await using backend = openRcloneBackend(parseRcloneLocation(`rclone:${folder}`), { environment })
    const packs = Array.from({ length: 10 }, () => {
      const data = randomBytes(8 * 1024 * 1024)
      return { data, file: { kind: 'pack', name: createHash('sha256').update(data).digest('hex') } as const }
    })
    await Promise.all(packs.map(async ({ data, file }) => await backend.put(file, data)))
    const equal = await Promise.all(packs.map(async ({ data, file }) => data.equals(await backend.get(file))))
    assert.ok(equal.every(Boolean))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
