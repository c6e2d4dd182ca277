// What systems do to each other that share a file system, as a host and its containers do.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'

test('a system that shares a file system with another leaves the stage alone that is open there', async () => {
  await using chroot = await openChroot()
  await chroot.sh('mkdir /srv/shared; mount -t tmpfs none /srv/shared; echo old >/srv/shared/file')
  await chroot.vml(['tx', 'enable'])
  const other = 'unshare -m sh -c "mount -t tmpfs none /var/lib/vml; vml tx run -- rm /srv/shared/file"'
  await chroot.vml(['tx', 'try', '--', 'sh', '-c', 'echo new >/srv/shared/file'])
  const refused = await chroot.sh(other, { mayFail: true })
  assert.match(refused.stderr, /"\/srv\/shared\/\.vml-stage" holds a stage of another system/)
  await chroot.vml(['tx', 'commit'])
  assert.equal((await chroot.sh('cat /srv/shared/file')).stdout, 'new\n')
})
