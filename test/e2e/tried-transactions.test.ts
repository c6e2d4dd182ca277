import assert from 'node:assert/strict'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Chroot, openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import { compareTrees, renderComparison } from '../tree-compare.ts'
import { readTree } from '../tree-read.ts'
import { regenerated } from '../tree-rules.ts'

const failed = { mayFail: true }
let plain: Chroot | undefined
after(async () => await plain?.[Symbol.asyncDispose]())

/** One for all that install no package: VML has recorded nothing of it yet. */
async function plainMachine(): Promise<Chroot> {
  plain ??= await openChroot()
  await plain.sh('rm -rf /var/lib/vml /etc/vml')
  return plain
}

const tool = (version: string, fields: Readonly<Record<string, string>> = {}) => ({
  name: 'tool',
  version,
  fields,
  files: { '/usr/bin/tool': `${version}\n`, '/etc/tool.conf': `version=${version}\nsame=yes\n` },
  conffiles: ['/etc/tool.conf'],
})

test('C03, L5: what was tried changes nothing, is shown by meaning, and is committed exactly', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(tool('1'), tool('2'))
  await chroot.run(['apt-get', '-y', '-q', 'install', 'tool=1'])
  await chroot.vml(['tx', 'run', '--', 'true'])
  const before = readTree(chroot.path)

  const tried = await chroot.vml(['tx', 'try', '--', 'apt-get', '-y', '-qq', 'install', 'tool'])
  assert.match(tried.stdout, /tool:all +1 → 2 +upgraded/)
  assert.match(tried.stdout, /M \/etc\/tool\.conf\n +-version=1\n +\+version=2\n/)
  assert.match(tried.stdout, /needs about .* free/)
  assert.match(tried.stdout, /passed: dpkg --audit, packages that others need/)
  assert.match(tried.stdout, /vml tx commit.*vml tx discard/)
  assert.equal(differences(chroot, before), '')

  const refused = await chroot.vml(['tx', 'run', '--', 'true'], { mayFail: true })
  assert.equal(refused.status, 11)
  assert.match(refused.stderr, /vml tx commit, vml tx discard/)

  const committed = await chroot.vml(['tx', 'commit', '--json'])
  const { number, packages, validations } = documentOf(committed)
  assert.equal(packages[0].to, '2')
  assert.ok(validations.length > 0)
  assert.equal(read(chroot, 'etc/tool.conf'), 'version=2\nsame=yes\n')
  assert.equal((await chroot.vml(['tx', 'commit'], { mayFail: true })).status, 4)
  assert.ok(documentOf(await chroot.vml(['tx', 'undo', String(number), '--json'])).number > number)
  assert.equal(documentOf(await chroot.vml(['tx', 'recover', '--json'])).outcome, 'nothing')
  assert.equal(read(chroot, 'etc/tool.conf'), 'version=1\nsame=yes\n')
})

test('C03, U2: what was tried is thrown away when asked, at once with --discard, and by a run of apt', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(tool('1'))
  await chroot.vml(['tx', 'enable'])
  const write = ['sh', '-c', 'echo tried >/etc/tried']
  const before = readTree(chroot.path)
  await chroot.vml(['tx', 'try', '--discard', '--', ...write])
  const gone = await chroot.vml(['tx', 'try', '--discard', '--', 'rm', '/usr/bin/who'])
  assert.match(gone.stdout, /− \/usr\/bin\/who\n/)
  await chroot.vml(['tx', 'try', '--', ...write])
  await chroot.vml(['tx', 'discard'])
  assert.equal(differences(chroot, before), '')
  assert.equal((await chroot.vml(['tx', 'discard'], { mayFail: true })).status, 4)

  await chroot.vml(['tx', 'try', '--', ...write])
  const { stderr } = await chroot.run(['apt-get', '-y', '-q', 'install', 'tool'])
  assert.match(stderr, /"sh -c .*", which was tried and waited for its commit, is thrown away/)
  assert.equal(read(chroot, 'usr/bin/tool'), '1\n')
  assert.ok(!existsSync(join(chroot.path, 'etc/tried')))
  assert.equal((await chroot.vml(['tx', 'commit'], { mayFail: true })).status, 4)

  // A9: apt had nothing to do.
  await chroot.run(['apt-get', '-y', '-q', 'install', 'tool'])
  assert.deepEqual(await numbers(chroot), [1])
})

