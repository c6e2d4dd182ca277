// What old records keep, and lose: packages of sources that do not forget, pins of deltas, the budget.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Chroot, openChroot } from '../chroot.ts'
import { dropPreImages, leastBudget } from '../drop-pre-images.ts'
import { openPackageArchive } from '../package-archive.ts'
import { noise } from '../store-fixture.ts'
import type { TinyPackage } from '../tiny-packages.ts'

const bytes = 200_000

/** Most of it is the same in all versions, as in programs. */
function program(version: number, size = bytes): TinyPackage {
  const content = Buffer.concat([noise(size, 'same'), noise(200, `version ${version}`)])
  return {
    name: 'tiny-program',
    version: String(version),
    files: { '/usr/bin/tiny-program': { content, mode: 0o755 } },
  }
}

async function open(chroot: Chroot) {
  const archive = await openPackageArchive(chroot, { forgets: true })
  await chroot.vml(['tx', 'enable'])
  const install = async (version: number) => {
    await archive.publish(program(version))
    await chroot.run(['apt-get', '-y', 'install', 'tiny-program'])
  }
  return { archive, install }
}

interface Listed {
  readonly number: number
  readonly source: string
  readonly complete: boolean
  readonly dropped: boolean
  readonly stored_bytes: number
}

/** Without those of changes by hand, which the tests make between. */
async function list(chroot: Chroot): Promise<readonly Listed[]> {
  const { stdout } = await chroot.vml(['tx', 'list', '--json'])
  const { transactions }: { transactions: readonly Listed[] } = JSON.parse(stdout)
  return transactions.filter(({ source }) => source !== 'hand').toReversed()
}

async function kinds(chroot: Chroot, number: number): Promise<ReadonlyMap<string, string>> {
  const { stdout } = await chroot.vml(['tx', 'show', String(number), '--json'])
  const { paths }: { paths: readonly { path: string; pre_image: string }[] } = JSON.parse(stdout)
  return new Map(paths.map(({ path, pre_image: kind }) => [path, kind]))
}

const sum = async (chroot: Chroot) => (await chroot.sh('sha256sum </usr/bin/tiny-program')).stdout
const pins = async (chroot: Chroot) =>
  (await chroot.sh('find /var/lib/vml -path "*/pins/*" -not -name notes | wc -l')).stdout.trim()

test('what a package of a pool gives is referred to, and an undo gets it from there or changes nothing', async () => {
  await using chroot = await openChroot()
  await chroot.sh('mkdir -p /etc/vml /srv/pool', {})
  await chroot.sh('cat >/etc/vml/config.toml', { input: '[transactions]\npools = ["/srv/pool"]\n' })
  const { install } = await open(chroot)
  await install(1)
  const one = await sum(chroot)
  await chroot.sh('cp /srv/archive/tiny-program_1_all.deb /srv/pool')
  await install(2)
  const two = await sum(chroot)
  const kept = await kinds(chroot, 2)
  assert.equal(kept.get('/usr/bin/tiny-program'), 'reference')
  assert.equal(await pins(chroot), '0')

  await chroot.sh('mv /srv/pool /srv/elsewhere')
  const refused = await chroot.vml(['tx', 'undo', '2'], { mayFail: true })
  assert.equal(refused.status, 20)
  assert.match(refused.stderr, /no source has the package any more/)
  assert.equal(await sum(chroot), two)
  const tried = await chroot.vml(['tx', 'undo', '2', '--dry-run'], { mayFail: true })
  assert.equal(tried.status, 20, 'the plan does not promise what cannot be had')
  const gone = await chroot.vml(['tx', 'check'], { mayFail: true })
  assert.equal(gone.status, 1)
  assert.match(
    gone.stdout,
    /^2 transactions; none lacks anything\nNo source has tiny-program 1 any more, which #2 needs: it came from pool \/srv\/pool\n$/,
  )

  await chroot.sh('mv /srv/elsewhere /srv/pool')
  assert.equal((await chroot.vml(['tx', 'check'])).stdout, '2 transactions; none lacks anything\n')
  await chroot.sh('cat >>/etc/vml/config.toml', {
    input: 'snapshots = ["http://127.0.0.1:9/archive/debian"]\n',
  })
  await chroot.sh('mv /srv/pool /srv/elsewhere')
  assert.match(
    (await chroot.vml(['tx', 'undo', '2', '--dry-run'])).stdout,
    /not asked: whether a snapshot service still has 1 package/,
  )
  assert.match(
    (await chroot.vml(['tx', 'check'])).stderr,
    /Not asked: whether snapshot services still have 1 package; --snapshots asks/,
  )
  assert.equal((await chroot.vml(['tx', 'check', '--snapshots'], { mayFail: true })).status, 1)
  await chroot.sh('mv /srv/elsewhere /srv/pool')
  await chroot.vml(['tx', 'undo', '2'])
  assert.equal(await sum(chroot), one)
  assert.equal((await chroot.sh('ls -d /var/lib/vml/fetched-* || true')).stdout, '')
})

test('deltas of a file that was upgraded many times keep one version of it, and each upgrade can be taken back', async () => {
  await using chroot = await openChroot()
  const { install } = await open(chroot)
  const sums: string[] = []
  for (const version of [1, 2, 3]) {
    await install(version)
    sums.push(await sum(chroot))
  }
  assert.equal((await kinds(chroot, 2)).get('/usr/bin/tiny-program'), 'delta')
  assert.equal(
    (await chroot.sh('find /var/lib/vml/pins -links 1 -size +10k | wc -l')).stdout.trim(),
    '0',
    'replaced versions are not kept whole',
  )
  for (const number of [3, 2]) {
    await chroot.vml(['tx', 'undo', String(number)])
    assert.equal(await sum(chroot), sums[number - 2])
  }
  await chroot.vml(['tx', 'redo', '2'])
  assert.equal(await sum(chroot), sums[1])
})

