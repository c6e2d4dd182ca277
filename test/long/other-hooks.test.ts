// The real etckeeper, apt-listchanges, needrestart and snapper of Debian beside our hooks.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ruleServiceStarts } from '../chroot-services.ts'
import { openChroot } from '../chroot.ts'
import { mirrorPackages } from '../mirror-packages.ts'
import { openPackageArchive } from '../package-archive.ts'
import { apt, transactionsOf } from '../transaction-bed.ts'

const tools = ['etckeeper', 'apt-listchanges', 'needrestart', 'snapper']

test('beside the hooks of other tools a run is one transaction, they do their work, and an undo is clean', async () => {
  await using chroot = await openChroot({ flavour: 'full' })
  await ruleServiceStarts(chroot, 'forbidden')
  const archive = await openPackageArchive(chroot)
  await archive.publishFiles(await mirrorPackages(chroot, ['install', ...tools]))
  await apt(chroot, ['install', ...tools])
  await chroot.vml(['tx', 'enable'])
  const joe = (version: string) => ({
    name: 'joe',
    version,
    files: { '/usr/bin/joe': `${version}\n`, '/etc/joe.conf': `${version}\n` },
    conffiles: ['/etc/joe.conf'],
  })
  await archive.publish(joe('1.0'))
  await apt(chroot, ['install', 'joe'])
  await archive.publish(joe('2.0'))
  const { stdout } = await apt(chroot, ['install', 'joe'])
  assert.match(stdout, /apt-listchanges: Reading changelogs/)
  assert.match(stdout, /No services need to be restarted/)
  const commits = async () =>
    (await chroot.sh('git -C /etc log --format=%s | grep -c "committing changes"')).stdout
  assert.equal(await commits(), '2\n')
  assert.deepEqual(
    (await transactionsOf(chroot)).map(({ source }) => source),
    ['apt', 'apt'],
    'what etckeeper writes is no change by hand',
  )

  await chroot.vml(['tx', 'undo', '2'])
  assert.equal((await chroot.sh('cat /usr/bin/joe /etc/joe.conf; dpkg --audit')).stdout, '1.0\n1.0\n')
  // Its history is its own, and not taken back.
  assert.equal(await commits(), '2\n')
  assert.match(
    (await chroot.sh('git -C /etc fsck 2>&1; git -C /etc status --short')).stdout,
    /^ M joe.conf$/m,
  )
})