test('a cache that apt made anew meanwhile stays as it is, and keeps nobody from the commit', async () => {
  const chroot = await plainMachine()
  const cache = '/var/cache/apt/pkgcache.bin'
  await chroot.sh(`mkdir -p /var/cache/apt; echo first >${cache}`)
  await chroot.vml(['tx', 'try', '--', 'sh', '-c', `echo staged >${cache}; echo 9 >/etc/other`])
  await chroot.sh(`echo newer >${cache}`)
  await chroot.vml(['tx', 'commit'])
  assert.equal((await chroot.sh(`cat ${cache} /etc/other`)).stdout, 'newer\n9\n')
})

test('what a trial writes where no stage holds it is told, and not called unchanged', async () => {
  const chroot = await plainMachine()
  const line = 'echo 4 >/etc/calibration; echo done >/tmp/out; echo done >/var/log/out'
  const tried = await chroot.vml(['tx', 'try', '--', 'sh', '-c', line])
  assert.match(tried.stdout, /\+ \/etc\/calibration\n/)
  assert.match(tried.stdout, /and not thrown away: \/tmp\/out, \/var\/log\/out\nNothing else was changed/)
  const thrown = await chroot.vml(['tx', 'discard'])
  assert.doesNotMatch(thrown.stdout, /Nothing was changed/)
  assert.ok(existsSync(join(chroot.path, 'tmp/out')))
  const quiet = await chroot.vml(['tx', 'try', '--discard', '--', 'touch', '/etc/calibration'])
  assert.doesNotMatch(quiet.stdout, /Written at once/)
  assert.match(quiet.stdout, /Nothing was changed, and it is thrown away/)
})

