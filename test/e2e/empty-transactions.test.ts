// Nothing to do makes no transaction (A9), whatever the package system writes meanwhile; and what was changed in time alone is a change.
import assert from 'node:assert/strict'
import test from 'node:test'
import { openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import { apt, transactionsOf } from '../transaction-bed.ts'

test('runs of apt and dpkg that change nothing make no transaction, and a time alone can be taken back', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish({ name: 'joe', version: '1.0', files: { '/usr/bin/joe': 'joe\n' } })
  await chroot.vml(['tx', 'run', '--', 'true'])
  assert.match((await chroot.vml(['tx', 'list'])).stderr, /^No transaction yet: vml tx enable, or/)
  await chroot.vml(['tx', 'enable'])
  assert.match(
    (await chroot.vml(['tx', 'list'])).stderr,
    /^No transaction yet: the next run of a package manager/,
  )
  await apt(chroot, ['install', 'joe'])
  const [made] = await transactionsOf(chroot)
  assert.equal(made?.number, 1)
  const { stdout: shown } = await chroot.vml(['tx', 'show', '1', '--paths'])
  assert.doesNotMatch(shown, /dpkg\/lock|triggers\/Lock/)

  const { stdout, stderr } = await chroot.vml(['tx', 'run', '--', 'apt-get', '-y', 'install', 'joe'])
  assert.match(stdout + stderr, /Nothing that is recorded was changed \(.*\): no transaction was made/)
  await chroot.run(['dpkg', '--configure', '-a'])
  assert.equal((await chroot.run(['dpkg', '-i', '/nothing.deb'], { mayFail: true })).status, 2)
  await chroot.vml(['tx', 'recover'])
  assert.equal((await transactionsOf(chroot)).length, 1)
  // What lies there is the machine's own while a command runs: that it changed nothing would be no true word.
  await chroot.sh('echo x >/var/log/gone.log')
  const removing = await chroot.vml(['tx', 'run', '--', 'rm', '/var/log/gone.log'])
  assert.match(removing.stderr, /^Nothing that is recorded was changed \(what is done in .*\/var\/log/m)
  assert.doesNotMatch(removing.stderr, /It changed nothing/)
  const writing = await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'echo x >/tmp/y2; exit 1'], {
    mayFail: true,
  })
  assert.match(writing.stderr, /nothing of it was kept, but for what it wrote in \/tmp, /)
  assert.match(
    (await chroot.sh('cat /tmp/y2; ls /var/log/gone.log 2>&1 || true')).stdout,
    /^x\nls: cannot access/,
  )
  assert.equal((await chroot.vml(['tx', 'list', '-n', '0'], { mayFail: true })).status, 2)
  const failing = (...words: readonly string[]) =>
    chroot.vml(['tx', 'run', ...words, '--', 'sh', '-c', 'exit 3'], { mayFail: true })
  for (const [way, status] of [
    ['--live', 1],
    ['--keep-failed', 0],
  ] as const) {
    const failed = await failing(way)
    assert.equal(failed.status, status)
    assert.match(
      failed.stderr,
      /^The command ended with status 3\. Nothing that is recorded was changed \(.*\): no transaction was made$/m,
    )
  }

  const before = (await chroot.sh('stat -c %Y /etc/hosts')).stdout
  await chroot.vml(['tx', 'run', '--', 'touch', '-d', '2001-02-03', '/etc/hosts'])
  assert.match(
    (await chroot.vml(['tx', 'show', '2', '--paths'])).stdout,
    /1 of them only in time[\s\S]*^t \/etc\/hosts$/m,
  )
  await chroot.vml(['tx', 'undo', '2'])
  assert.equal((await chroot.sh('stat -c %Y /etc/hosts')).stdout, before)
  const kept = await chroot.vml(['tx', 'run', '--keep-failed', '--', 'sh', '-c', 'touch /etc/kept; exit 3'])
  assert.match(kept.stderr, /^The command ended with status 3: kept all the same$/m)
})

test('names of one file stay names of one file when their rights or their time are taken back', async () => {
  await using chroot = await openChroot()
  await chroot.sh('echo one >/opt/one; ln /opt/one /opt/two; touch -d 2020-01-01 /opt/one')
  const look = async () => (await chroot.sh('stat -c "%h %a %Y" /opt/one /opt/two')).stdout
  const before = await look()
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'chmod 600 /opt/one; touch /opt/one'])
  assert.notEqual(await look(), before)
  await chroot.vml(['tx', 'undo', '1'])
  assert.equal(await look(), before)
  await chroot.sh('touch -d 2021-01-01 /opt/one')
  assert.match((await chroot.vml(['tx', 'redo', '1', '--dry-run'])).stdout, /2 paths changed/)
})