test('a record whose delta stands on a file that was written into says that it is incomplete before the next one is made', async () => {
  await using chroot = await openChroot()
  const { install } = await open(chroot)
  await install(1)
  await install(2)
  assert.deepEqual(
    (await list(chroot)).map(({ complete }) => complete),
    [true, true],
  )
  await chroot.sh('echo more >>/usr/bin/tiny-program')
  const { stderr } = await chroot.vml(['tx', 'run', '--', 'touch', '/etc/later'])
  assert.match(stderr, /#2 is incomplete now: "\/usr\/bin\/tiny-program"/)
  assert.deepEqual(
    (await list(chroot)).map(({ complete }) => complete),
    [true, false, true],
  )
  // Known already, with the change by hand that has no copy of what was there.
  assert.match((await chroot.vml(['tx', 'check'])).stdout, /^4 transactions; 2 incomplete: #2, #3\n$/)
  // The package would be of the old version, and its program of none.
  const undo = await chroot.vml(['tx', 'undo', '2'], { mayFail: true })
  assert.equal(undo.status, 14)
  assert.match(undo.stderr, /Cannot bring "\/usr\/bin\/tiny-program" back, which is a package's own: /)
  assert.match((await chroot.sh('tail -n 1 /usr/bin/tiny-program')).stdout, /more\n$/)
})

test('records over their budget lose pre-images, oldest first, say so in every list, and the space is free', async () => {
  await using chroot = await openChroot()
  await chroot.sh('mkdir -p /etc/vml')
  await chroot.sh('cat >/etc/vml/config.toml', { input: '[transactions]\nbudget = "600K"\n' })
  await chroot.sh('head -c 1500000 /dev/urandom >/etc/first; head -c 300000 /dev/urandom >/etc/second')
  await chroot.vml(['tx', 'run', '--', 'rm', '/etc/second'])
  const { stderr } = await chroot.vml(['tx', 'run', '--', 'rm', '/etc/first'])
  assert.match(stderr, /the pre-images of #1 go/)
  assert.match(stderr, /Records take 1\.\d MiB, more than the budget of 600 KiB: #2 keeps its 1\.4 MiB until/)
  await chroot.sh('echo "10.0.0.1 more" >>/etc/hosts')
  await chroot.vml(['tx', 'watch', '--once'])
  await chroot.vml(['tx', 'check'])
  assert.deepEqual(
    (await list(chroot)).map(({ dropped }) => dropped),
    [true, false],
    'a change by hand takes nothing from the newest',
  )
  await chroot.sh('head -c 300000 /dev/urandom >/etc/third')
  await chroot.vml(['tx', 'run', '--', 'rm', '/etc/third'])
  const all = await list(chroot)
  assert.deepEqual(
    all.map(({ complete, dropped }) => [complete, dropped]),
    [
      [false, true],
      [false, true],
      [true, false],
    ],
  )
  assert.match((await chroot.vml(['tx', 'list'])).stdout, /\[pre-images dropped\]/)
  const stored = await chroot.sh('cat $(find /var/lib/vml/logbook -type f) | wc -c')
  assert.ok(Number(stored.stdout) < 600 * 1024)
  await chroot.vml(['tx', 'undo', String(all.at(-1)?.number)])
  assert.equal((await chroot.sh('wc -c </etc/third')).stdout.trim(), '300000')
  await chroot.vml(['check', '--logbook', '/var/lib/vml/logbook', '--read-data'], {})
})

test('where the list of packages as it was left was dropped for the budget, an undo says so and names no option that would not help', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish({ name: 'joe', version: '1', files: { '/usr/bin/joe': 'joe\n' } })
  await chroot.vml(['tx', 'run', '--', 'apt-get', '-y', 'install', 'joe'])
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'head -c 100000 /dev/urandom >/etc/large'])

  const unmet = await chroot.vml(['tx', 'check', '--budget', '1K', '--yes'], { mayFail: true })
  assert.equal(unmet.status, 3)
  assert.match(
    unmet.stdout,
    /^Records take \S+ KiB, more than the budget of 1\.0 KiB, and \S+ KiB of it, .*: none was dropped for it\./,
  )
  const least = ['--budget', await leastBudget(chroot)]
  const shown = await chroot.vml(['tx', 'check', ...least, '--dry-run'])
  assert.match(shown.stdout, /^Beyond the budget of .*: the pre-images of #1, \S+ KiB, would go\n/)
  const unasked = await chroot.vml(['tx', 'check', ...least], { mayFail: true })
  assert.match(unasked.stderr, /Drop the pre-images of 1 transaction\? .* Nothing was changed\n.*--yes/)
  assert.deepEqual(
    (await list(chroot)).map(({ dropped }) => dropped),
    [false, false],
    'nobody agreed',
  )
  await dropPreImages(chroot)
  await chroot.run(['apt-mark', 'hold', 'joe'])
  for (const also of [[], ['--with-dependents'], ['--keep-needed']]) {
    const refused = await chroot.vml(['tx', 'undo', '1', '--pinned', ...also], { mayFail: true })
    assert.equal(refused.status, 14)
    assert.match(refused.stderr, /Cannot undo #1: "\/var\/lib\/dpkg\/status" .* dropped for the budget/)
    assert.doesNotMatch(refused.stderr, /--/)
  }
})
