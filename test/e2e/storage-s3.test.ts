import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, test } from 'node:test'
import { testBackend } from '../conformance/backend.ts'
import { startCephRgw } from '../ceph-rgw.ts'
import { isFailure } from '../../src/base/failure.ts'
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
      open: () => openS3Backend(parseS3Location(address), { environment }),
      async [Symbol.asyncDispose]() {},
    }
  },
  { reachable: false },
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
