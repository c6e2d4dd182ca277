import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, test } from 'node:test'
import { testBackend } from '../conformance/backend.ts'
import { startCephRgw } from '../ceph-rgw.ts'
import { isFailure } from '../../src/base/failure.ts'
import { spoiledWay } from './s3-spoiled-way.ts'
import { assertJourney } from './storage-journey.ts'
import { parseS3Location } from '../../src/backend/s3-location.ts'
import { openS3Backend } from '../../src/backend/s3.ts'

// One for all tests of this file: it takes ten seconds to start. A bucket of its own is a place of its own.
const rgw = await startCephRgw()
after(async () => await rgw[Symbol.asyncDispose]())
const { environment } = rgw

testBackend(
  's3',
  async () => {
    const address = `s3:${rgw.url}/test-${randomBytes(8).toString('hex')}/log books/one`
    return {
      address,
      driver: { environment },
      open: () => openS3Backend(parseS3Location(address), { environment }),
      async [Symbol.asyncDispose]() {},
    }
  },
  { reachable: true },
)

const config = { kind: 'config', name: '' } as const

test('keys that are wrong or missing, and a bucket that is not there, are told as such', async () => {
  const place = parseS3Location(`s3:${rgw.url}/nosuchbucket`)
  const wrong = openS3Backend(place, { environment: { ...environment, AWS_SECRET_ACCESS_KEY: 'of another' } })
  await assert.rejects(wrong.size(config), (error) => isFailure(error, 'remote.denied'))
  const none = openS3Backend(place, { environment: { HOME: '/nonexistent' } })
  await assert.rejects(none.size(config), (error) => isFailure(error, 'usage'))
  const absent = openS3Backend(place, { environment })
  await assert.rejects(Array.fromAsync(absent.list('lock')), (error) => isFailure(error, 'not-found'))
})

test('where the answer to a put is lost, the same put again finds the file and succeeds', async () => {
  await using way = await spoiledWay(rgw.url, { losePuts: 1 })
  const backend = openS3Backend(parseS3Location(`s3:${way.url}/lost/book`), { environment })
  // The bucket itself is put, too.
  await openS3Backend(parseS3Location(`s3:${rgw.url}/lost/book`), { environment }).create()
  const data = randomBytes(100_000)
  const file = { kind: 'lock', name: randomBytes(32).toString('hex') } as const
  await assert.rejects(
    backend.put(file, data),
    (error) => isFailure(error, 'unavailable.network') && error.details['outcome'] === 'unknown',
  )
  await backend.put(file, data)
  assert.deepEqual(await backend.get(file), data)
  await assert.rejects(backend.put(file, randomBytes(100_000)), (error) => isFailure(error, 'exists'))
})

for (const conditions of ['refused', 'ignored'] as const)
  test(`where "only if it is new" is ${conditions}, of two that make a repository at once one is told that it has not`, async () => {
    await using way = await spoiledWay(rgw.url, { conditions })
    const place = parseS3Location(`s3:${way.url}/conditions-${conditions}/book`)
    const open = () => openS3Backend(place, { environment, settleMs: 500 })
    await openS3Backend(parseS3Location(`s3:${rgw.url}/conditions-${conditions}/book`), {
      environment,
    }).create()
    const contents = ['one', 'two', 'three'].map((text) => Buffer.from(text))
    const puts = await Promise.allSettled(contents.map(async (data) => await open().put(config, data)))
    const winners = contents.filter((_, at) => puts[at]?.status === 'fulfilled')
    assert.equal(winners.length, 1)
    assert.deepEqual(await open().get(config), winners[0])
    assert.deepEqual(await Array.fromAsync(open().list('key')), [])
  })

test('a listing of more than one page is given whole', async () => {
  const backend = openS3Backend(parseS3Location(`s3:${rgw.url}/pages`), { environment })
  await backend.create()
  const names = Array.from({ length: 1005 }, () => randomBytes(32).toString('hex'))
  for (let at = 0; at < names.length; at += 50)
    await Promise.all(
      names
        .slice(at, at + 50)
        .map(async (name) => await backend.put({ kind: 'lock', name }, Buffer.from('x'))),
    )
  const listed = (await Array.fromAsync(backend.list('lock'))).map(({ name }) => name)
  assert.deepEqual(listed.toSorted(), names.toSorted())
})

test('a logbook on S3 is one for stock restic, too, and one of restic is one for us', async () => {
  await assertJourney({
    location: `s3:${rgw.url}/journey/ours`,
    other: `s3:${rgw.url}/journey/theirs`,
    environment,
  })
})
