// Each kind of tiny package does to a real Debian what its name says: a kind that does nothing would prove nothing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ruleServiceStarts } from '../chroot-services.ts'
import { openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import { exactly, tinyKinds } from '../tiny-kinds.ts'
import { failingPackage, type FailingPhase } from '../tiny-scripted-kinds.ts'
import { compareTrees, renderComparison } from '../tree-compare.ts'
import { readTree } from '../tree-read.ts'
import { regenerated } from '../tree-rules.ts'

const looks: readonly (readonly [string, string, string])[] = [
  ['dpkg-divert --truename /usr/bin/tsort', '/usr/bin/tsort.coreutils', '/usr/bin/tsort.coreutils'],
  ['cat /etc/alternatives/tiny-editor', '1', '2'],
  ['ls /usr/share/tiny-trigger; cat /var/lib/tiny-trigger/index', '1\n1', '2\n2'],
  ['getcap /usr/bin/tiny-ping', '/usr/bin/tiny-ping cap_net_raw=ep', '/usr/bin/tiny-ping cap_net_raw=ep'],
  ['getfattr --only-values -n user.tiny /etc/tiny-rights.conf', '1', '2'],
  ['getfacl -cE /etc/tiny-rights.conf | grep daemon', 'user:daemon:r--', 'user:daemon:r--'],
  ['stat -c %a:%G /usr/bin/tiny-mail', '2755:mail', '2755:mail'],
  ['stat -c %F /usr/share/tiny-swap/data', 'directory', 'symbolic link'],
  ['stat -c %h /usr/bin/tiny-one', '3', '2'],
  ['grep -c tiny-foreign /etc/hosts; grep -c tiny-foreign /etc/adduser.conf', '1\n1', '1\n2'],
  ['cat /usr/sbin/tiny-chain-service', 'tiny-chain-first', 'tiny-chain-second'],
  ['cat /etc/tiny-ucf.conf', 'version = 1\nsame = yes', 'version = 2\nsame = yes'],
  ['cat /etc/tiny-debconf.conf', 'colour = blue-1', 'colour = blue-1'],
  ['id -nG tiny-user', 'tiny-user mail', 'tiny-user mail'],
  ['cat /var/lib/tiny-service/data /var/lib/tiny-service/form', 'made by 1\nform 1', 'made by 1\nform 2'],
  ['kill -0 $(cat /run/tiny-service.pid) && wc -l </var/lib/tiny-service/journal', '1', '2'],
  ['readlink /vmlinuz', 'boot/vmlinuz-1-tiny', 'boot/vmlinuz-2-tiny'],
  [
    'zstd -dc </initrd.img | cpio --quiet -t | grep tiny.ko',
    'modules/kernel/tiny.ko',
    'modules/kernel/tiny.ko',
  ],
  ['localedef --list-archive | grep -c 2a', '0', '2'],
  ['ls /usr/lib/tiny-python/__pycache__', 'module.cpython-311.pyc', 'module.cpython-311.pyc'],
]

test('all kinds are installed, upgraded and purged, and leave behind what scripts are known to leave', async () => {
  await using chroot = await openChroot()
  await ruleServiceStarts(chroot, 'allowed')
  const archive = await openPackageArchive(chroot)
  const names = tinyKinds.map(({ name }) => name)
  for (const version of [1, 2]) {
    await archive.publish(...tinyKinds.flatMap((kind) => kind.packages(version)))
    await chroot.run(['apt-get', '-y', ...(version === 1 ? ['install', ...names] : ['dist-upgrade'])])
    for (const [script, first, second] of looks) {
      const { stdout } = await chroot.sh(script, { mayFail: true })
      assert.equal(stdout.trimEnd(), version === 1 ? first : second, script)
    }
  }
  const upgraded = readTree(chroot.path)
  const downgrades = tinyKinds.flatMap((kind) => exactly(kind, 1))
  await chroot.run(['apt-get', '-y', '--allow-downgrades', 'install', ...downgrades])
  assert.equal((await chroot.run(['tiny-plain'])).stdout, '1\n')
  // What a rule looks at is what a tree said when it was read: this chroot has gone on since.
  const { differences } = compareTrees(upgraded, chroot.path, { allowed: regenerated })
  assert.ok(differences.some(({ path }) => path === '/usr/bin/tiny-plain'))
  assert.ok(!differences.some(({ path }) => path === '/boot/initrd.img-1-tiny'))
  await chroot.sh(`apt-get -y purge 'tiny-*'`)
  assert.equal((await chroot.sh('dpkg --audit; dpkg -l | grep -c tiny-', { mayFail: true })).stdout, '0\n')
  const { stdout: left } = await chroot.sh('tail -n 1 /etc/adduser.conf; ls /usr/lib/locale')
  assert.equal(left, '# tiny-foreign 1\nC.utf8\nlocale-archive\n')
})

test('a failing package fails in its phase, and is configured or removed when the reason is mended', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const cases: readonly (readonly [FailingPhase, 'install' | 'upgrade' | 'remove' | 'purge', string])[] = [
    ['preinst', 'install', 'install ok not-installed'],
    ['unpack', 'install', 'install ok not-installed'],
    ['postinst', 'install', 'install ok half-configured'],
    ['preinst', 'upgrade', 'install ok installed'],
    ['prerm', 'upgrade', 'install ok installed'],
    ['postinst', 'upgrade', 'install ok half-configured'],
    ['postrm', 'upgrade', 'install ok installed'],
    ['prerm', 'remove', 'deinstall ok installed'],
    ['postrm', 'remove', 'deinstall ok half-installed'],
    ['postrm', 'purge', 'purge ok config-files'],
  ]
  for (const [phase, on, state] of cases) {
    const name = `tiny-fails-${phase}-${on}`
    const file = async (version: number) => {
      const [path = ''] = await archive.publish(failingPackage(name, version, { phase, on }))
      return `/srv/archive/${path}`
    }
    const first = await file(1)
    if (on !== 'install') await chroot.run(['dpkg', '-i', first])
    const words =
      on === 'install' ? ['-i', first] : on === 'upgrade' ? ['-i', await file(2)] : [`--${on}`, name]
    const failed = await chroot.run(['dpkg', ...words], { mayFail: true })
    assert.equal(failed.status, 1, `${name}: ${failed.stdout}${failed.stderr}`)
    const { stdout } = await chroot.run(['dpkg-query', '-W', '-f', '${Status}', name], { mayFail: true })
    assert.equal(stdout || 'unknown ok not-installed', state, `${name}: ${failed.stdout}${failed.stderr}`)
    if (phase === 'unpack') continue
    await chroot.run(['touch', '/etc/tiny-mended'])
    await chroot.run(['dpkg', ...words])
    await chroot.run(['rm', '/etc/tiny-mended'])
  }
  const { stdout } = await chroot.run(['dpkg', '--audit'])
  assert.equal(stdout, '')
})