test('what a command takes out of folders that no stage holds comes back with whatever throws its stage away, and is told where it is committed', async () => {
  const chroot = await plainMachine()
  const text = async (path: string) => (await chroot.sh(`cat ${path}`)).stdout
  // Where VML's folder lies, and on a file system of its own.
  for (const mount of [':', 'mount -t tmpfs none /tmp']) {
    await chroot.sh(`${mount}; echo mine >/tmp/up; mkdir -p /var/log/app; echo old >/var/log/app/log`)
    const tried = await chroot.vml(['tx', 'try', '--', 'mv', '/tmp/up', '/srv/up'])
    assert.match(tried.stdout, /at once, by it or by others: \/tmp\/up\. .*\nNothing else was changed/)
    const thrown = await chroot.vml(['tx', 'discard'])
    assert.match(thrown.stderr, /"\/tmp\/up": removed meanwhile, or moved into the stage, and put back/)
    assert.equal(await text('/tmp/up'), 'mine\n')
    await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'mv /tmp/up /srv; rm -r /var/log/app; false'], failed)
    assert.equal((await text('/tmp/up')) + (await text('/var/log/app/log')), 'mine\nold\n')
    // A rotation: the only copy is in the stage. What a program has replaced by a newer one, as apt does with a log of its own, is nobody's loss.
    const rotating =
      'echo new >/tmp/.new; mv /tmp/.new /tmp/state; mv /var/log/app/log /srv/old; : >/var/log/app/log; false'
    await chroot.sh('echo state >/tmp/state')
    const { stderr: rotated } = await chroot.vml(['tx', 'run', '--', 'sh', '-c', rotating], failed)
    assert.match(rotated, /^warning: "\/var\/log\/app\/log": removed meanwhile, .* and not put back/m)
    const kept = /It is kept as "([^"]+)"/.exec(rotated)?.[1] ?? ''
    assert.equal(await text(kept), 'old\n')
    await chroot.sh(`mv ${kept} /var/log/app/log; rm -r /var/lib/vml/held-* /tmp/state`)
    await chroot.sh(`vml tx run -- sh -c 'mv /tmp/up /srv; touch /run/moved; sleep 60' >/dev/null 2>&1 &
      until [ -e /run/moved ]; do sleep 0.1; done; kill -9 $!; rm /run/moved`)
    assert.match((await chroot.vml(['tx', 'recover'])).stderr, /"\/tmp\/up".* put back/)
    assert.equal(await text('/tmp/up'), 'mine\n')
    assert.equal(
      (await chroot.sh('ls -A /tmp | grep vml-held || true; ls /srv | grep up || true')).stdout,
      '',
    )
  }

  // What is mounted there is held by itself, and named where it has no second names.
  await chroot.sh(`mkdir /tmp/disk; mount -t tmpfs none /tmp/disk; mkdir /tmp/disk/in /tmp/none
    mount -t tmpfs none /tmp/disk/in; mount -t ramfs none /tmp/none; echo a >/tmp/disk/a; echo b >/tmp/disk/in/b`)
  const mounted = await chroot.vml(
    ['tx', 'run', '--', 'sh', '-c', 'mv /tmp/disk/a /tmp/disk/in/b /srv; ls /srv/a /srv/b; false'],
    failed,
  )
  assert.equal(mounted.stdout, '/srv/a\n/srv/b\n')
  assert.match(
    mounted.stderr,
    /Not all that lies in \/tmp\/none \(it is another file system, ramfs\) can be held/,
  )
  assert.match(mounted.stderr, /"\/tmp\/disk\/a", "\/tmp\/disk\/in\/b": .* put back/)
  const back = await chroot.sh(
    'ls /srv/a /srv/b 2>/dev/null; ls -A /tmp/disk /tmp/disk/in; umount /tmp/disk/in /tmp/disk /tmp/none',
  )
  assert.equal(back.stdout, '/tmp/disk:\na\nin\n\n/tmp/disk/in:\nb\n')

  await chroot.sh('echo 1 >/etc/c')
  const overtake = 'touch /run/go; until [ -e /run/went ]; do sleep 0.1; done'
  const { stderr: refused } = await chroot.sh(
    `{ until [ -e /run/go ]; do sleep 0.1; done; echo mine >>/etc/c; touch /run/went; } >/dev/null 2>&1 &
    vml tx run -- sh -c 'mv /tmp/up /srv/up; echo 2 >>/etc/c; ${overtake}' </dev/null`,
    failed,
  )
  assert.match(refused, /not run once more by itself/)
  assert.equal((await text('/tmp/up')) + (await text('/etc/c')), 'mine\n1\nmine\n')

  const made = await chroot.vml(['tx', 'run', '--', 'mv', '/tmp/up', '/srv/up'])
  assert.match(made.stderr, /Not kept: "\/tmp\/up" was removed meanwhile, or moved away/)
  const number = /^#(\d+):/m.exec(made.stderr + made.stdout)?.[1] ?? ''
  const { not_kept: gone } = JSON.parse((await chroot.vml(['tx', 'show', number, '--json'])).stdout)
  assert.deepEqual(gone, [{ path: '/tmp/up', reason: gone[0]?.reason }])
  const undone = await chroot.vml(['tx', 'undo', number])
  assert.match(undone.stdout + undone.stderr, /1 path not kept then, and as now: \/tmp\/up\n/)
  await chroot.sh('umount /tmp')
})

test('a folder of logs that a package removes with itself is there again where that failed, and after an undo', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const postrm = 'if [ "$1" = purge ]; then rm -rf /var/log/named; [ ! -e /etc/fail ] || exit 1; fi'
  const files = { '/usr/sbin/named': '1\n', '/var/log/named': { folderMode: 0o2775 } }
  await archive.publish({ name: 'named', version: '1', files, scripts: { postrm } })
  await chroot.run(['apt-get', '-y', '-q', 'install', 'named'])
  const folder = async () => (await chroot.sh('stat -c "%a %U" /var/log/named; ls /var/log/named')).stdout
  await chroot.sh('touch /etc/fail; echo mine >/var/log/named/l')
  const purge = ['apt-get', '-y', '-qq', 'purge', 'named']
  const cut = await chroot.vml(['tx', 'try', '--', ...purge], failed)
  assert.match(cut.stderr, /"\/var\/log\/named": .* put back/)
  assert.equal(await folder(), '2775 root\nl\n')
  await chroot.sh('rm /etc/fail')
  const made = await chroot.vml(['tx', 'run', '--', ...purge])
  assert.match(made.stderr, /Not kept: "\/var\/log\/named".* come back empty/)
  const number = /^#(\d+):/m.exec(made.stderr + made.stdout)?.[1] ?? ''
  const undone = await chroot.vml(['tx', 'undo', number])
  assert.match(undone.stdout + undone.stderr, /dpkg --verify ok/)
  assert.equal(await folder(), '2775 root\n')
})

