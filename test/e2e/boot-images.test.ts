import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import { apt, transactionsOf } from '../transaction-bed.ts'

test('a boot image that opens an encrypted "/" is made again on the machine itself, where its mounts are the real ones', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish({
    name: 'tiny-unlocks',
    version: '1',
    files: { '/usr/share/initramfs-tools/hooks/cryptroot': '' },
    scripts: { postinst: 'mkdir -p /boot\nfindmnt -no FSTYPE / >/boot/initrd.img-1' },
  })
  await chroot.vml(['tx', 'enable'])
  const { stderr } = await apt(chroot, ['install', 'tiny-unlocks'])
  assert.match(stderr, /boot image cannot know on what "\/" lies.*It is done again on the machine itself/)
  assert.equal((await chroot.sh('cat /boot/initrd.img-1')).stdout, 'ext4\n')
  const [made] = await transactionsOf(chroot)
  assert.deepEqual([made?.mode, made?.complete], ['live', true])
  const run = await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'echo 2 >/boot/initrd.img-2'], {
    mayFail: true,
  })
  assert.match(run.stderr, /vml tx run --live/)
  assert.equal((await chroot.sh('ls /boot/initrd.img-2', { mayFail: true })).stdout, '')
})