test('what apt leaves in an initrd, in a list of modules or in the cache of libraries may differ in bytes only', async () => {
  await using one = await openChroot()
  await using other = await openChroot()
  for (const chroot of [one, other]) {
    const archive = await openPackageArchive(chroot)
    const kernel = tinyKinds.find(({ name }) => name === 'tiny-kernel')
    assert.ok(kernel !== undefined)
    await archive.publish(...kernel.packages(1))
    await chroot.run(['apt-get', '-y', 'install', 'tiny-kernel'])
  }
  const comparison = compareTrees(one.path, other.path, { allowed: regenerated })
  assert.equal(renderComparison(comparison), '')
  assert.equal(comparison.allowed.get('initrd'), 1)
  assert.ok((comparison.allowed.get('modules') ?? 0) >= 1)
  await other.sh('echo other >/etc/hostname && update-initramfs -u -k 1-tiny')
  await one.sh('truncate -s -1 /boot/initrd.img-1-tiny; echo more: >>/usr/lib/modules/1-tiny/modules.dep')
  const changed = compareTrees(one.path, other.path, { allowed: regenerated })
  assert.deepEqual(
    changed.differences.map(({ path }) => path),
    [
      '/boot/initrd.img-1-tiny',
      '/etc/hostname',
      '/usr/lib/modules/1-tiny/modules.dep',
      '/usr/lib/modules/1-tiny/modules.dep.bin',
    ],
  )
})
