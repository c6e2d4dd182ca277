// Logbooks on S3 and on a REST server are kept in order. Over sftp: test/e2e/sftp.test.ts.
import { test } from 'node:test'
import { startCephRgw } from '../ceph-rgw.ts'
import { assertUpkeep } from '../e2e/storage-upkeep.ts'
import { startRclone } from '../rclone.ts'

test('copy, prune and repair on S3 leave what stock restic finds sound (V62, G6, Y4)', async () => {
  await using rgw = await startCephRgw()
  await assertUpkeep({
    location: `s3:${rgw.url}/upkeep/book`,
    environment: rgw.environment,
    setsAside: true,
  })
})

test('copy, prune and repair on a REST server leave what stock restic finds sound (V62, G6, Y4)', async () => {
  await using rclone = await startRclone()
  await assertUpkeep({ location: `rest:${rclone.url}/book/`, setsAside: false })
})