test('C03: what was changed below what was tried is never overwritten by its commit', async () => {
  const chroot = await plainMachine()
  await chroot.sh('echo one >/etc/shared; echo one >/etc/other')
  await chroot.vml(['tx', 'try', '--', 'sh', '-c', 'echo tried >/etc/shared; echo tried >/etc/other'])
  await chroot.sh('echo mine >/etc/other')
  const refused = await chroot.vml(['tx', 'commit'], { mayFail: true })
  assert.equal(refused.status, 14)
  assert.match(refused.stderr, /\/etc\/other was changed on the machine meanwhile/)
  assert.match(refused.stderr, /vml tx discard, and try it again/)
  assert.deepEqual([read(chroot, 'etc/shared'), read(chroot, 'etc/other')], ['one\n', 'mine\n'])
  await chroot.vml(['tx', 'discard'])

  // As after a start of the machine: the layers of before may not be whole.
  await chroot.vml(['tx', 'try', '--', 'sh', '-c', 'echo tried >/etc/shared'])
  await chroot.sh('sed -i \'s/"boot":"[^"]*"/"boot":"another"/\' /var/lib/vml/stage/open/waiting.json')
  const { stderr } = await chroot.vml(['tx', 'commit'], { mayFail: true })
  assert.match(stderr, /was tried before the machine was started anew, and is thrown away/)
  assert.equal(read(chroot, 'etc/shared'), 'one\n')
  assert.equal(existsSync(join(chroot.path, 'var/lib/vml/stage/open')), false)
})

test('C02: libraries and provisions that others need and nobody offers any more are found before the commit', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const user = { name: 'user', version: '1', fields: { Depends: 'service' } }
  await archive.publish(tool('1', { Provides: 'service' }), user)
  await chroot.run(['apt-get', '-y', '-q', 'install', 'user'])
  const [next = ''] = await archive.publish(tool('2'))
  const install = ['dpkg', '--force-depends', '-i', `/srv/archive/${next}`]
  const strict = await chroot.vml(['tx', 'run', '--strict', '--', ...install], { mayFail: true })
  assert.equal(strict.status, 15)
  assert.match(strict.stderr, /user needs service, which tool 1 offered/)
  assert.equal(read(chroot, 'usr/bin/tool'), '1\n')

  const gone = 'cd /usr/lib/*-linux-gnu && mv libselinux.so.1 elsewhere'
  const libraries = await chroot.vml(['tx', 'try', '--discard', '--json', '--', 'sh', '-c', gone])
  const { validations } = documentOf(libraries)
  const [check] = validations.filter(({ name }: { name: string }) => name === 'shared libraries')
  assert.equal(check.outcome, 'failed')
  assert.match(check.message, /libselinux\.so\.1 would be nowhere, and \/\S+ and \d+ more need it/)

  const brought = 'cp /usr/bin/ls /usr/bin/ls-too; echo x >/etc/x'
  const passed = await chroot.vml(['tx', 'try', '--discard', '--', 'sh', '-c', brought])
  assert.match(passed.stdout, /passed: shared libraries/)
})

test("C03: root's own checks decide and leave nothing behind; those that others may write are not run", async () => {
  const chroot = await plainMachine()
  await chroot.sh(
    'install -d /etc/vml/checks.d && cat >/etc/vml/checks.d/no-bad && chmod 755 /etc/vml/checks.d/*',
    {
      input:
        '#!/bin/sh\necho left >/etc/left; echo left >/run/left; echo left >/var/log/left\nls /var/lib/vml\n! grep bad /etc/value\n',
    },
  )
  const bad = await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'echo bad >/etc/value'])
  assert.match(bad.stderr, /check no-bad failed: inside; bad$/m)
  const strict = await chroot.vml(['tx', 'run', '--strict', '--', 'sh', '-c', 'echo bad2 >/etc/value'], {
    mayFail: true,
  })
  assert.equal(strict.status, 15)
  assert.match(strict.stderr, /check no-bad failed: inside; bad2 \(it fails on the machine as it is, too\)/)
  assert.equal(read(chroot, 'etc/value'), 'bad\n')
  const good = await chroot.vml([
    'tx',
    'run',
    '--strict',
    '--json',
    '--',
    'sh',
    '-c',
    'echo good >/etc/value',
  ])
  assert.equal(documentOf(good).number, 2)
  for (const left of ['etc/left', 'run/left', 'var/log/left']) assert.ok(!existsSync(join(chroot.path, left)))
  await chroot.sh('chmod 777 /etc/vml/checks.d/no-bad')
  const refused = await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'echo bad3 >/etc/value'])
  assert.match(refused.stderr, /check no-bad was not run: others than root may write it/)
})

