// PostgreSQL's next major version, as Debian has it: 15 and, of the next release, 17, with pg_upgradecluster between them.
import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { ruleServiceStarts } from '../chroot-services.ts'
import { mirrorPackages } from '../mirror-packages.ts'
import { openPackageArchive } from '../package-archive.ts'
import { apt } from '../transaction-bed.ts'

const failed = { mayFail: true }

test('an undo of the next major version is refused while what was written since is read by no other, and the line that it tells brings it to the older one', async () => {
  await using chroot = await openChroot({ flavour: 'full' })
  await ruleServiceStarts(chroot, 'forbidden')
  const archive = await openPackageArchive(chroot)
  const files = await mirrorPackages(chroot, ['install', 'postgresql-15', 'postgresql-17'], { newer: true })
  await archive.publishFiles(files)
  const names = files.map((file) => basename(file).split('_', 1)[0] ?? '')
  await apt(chroot, ['install', ...names.filter((name) => !/^postgresql-(?:client-)?17$/.test(name))])
  const ask = async (cluster: string, statements: string) => {
    const words = ['runuser', '-u', 'postgres', '--', 'psql', '-XAtq', '--cluster', cluster, '-c', statements]
    return (await chroot.run(words, { cwd: '/tmp' })).stdout
  }
  await chroot.run(['pg_ctlcluster', '15', 'main', 'start'])
  await ask('15/main', 'create table one (a int); insert into one values (1)')
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'postgresql-17'])
  // postgresql-common makes a cluster of the new version where there is none of an older one.
  await chroot.sh('pg_dropcluster 17 main', failed)
  await chroot.run(['pg_upgradecluster', '15', 'main'])
  await ask('17/main', 'insert into one values (2)')
  const planned = await chroot.vml(['tx', 'undo', '1', '--dry-run'], failed)
  assert.equal(planned.status, 14, planned.stderr)
  assert.match(planned.stdout, /data of postgresql-17 stays in .*: postgresql-15 does not read it/)
  const refused = await chroot.vml(['tx', 'undo', '1'], failed)
  assert.equal(refused.status, 14, refused.stderr)
  const [line] = /pg_createcluster.*$/m.exec(refused.stderr) ?? []
  assert.ok(line !== undefined, refused.stderr)
  await chroot.sh(line, { ...failed, cwd: '/tmp' })
  assert.equal(await ask('15/from17', 'select a from one order by a'), '1\n2\n')
  await chroot.run(['pg_ctlcluster', '17', 'main', 'stop'])
  await chroot.vml(['tx', 'undo', '1', '--leave-data'])
  assert.equal(await ask('15/from17', 'select a from one order by a'), '1\n2\n')
  await chroot.vml(['tx', 'redo', '1'])
  await chroot.run(['pg_ctlcluster', '17', 'main', 'start'])
  assert.equal(await ask('17/main', 'select a from one order by a'), '1\n2\n')
})