test('a name of one file that was given other rights since keeps them when the file is taken back, and the others come back together', async () => {
  await using chroot = await openChroot()
  await chroot.sh('echo 1 >/opt/a; ln /opt/a /opt/b; ln /opt/a /opt/c; chmod 644 /opt/a')
  await chroot.vml([
    ...['tx', 'run', '--', 'sh', '-c'],
    'rm /opt/?; for n in a b c; do echo 2 >/opt/$n; chmod 644 /opt/$n; done',
  ])
  await chroot.sh('chmod 600 /opt/a')
  await chroot.vml(['tx', 'undo', '1'])
  const { stdout } = await chroot.sh('cat /opt/a /opt/b /opt/c; stat -c "%h %a" /opt/a /opt/b /opt/c')
  assert.equal(stdout, '1\n1\n1\n1 600\n2 644\n2 644\n')
})

test('a name that went, came, or became a file of its own is a name of the same file again after its undo and redo, made in a stage, live or by hand', async () => {
  await using chroot = await openChroot()
  const inodes = async (names: string) => (await chroot.sh(`stat -c %i ${names}`)).stdout.trim().split('\n')
  const isOne = async (names: string) => new Set(await inodes(names)).size === 1
  const undo = async (number: number, kind = 'undo') => {
    const { stdout, stderr } = await chroot.vml(['tx', kind, String(number)])
    assert.doesNotMatch(stdout + stderr, /file of its own/)
  }
  await chroot.sh('echo 1 >/opt/a; ln /opt/a /opt/b; echo 2 >/opt/c; touch -d 2020-01-01 /opt/a /opt/c')
  await chroot.vml(['tx', 'run', '--', 'rm', '/opt/b'])
  const [file] = await inodes('/opt/a')
  await undo(1)
  assert.deepEqual(await inodes('/opt/a /opt/b'), [file, file])
  await undo(1, 'redo')
  await undo(3)
  assert.deepEqual(await inodes('/opt/a /opt/b'), [file, file])

  await chroot.vml(['tx', 'run', '--', 'ln', '/opt/c', '/opt/d'])
  await undo(5)
  await undo(5, 'redo')
  assert.ok(await isOne('/opt/c /opt/d'))
  await undo(5)
  await undo(5, 'redo')
  assert.ok(await isOne('/opt/c /opt/d'))

  await chroot.vml(['tx', 'run', '--live', '--', 'rm', '/opt/d'])
  await undo(10)
  assert.ok(await isOne('/opt/c /opt/d'))
  await chroot.vml(['tx', 'run', '--', 'sed', '-i', 's/2/two/', '/opt/d'])
  assert.ok(!(await isOne('/opt/c /opt/d')))
  await undo(12)
  assert.ok(await isOne('/opt/c /opt/d'))
  assert.equal((await chroot.sh('cat /opt/c /opt/d')).stdout, '2\n2\n')
})

test('where the other name was changed since, or lies where VML cannot link, a file of its own comes back, and the plan or the result says so', async () => {
  await using chroot = await openChroot()
  await chroot.sh(
    'echo 1 >/opt/a; ln /opt/a /opt/b; mount -t tmpfs none /mnt; echo 1 >/mnt/a; ln /mnt/a /mnt/b',
  )
  await chroot.vml(['tx', 'run', '--', 'rm', '/opt/b', '/mnt/b'])
  await chroot.sh('echo 2 >>/opt/a')
  const told = /1 path put back as a file of its own.*: \/opt\/b \(of \/opt\/a\)/
  assert.match((await chroot.vml(['tx', 'undo', '1', '--dry-run'])).stdout, told)
  const { stdout, stderr, status } = await chroot.vml(['tx', 'undo', '1'])
  assert.equal(status, 0)
  assert.match(stdout, told)
  assert.match(stderr, /file of its own.*: \/mnt\/b \(of \/mnt\/a\)/)
  assert.equal((await chroot.sh('cat /opt/a /opt/b /mnt/b')).stdout, '1\n2\n1\n1\n')
})
