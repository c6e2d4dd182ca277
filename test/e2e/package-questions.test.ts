import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'

test('files are compared with their packages, their owner is told, a pinned package stands against an undo, and a folder that was removed is missed only where it is needed', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const tiny = (version: string) => ({
    name: 'tiny-program',
    version,
    files: { '/usr/bin/tiny-program': `${version}\n`, '/etc/tiny.conf': 'as it came\n' },
    conffiles: ['/etc/tiny.conf'],
  })
  await archive.publish(tiny('1'), tiny('2'))
  await chroot.vml(['tx', 'enable'])
  await chroot.run(['apt-get', '-y', 'install', 'tiny-program=1'])
  await chroot.run(['apt-get', '-y', 'install', 'tiny-program=2'])

  const clean = await chroot.vml(['tx', 'verify', 'tiny-program'])
  assert.match(
    clean.stderr,
    /Every file has the content that its package brought; rights and owners were not compared: dpkg keeps none\n/,
  )
  await chroot.sh('echo mine >>/etc/tiny.conf')
  assert.match((await chroot.vml(['tx', 'verify', 'tiny-program'])).stderr, /1 file of configuration changed/)
  const unheard = await chroot.vml(['tx', 'pin', 'no-such-program'], { mayFail: true })
  assert.equal(unheard.status, 4)
  assert.match(
    unheard.stderr,
    /Cannot find the package no-such-program\n {5}A name is as dpkg --list shows it\. Nothing was changed\n/,
  )
  const pinned = await chroot.vml(['tx', 'pin', 'tiny-program'])
  assert.deepEqual([pinned.stdout, pinned.stderr], ['tiny-program\n', 'tiny-program: pinned now\n'])
  assert.equal((await chroot.vml(['tx', 'pin', 'tiny-program'])).stderr, 'tiny-program: pinned already\n')
  assert.equal((await chroot.run(['apt-mark', 'showhold'])).stdout, 'tiny-program\n')
  const refused = await chroot.vml(['tx', 'undo', '2'], { mayFail: true })
  assert.notEqual(refused.status, 0)
  assert.match(refused.stderr, /tiny-program, which is pinned/)
  // The plan is told, and ends as the undo itself does: whatever asks the one before the other goes by the status.
  for (const also of [[], ['--json']]) {
    const planned = await chroot.vml(['tx', 'undo', '2', '--dry-run', ...also], { mayFail: true })
    assert.equal(planned.status, refused.status)
    assert.match(planned.stdout, also.length > 0 ? /"dry_run":true/ : /^ {2}pinned: tiny-program; only with/m)
    assert.match(planned.stderr, /tiny-program, which is pinned/)
  }
  const meant = await chroot.vml(['tx', 'undo', '2', '--dry-run', '--pinned'])
  assert.match(meant.stdout, /^ {2}pinned: tiny-program$/m)
  assert.equal((await chroot.sh('cat /usr/bin/tiny-program')).stdout, '2\n')
  await chroot.vml(['tx', 'watch', '--once'])
  for (const says of ['not pinned any more', 'not pinned']) {
    const unpinned = await chroot.vml(['tx', 'unpin', 'tiny-program'])
    assert.deepEqual(
      [unpinned.stdout, unpinned.stderr],
      ['', `tiny-program: ${says}\nNo package is pinned\n`],
    )
  }
  await chroot.vml(['tx', 'undo', '2'])
  const { stdout: listed } = await chroot.vml(['tx', 'list'])
  assert.match(
    listed,
    /^#4 .* {2}changes by hand: .*tiny-program unpinned {2}.*\n#3 .* {2}changes by hand: \/etc\/tiny\.conf and 1 more; tiny-program pinned {2}/m,
  )
  assert.equal((await chroot.sh('cat /usr/bin/tiny-program')).stdout, '1\n')

  await chroot.sh('echo worse >>/usr/bin/tiny-program; rm /usr/share/doc/tiny-program/* || true')
  const wrong = await chroot.vml(['tx', 'verify', '--json', 'tiny-program'], { mayFail: true })
  assert.equal(wrong.status, 1)
  const { files }: { files: readonly { path: string; problems: readonly string[] }[] } = JSON.parse(
    wrong.stdout,
  )
  assert.deepEqual(files.find(({ path }) => path === '/usr/bin/tiny-program')?.problems, ['content'])
  const unknown = await chroot.vml(['tx', 'verify', 'no-such-package'], { mayFail: true })
  assert.match(unknown.stderr, /not installed/)
  assert.equal(unknown.stdout, '')
  const some = await chroot.vml(['tx', 'verify', 'nosuch', 'tiny-program', 'dash'], { mayFail: true })
  assert.equal(some.status, unknown.status)
  assert.match(some.stdout, /^content +\/usr\/bin\/tiny-program +tiny-program$/m)
  assert.match(some.stderr, /not as the package brought.*\n.*Cannot verify "nosuch": it is not installed/)

  await chroot.sh('touch /usr/nobodys')
  const asked = ['/usr/bin/tiny-program', '/bin/sh', '/usr/nobodys', '/usr/nowhere']
  const owned = await chroot.vml(['tx', 'owner', ...asked], { mayFail: true })
  assert.equal(owned.status, 1)
  assert.match(owned.stdout, /^\/usr\/bin\/tiny-program {2}tiny-program 1$/m)
  assert.match(owned.stdout, /^\/bin\/sh {2}dash /m)
  assert.match(owned.stdout, /^\/usr\/nobodys {2}no package$/m)
  assert.match(owned.stdout, /^\/usr\/nowhere {2}no such path, here or in any package$/m)
  const around = await chroot.vml(['tx', 'owner', '/etc/../usr/bin/tiny-program', '/usr/bin/'], {
    mayFail: true,
  })
  assert.match(around.stdout, /^\/usr\/bin\/tiny-program {2}tiny-program 1\n\/usr\/bin {2}/)

  await chroot.sh('dpkg-divert --local --rename --divert /usr/bin/tiny.orig --add /usr/bin/tiny-program')
  const diverted = await chroot.vml(['tx', 'owner', '/usr/bin/tiny-program', '/usr/bin/tiny.orig'], {
    mayFail: true,
  })
  assert.equal(
    diverted.stdout,
    '/usr/bin/tiny-program  no package; diverted to /usr/bin/tiny.orig: tiny-program 1\n/usr/bin/tiny.orig  tiny-program 1\n',
  )
  await chroot.sh('dpkg-divert --local --rename --remove /usr/bin/tiny-program')

  const removed = async (line: string) =>
    await chroot.sh(`mkdir /run/gone; cd /run/gone; rmdir /run/gone; ${line}`, { mayFail: true })
  assert.match((await removed('vml tx list')).stdout, /^#5 .*undo #2/)
  assert.equal((await removed('vml tx owner /usr/bin/tiny-program')).status, 0)
  for (const needs of ['tx run -- touch x', 'tx owner x', 'tx list --logbook x']) {
    const { status, stderr } = await removed(`vml ${needs}`)
    assert.equal(status, 4)
    assert.match(stderr, /the folder that the command was started in was removed\n.*Nothing was changed/)
  }
  const checked = await chroot.vml(['tx', 'check'], { mayFail: true })
  assert.match(checked.stdout, /transactions; none lacks anything\n/)
  assert.match(checked.stderr, /What lies in the logbook itself was not read: vml check .* --read-data/)
})
