// Something that a transaction changes is changed on the machine in the very moment of its commit.
import assert from 'node:assert/strict'
import test from 'node:test'
import { openChroot, type Chroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import { apt, transactionsOf } from '../transaction-bed.ts'

/** After the stage was looked at, and before the commit, checks are run: the first of them waits here until the machine was changed. */
async function overtakeAtCheck(chroot: Chroot, change: string): Promise<void> {
  await chroot.sh(
    'mkdir -p /etc/vml/checks.d; cat >/etc/vml/checks.d/wait; chmod 755 /etc/vml/checks.d/wait',
    {
      input:
        '#!/bin/sh\ni=0; until [ -e /run/overtaken ] || [ $i = 600 ]; do i=$((i + 1)); sleep 0.1; done; [ -e /run/overtaken ]\n',
    },
  )
  await chroot.sh(`{
    until ps ax -o args 2>/dev/null | grep -q "[c]hecks.d/wait"; do sleep 0.1; done
    ${change}; touch /run/overtaken
  } >/dev/null 2>&1 &`)
}

test('a command that was overtaken at its commit is run once more, unless it read what is gone by then', async () => {
  await using chroot = await openChroot()
  await chroot.sh('echo one >/etc/list')
  await overtakeAtCheck(chroot, 'echo two >>/etc/list')
  const { stderr } = await chroot.sh("vml tx run -- sh -c 'echo three >>/etc/list' </dev/null")
  assert.match(
    stderr,
    /"\/etc\/list": it has changed meanwhile; nothing was changed. It is run once more on what the machine is now/,
  )
  assert.equal((await chroot.sh('cat /etc/list')).stdout, 'one\ntwo\nthree\n')
  const [made] = await transactionsOf(chroot)
  await chroot.vml(['tx', 'undo', String(made?.number)])
  assert.equal((await chroot.sh('cat /etc/list')).stdout, 'one\ntwo\n')

  // What stands in a pipe is read once: nothing is kept, and nothing is left in the way.
  await chroot.sh('rm /run/overtaken')
  await overtakeAtCheck(chroot, 'echo four >>/etc/list')
  const refused = await chroot.sh("echo three | vml tx run -- sh -c 'cat >>/etc/list'", { mayFail: true })
  assert.equal(refused.status, 14, refused.stderr)
  assert.match(refused.stderr, /nothing was changed/)
  assert.equal((await chroot.sh('cat /etc/list')).stdout, 'one\ntwo\nfour\n')
  assert.match((await chroot.vml(['tx', 'recover'])).stderr, /^(?!.*cut off)/)
})

test('a run of apt that was overtaken at its commit is done again on the machine itself', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish({ name: 'joe', version: '1.0', files: { '/etc/joe.d/conf': 'joe\n' } })
  await chroot.vml(['tx', 'enable'])
  await overtakeAtCheck(
    chroot,
    'cp /var/lib/dpkg/status /s; sed "0,/^Priority: .*/s//Priority: extra/" /s >/var/lib/dpkg/status',
  )
  const { stderr } = await apt(chroot, ['install', 'joe'])
  assert.match(stderr, /has changed meanwhile.*done again on the machine itself/)
  assert.match(stderr, /Live: a check before the change was not run/)
  assert.equal((await chroot.sh('cat /etc/joe.d/conf; dpkg --audit')).stdout, 'joe\n')
  const [made] = await transactionsOf(chroot)
  await chroot.vml(['tx', 'undo', String(made?.number)])
  assert.equal((await chroot.sh('ls /etc/joe.d', { mayFail: true })).status, 2)
})
