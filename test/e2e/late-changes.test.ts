// What becomes of files between the commit of a transaction and its record: services run again by then, and have the machine's files.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { recordSystemctl } from '../chroot-services.ts'

test('what a service writes as it is started again after the commit keeps no record from being made, and no undo takes it away', async () => {
  await using chroot = await openChroot()
  await recordSystemctl(chroot)
  await chroot.sh(
    `printf '[Service]\\nExecStart=/bin/true\\n' >/usr/lib/systemd/system/foo.service
    sed -i '2i case "$*" in *restart*foo*) echo late:x:4242:4242::/: >>/etc/passwd; rm -f /etc/gone ;; esac' /usr/bin/systemctl
    systemctl start foo.service
    seq 3000 >/etc/gone`,
  )
  await chroot.vml(['tx', 'enable'])
  await chroot.vml([
    ...['tx', 'run', '--', 'sh', '-c'],
    'echo early:x:4141:4141::/: >>/etc/passwd; seq 3001 >/etc/gone; deb-systemd-invoke restart foo.service',
  ])
  const users = readFileSync(join(chroot.path, 'etc/passwd'), 'latin1')
  assert.match(users, /^early:.*\nlate:/m)
  const undone = await chroot.vml(['tx', 'undo', '1'], { mayFail: true })
  assert.match(undone.stdout, /stays {2}\/etc\/passwd: it was changed since/)
  assert.equal(readFileSync(join(chroot.path, 'etc/passwd'), 'latin1'), users)
  const old = readFileSync(join(chroot.path, 'etc/passwd.old'), 'latin1')
  assert.equal(`${old}early:x:4141:4141::/:\nlate:x:4242:4242::/:\n`, users)
})

test('what a service writes then, as long as what the transaction wrote, is no part of the transaction: it is found by the next look, and no undo takes it away', async () => {
  await using chroot = await openChroot()
  await recordSystemctl(chroot)
  await chroot.sh(
    `printf '[Service]\\nExecStart=/bin/true\\n' >/usr/lib/systemd/system/foo.service
    sed -i '2i case "$*" in *restart*foo*) echo order=9 >/etc/foo.conf; chmod 700 /etc/foo.d ;; esac' /usr/bin/systemctl
    systemctl start foo.service
    echo order=1 >/etc/foo.conf`,
  )
  await chroot.vml(['tx', 'enable'])
  await chroot.vml([
    ...['tx', 'run', '--', 'sh', '-c'],
    'echo order=2 >/etc/foo.conf; mkdir /etc/foo.d; echo 1 >/etc/foo.d/f; deb-systemd-invoke restart foo.service',
  ])
  const next = await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'echo x >/opt/x'])
  assert.match(next.stdout + next.stderr, /changes by hand: .*\/etc\/foo\.conf/)
  const undone = await chroot.vml(['tx', 'undo', '1'], { mayFail: true })
  assert.match(undone.stdout, /stays {2}\/etc\/foo\.conf: it was changed since/)
  assert.equal(undone.status, 3)
  assert.equal(readFileSync(join(chroot.path, 'etc/foo.conf'), 'latin1'), 'order=9\n')
  assert.equal(readFileSync(join(chroot.path, 'etc/foo.conf.old'), 'latin1'), 'order=1\n')
})
