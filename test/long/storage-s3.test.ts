// A logbook on S3 is kept in order: ten seconds for the server, and as many for what is done there.
import { test } from 'node:test'
import { startCephRgw } from '../ceph-rgw.ts'
import { assertUpkeep } from '../e2e/storage-upkeep.ts'

test('copy, prune and repair on S3 leave what stock restic finds sound (V62, G6, Y4)', async () => {
  await using rgw = await startCephRgw()
  await assertUpkeep({
    location: `s3:${rgw.url}/upkeep/book`,
    environment: rgw.environment,
    setsAside: true,
  })
})