test('C03: a program is asked about a change of its files, and what it says is bounded; nothing is committed with --strict', async () => {
  await using chroot = await openChroot()
  await chroot.sh('mkdir /etc/nginx; cat >/usr/sbin/nginx; chmod 755 /usr/sbin/nginx', {
    input: `#!/bin/sh
[ "$*" = '-t -q' ] && grep -q bad /etc/nginx/nginx.conf || exit 0
echo 'unknown directive "bad"' >&2
yes 'and so on' | head -c 1000000 >&2
exit 1
`,
  })
  const write = (what: string) => ['--', 'sh', '-c', `echo ${what} >/etc/nginx/nginx.conf`]
  const good = await chroot.vml(['tx', 'try', '--strict', '--discard', ...write('good')])
  assert.match(good.stdout, /^ {2}passed: nginx -t$/m)
  const bad = await chroot.vml(['tx', 'try', '--strict', ...write('bad')], { mayFail: true })
  assert.equal(bad.status, 15)
  assert.match(bad.stderr, /nginx -t failed: unknown directive "bad"; and so on; /)
  assert.ok(bad.stderr.length < 8192, `${bad.stderr.length} characters`)
  assert.equal((await chroot.vml(['tx', 'commit'], { mayFail: true })).status, 4)
  assert.ok(!existsSync(join(chroot.path, 'etc/nginx/nginx.conf')))
})

test('A4: where there is no room for a commit or an undo, nothing is changed and the need is told', async () => {
  const chroot = await plainMachine()
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'head -c 40000000 /dev/urandom >/etc/large'])
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'rm /etc/large'])
  const dry = await chroot.vml(['tx', 'undo', '2', '--dry-run'])
  assert.match(dry.stdout, /needs about .* where \/var\/lib\/vml lies, with .* free/)
  await chroot.sh('free=$(df -k --output=avail / | tail -n 1); fallocate -l $((free - 12000))k /fill')
  const run = await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'echo x >/etc/x'], { mayFail: true })
  assert.equal(run.status, 31)
  assert.match(run.stderr, /Cannot commit the transaction: it needs [\d.]+ MiB .* and [\d.]+ [KM]iB are free/)
  const short = await chroot.vml(['tx', 'undo', '2', '--dry-run'], { mayFail: true })
  assert.match(short.stdout, /lies, with .* free: too little, it would be refused\n/)
  const undo = await chroot.vml(['tx', 'undo', '2'], { mayFail: true })
  assert.deepEqual([short.status, undo.status], [31, 31])
  assert.match(short.stderr, /^vml: Cannot undo it: it needs .* are free\n {5}Nothing was changed/m)
  for (const path of ['etc/x', 'etc/large']) assert.ok(!existsSync(join(chroot.path, path)))
  rmSync(join(chroot.path, 'fill'))
  await chroot.vml(['tx', 'undo', '2'])
  assert.ok(existsSync(join(chroot.path, 'etc/large')))
})

/** Lines that tell of progress, each an object, and the summary as the last of them. */
function documentOf({ stdout }: { readonly stdout: string }) {
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  for (const { message_type: type } of lines.slice(0, -1)) assert.match(type, /^(?:status|error)$/)
  const summary = lines.at(-1)
  assert.deepEqual([summary.message_type, summary.schema], ['summary', 1])
  return summary
}

function read(chroot: Chroot, path: string): string {
  return readFileSync(join(chroot.path, path), 'utf8')
}

/** Of everything but VML's own folder, logs and caches. */
function differences(chroot: Chroot, before: ReturnType<typeof readTree>): string {
  return renderComparison(compareTrees(before, readTree(chroot.path), { allowed: regenerated }))
}

async function numbers(chroot: Chroot): Promise<number[]> {
  const { stdout } = await chroot.vml(['tx', 'list', '--json'])
  const { transactions }: { transactions: readonly { number: number }[] } = JSON.parse(stdout)
  return transactions.map(({ number }) => number)
}
