// Logbooks on S3, on a REST server and over sftp are kept in order.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startCephRgw } from '../ceph-rgw.ts'
import { assertUpkeep } from '../e2e/storage-upkeep.ts'
import { startRclone } from '../rclone.ts'
import { startSshd } from '../sshd.ts'

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

test('copy, prune and repair over sftp leave what stock restic finds sound (V62, G6, Y4)', async () => {
  await using sshd = await startSshd({ config: ['Subsystem sftp internal-sftp'] })
  const folder = mkdtempSync(join(tmpdir(), 'vml-sftp-'))
  try {
    const { user, port, sshConfigFile } = sshd
    await assertUpkeep({
      location: `sftp://${user}@127.0.0.1:${port}/${join(folder, 'book')}`,
      sshConfig: sshConfigFile,
      resticOptions: ['-o', `sftp.command=ssh -F ${sshConfigFile} ${user}@127.0.0.1 -s sftp`],
      setsAside: true,
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
