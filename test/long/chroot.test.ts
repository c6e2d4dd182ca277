// The chroots of tests on every kind of file system, and with packages of Debian's mirror.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ruleServiceStarts } from '../chroot-services.ts'
import { openChroot } from '../chroot.ts'
import { mirrorPackages } from '../mirror-packages.ts'
import { openPackageArchive } from '../package-archive.ts'
import { tinyKinds } from '../tiny-kinds.ts'
import { compareTrees, renderComparison, type AllowedDifference } from '../tree-compare.ts'
import { readTree, type Tree } from '../tree-read.ts'
import { madePerMachine, regenerated } from '../tree-rules.ts'

const ofFileSystems: readonly AllowedDifference[] = [
  { name: 'lost+found', allows: ({ path }) => path === '/lost+found' },
  // Where XFS keeps an ACL it shows it once more under its own name: xfs(5), SGI_ACL_FILE.
  {
    name: 'ACLs of XFS',
    allows: ({ kind, one, other }) => kind === 'xattrs' && withoutXfs(one) === withoutXfs(other),
  },
]

test('all kinds of packages make the same tree on each file system, in one mount or in several', async (context) => {
  let first: Tree | undefined
  for (const fileSystem of ['ext4', 'xfs', 'btrfs', 'tmpfs'] as const) {
    for (const apart of [[], ['/var', '/boot', '/home']]) {
      await using chroot = await openChroot({ fileSystem, apart })
      const { stdout: mounts } = await chroot.run(['cat', '/proc/self/mountinfo'])
      const own = mounts.split('\n').filter((line) => line.includes(` - ${fileSystem} `))
      for (const path of ['/', ...apart])
        assert.ok(
          own.some((line) => line.split(' ')[4] === path),
          mounts,
        )
      const archive = await openPackageArchive(chroot)
      await archive.publish(...tinyKinds.flatMap((kind) => kind.packages(1)))
      await chroot.run(['apt-get', '-y', 'install', ...tinyKinds.map(({ name }) => name)])
      const tree = readTree(chroot.path)
      first ??= tree
      const comparison = compareTrees(first, tree, { allowed: [...regenerated, ...ofFileSystems] })
      assert.equal(renderComparison(comparison), '', fileSystem)
      context.diagnostic(`${fileSystem}, ${own.length} mounts: ${tree.entries.size} paths equal`)
    }
  }
})

test('apt does twice the same with real packages, but for keys and data that a machine makes for itself', async (context) => {
  await using one = await openChroot({ flavour: 'full' })
  await using other = await openChroot({ flavour: 'full' })
  const archives = await Promise.all([one, other].map(async (chroot) => await openPackageArchive(chroot)))
  for (const chroot of [one, other]) await ruleServiceStarts(chroot, 'forbidden')
  for (const words of [
    ['dist-upgrade'],
    ['install', 'nginx', 'postgresql', 'mariadb-server', 'unattended-upgrades'],
  ]) {
    const packages = await mirrorPackages(one, words, { installed: true })
    for (const archive of archives) await archive.publishFiles(packages)
    for (const chroot of [one, other]) await chroot.run(['apt-get', '-y', ...words])
    const comparison = compareTrees(one.path, other.path, { allowed: [...regenerated, ...madePerMachine] })
    assert.equal(renderComparison(comparison), '', words.join(' '))
    context.diagnostic(`${words.join(' ')}: ${packages.length} packages`)
  }
})

function withoutXfs(xattrs: string): string {
  return xattrs
    .split(' ')
    .filter((xattr) => !xattr.startsWith('trusted.SGI_ACL_'))
    .join(' ')
}
