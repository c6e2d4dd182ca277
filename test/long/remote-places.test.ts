// Transactions over ssh on each file system that can hold a stage, with folders on mounts of their own, and by logins that are not root's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ChrootOptions } from '../chroot.ts'
import { mirrorPackages } from '../mirror-packages.ts'
import { openPackageArchive } from '../package-archive.ts'
import { openRemoteBed, type RemoteBed, runThere } from '../remote-bed.ts'

const places: readonly { readonly name: string; readonly chroot: ChrootOptions }[] = [
  { name: 'ext4, /opt and /home on others', chroot: { fileSystem: 'ext4', apart: ['/opt', '/home'] } },
  { name: 'xfs', chroot: { fileSystem: 'xfs' } },
  { name: 'xfs, /var on another', chroot: { fileSystem: 'xfs', apart: ['/var'] } },
  { name: 'btrfs, /var and /opt in subvolumes', chroot: { fileSystem: 'btrfs', apart: ['/var', '/opt'] } },
  { name: 'tmpfs, /opt on another', chroot: { fileSystem: 'tmpfs', apart: ['/opt'] } },
]

/** Of each kind one, on the root, in `/opt` and in `/var/lib`. */
const before = `for place in /etc /opt /var/lib; do mkdir -p $place/kinds/gone/in; cd $place/kinds
  echo 1 >a; ln a b; ln -s a c; echo job >gone/in/job; echo x >mode; chmod 4755 mode; mkdir swap; echo y >swap/y; done`
const changing = `set -e; for place in /etc /opt /var/lib; do cd $place/kinds
  echo 2 >>a; ln b d; ln -sfn b c; rm -r gone; chmod 600 mode; chown 1:2 mode; rm -r swap; ln -s /etc swap; mkdir -m 1777 new; echo z >new/z
  truncate -s 3M sparse; mkfifo new/fifo; mv b b2; done`

/** Returns the number of paths. */
async function changeAndTakeBack(bed: RemoteBed): Promise<number> {
  await bed.chroot.sh(before)
  const from = bed.tree()
  await bed.well(...runThere(changing))
  const number = String(await bed.last())
  const changed = bed.tree()
  assert.equal((await bed.chroot.sh('cat /opt/kinds/b2; stat -c %h /var/lib/kinds/d')).stdout, '1\n2\n3\n')
  await bed.well('tx', 'undo', number, '--on', 'lab')
  assert.equal(bed.differences(from), '')
  await bed.well('tx', 'redo', number, '--on', 'lab')
  assert.equal(bed.differences(changed), '')
  await bed.well('tx', 'undo', number, '--on', 'lab')
  assert.equal(bed.differences(from), '')
  await bed.nothingLeft()
  assert.equal(
    (await bed.chroot.sh('find / -xdev -name .vml-stage; find /opt /home /var -name .vml-stage')).stdout,
    '',
  )
  const { stdout } = await bed.well('tx', 'show', number, '--on', 'lab', '--paths', '--json')
  const { counts }: { counts: Record<string, number> } = JSON.parse(stdout)
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

for (const { name, chroot } of places)
  test(`what a command changed over ssh is taken back, and brought back, on ${name}`, async (context) => {
    await using bed = await openRemoteBed(chroot)
    context.diagnostic(`${name}: ${await changeAndTakeBack(bed)} paths, there and back twice`)
  })

test('a login that may use sudo without a password makes transactions; one that may not is told so', async (context) => {
  await using bed = await openRemoteBed({ login: 'worker' })
  const { chroot } = bed
  await chroot.sh('useradd -m worker')
  const before = bed.tree()
  const refuse = async () => {
    const refused = await bed.vml(['tx', 'run', '--on', 'lab', '--', 'true'])
    assert.equal(refused.status, 40, refused.stderr)
    assert.match(refused.stderr, /the login there is not root's, and sudo asks for a password/)
    assert.equal(bed.differences(before), '')
  }
  await refuse()
  const archive = await openPackageArchive(chroot)
  await archive.publishFiles(await mirrorPackages(chroot, ['install', 'sudo']))
  await chroot.sh('apt-get install -y -q sudo && echo "worker ALL=(ALL) ALL" >/etc/sudoers.d/worker')
  assert.match((await bed.vml(['tx', 'run', '--on', 'lab', '--', 'true'])).stderr, /sudo asks for a password/)
  await chroot.sh('echo "worker ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/worker')
  context.diagnostic(`by sudo: ${await changeAndTakeBack(bed)} paths, there and back twice`)
})
