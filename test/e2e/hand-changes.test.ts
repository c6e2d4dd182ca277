import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Chroot, openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'

const transactions = async (chroot: Chroot) => {
  const { stdout } = await chroot.vml(['tx', 'list', '--json'])
  const {
    transactions: listed,
  }: {
    transactions: readonly {
      number: number
      title: string
      source: string
      mode: string
      complete: boolean
    }[]
  } = JSON.parse(stdout)
  return listed.toReversed()
}
const titles = async (chroot: Chroot) => (await transactions(chroot)).map(({ title }) => title)
const paths = async (chroot: Chroot, number: number) =>
  (await chroot.vml(['tx', 'show', String(number), '--paths'])).stdout
    .split('\n')
    .filter((line) => /^[M+−] \//.test(line))
const read = async (chroot: Chroot, path: string) => (await chroot.sh(`cat ${path}`)).stdout

const joe = (version: string) => ({
  name: 'joe',
  version,
  files: {
    '/usr/bin/joe': { content: `joe ${version}\n`, mode: 0o755 },
    '/etc/joe.conf': 'a=1\nb=2\nc=3\nd=4\n',
  },
  conffiles: ['/etc/joe.conf'],
})

test('what was edited between two runs of apt is a record of its own, and its undo keeps all later work (E5)', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(joe('1.0'), joe('2.0'))
  await chroot.vml(['tx', 'enable'])
  await chroot.sh('apt-get install -y joe=1.0')
  await chroot.sh(
    `sed -i s/d=4/d=5/ /etc/joe.conf; echo 1.2.3.4 mine >>/etc/hosts; chmod 600 /etc/issue; rm /etc/issue.net
    mkdir /usr/local/tool; echo x >/usr/local/tool/run; ln -s nowhere /etc/link
    echo t >/tmp/t; echo l >/var/log/l; echo h >/root/h; mkdir /var/lib/data; echo d >/var/lib/data/d`,
  )
  await chroot.sh('apt-get install -y joe')
  assert.deepEqual(await titles(chroot), [
    'apt-get install -y joe=1.0',
    'changes by hand: /etc/hosts and 6 more',
    'apt-get install -y joe',
  ])
  // It was made by nobody's transaction, and is not told as one without a stage.
  assert.doesNotMatch((await chroot.vml(['tx', 'list'])).stdout, /live/)
  const { stdout: shown } = await chroot.vml(['tx', 'show', '2'])
  assert.match(shown, /how +by hand, found by comparison/)
  assert.doesNotMatch(shown, /^ +command/m)
  const dry = await chroot.vml(['tx', 'watch', '--once', '--dry-run'], { mayFail: true })
  assert.match(dry.stderr, /with --dry-run.*\n.*it goes with --install, --uninstall, add and rm/)
  assert.match((await chroot.vml(['tx', 'watch', '--help'])).stdout, /--dry-run +with --install/)
  assert.deepEqual(await paths(chroot, 2), [
    'M /etc/hosts',
    'M /etc/issue',
    '− /etc/issue.net',
    'M /etc/joe.conf',
    '+ /etc/link',
    '+ /usr/local/tool',
    '+ /usr/local/tool/run',
  ])
  const [, record] = await transactions(chroot)
  assert.deepEqual([record?.source, record?.mode, record?.complete], ['hand', 'live', true])
  await chroot.sh('sed -i "1i 5.6.7.8 later" /etc/hosts')
  await chroot.vml(['tx', 'undo', '2'])
  const hosts = await read(chroot, '/etc/hosts')
  assert.match(hosts, /^5\.6\.7\.8 later\n/)
  assert.doesNotMatch(hosts, /mine/)
  assert.equal(await read(chroot, '/etc/joe.conf'), 'a=1\nb=2\nc=3\nd=4\n')
  assert.equal(await read(chroot, '/usr/bin/joe'), 'joe 2.0\n')
  const { stdout } = await chroot.sh(
    'stat -c %a /etc/issue; ls -d /etc/issue.net /usr/local/tool /etc/link; true',
  )
  assert.equal(stdout, '644\n/etc/issue.net\n')
  // The line that was put in before the undo is one, too; what VML did itself is none.
  assert.deepEqual((await titles(chroot)).slice(3), [
    'changes by hand: /etc/hosts',
    'undo #2: changes by hand: /etc/hosts and 6 more',
  ])
  assert.match((await chroot.vml(['tx', 'watch', '--once', '--all'])).stderr, /Nothing was changed by hand/)
})

test('what vml tx watch --once did not look at is said, and what nobody looks at while a trial waits', async () => {
  await using chroot = await openChroot()
  await chroot.vml(['tx', 'watch', '--once', '--all'])
  await chroot.vml(['tx', 'watch', '--once', '--all'])
  await chroot.sh('echo x >/usr/local/bin/mine')
  const { stderr } = await chroot.vml(['tx', 'watch', '--once'])
  assert.match(
    stderr,
    /by hand in \/etc, .*\. Programs \(each hour\) .* not looked at: vml tx watch --once --all does/,
  )
  const { stdout } = await chroot.vml(['--json', 'tx', 'watch', '--once'])
  assert.match(stdout, /"outcome":"nothing","looked_at":"configuration"/)
  await chroot.vml(['tx', 'try', '--', 'touch', '/etc/tried'])
  const waits = await chroot.vml(['tx', 'watch', '--once', '--all'])
  assert.match(
    waits.stderr,
    /"touch \/etc\/tried" was tried and waits: until vml tx commit or vml tx discard/,
  )
  // Whatever begins a transaction looks at all.
  assert.deepEqual(await titles(chroot), ['changes by hand: /usr/local/bin/mine'])
})

test("a package's own file that was changed by hand comes back from a package at hand, else only it stays (O1)", async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(joe('1.0'))
  await chroot.vml(['tx', 'watch', '--once'])
  await chroot.sh('apt-get install -y joe')
  assert.match(
    (await chroot.vml(['tx', 'watch', '--once', '--all'])).stdout,
    /^#1: changes by hand: \/etc\/joe\.conf and \d+ more/,
  )
  await chroot.sh('cp /srv/archive/joe_1.0_all.deb /var/cache/apt/archives/; echo bad >/usr/bin/joe')
  await chroot.vml(['tx', 'watch', '--once', '--all'])
  await chroot.sh('rm /var/cache/apt/archives/joe_*')
  await chroot.vml(['tx', 'undo', '2'])
  assert.equal(await read(chroot, '/usr/bin/joe'), 'joe 1.0\n')
  await chroot.sh(
    'mkdir -p /etc/vml /srv/pool; cp /srv/archive/joe_1.0_all.deb /srv/pool; cat >/etc/vml/config.toml',
    {
      input: '[transactions]\npools = ["/srv/pool"]\n',
    },
  )
  await chroot.vml(['tx', 'watch', '--once', '--all'])
  await chroot.sh('echo bad again >/usr/bin/joe')
  assert.match((await chroot.vml(['tx', 'watch', '--once', '--all'])).stdout, /^#5: /)
  await chroot.sh('rm -r /srv/pool')
  await chroot.vml(['tx', 'undo', '5'])
  assert.equal(await read(chroot, '/usr/bin/joe'), 'joe 1.0\n')
  await chroot.sh('echo worse >/usr/bin/joe; echo 1.2.3.4 mine >>/etc/hosts')
  await chroot.vml(['tx', 'watch', '--once', '--all'])
  const undone = await chroot.vml(['tx', 'undo', '7'], { mayFail: true })
  assert.equal(undone.status, 3)
  assert.match(undone.stdout, /\/usr\/bin\/joe: what it was before cannot be had: joe 1\.0 has it/)
  assert.doesNotMatch(await read(chroot, '/etc/hosts'), /mine/)
  assert.equal(await read(chroot, '/usr/bin/joe'), 'worse\n')
})

test('paths that were added are watched from then on, wherever a transaction may reach them (O2)', async () => {
  await using chroot = await openChroot()
  await chroot.sh('mkdir /srv/site; echo one >/srv/site/index')
  await chroot.vml(['tx', 'watch', '--once'])
  const added = await chroot.vml(['tx', 'watch', 'add', '/srv/site'])
  assert.equal(added.stdout, 'Watched from now on: /srv/site\n')
  assert.equal((await chroot.vml(['tx', 'watch', 'list'])).stdout, '/srv/site\n')
  assert.equal((await chroot.vml(['tx', 'watch', 'add', '/run/x'], { mayFail: true })).status, 17)
  await chroot.sh('echo two >/srv/site/index; echo new >/srv/site/new; echo other >/srv/other')
  await chroot.vml(['tx', 'watch', '--once'])
  assert.deepEqual(await paths(chroot, 1), ['M /srv/site/index', '+ /srv/site/new'])
  await chroot.vml(['tx', 'undo', '1'])
  assert.equal((await chroot.sh('ls /srv/site; cat /srv/site/index')).stdout, 'index\none\n')
  await chroot.vml(['tx', 'watch', 'rm', '/srv/site'])
  // A slip of the keys is told; what is made there later is a change all the same.
  for (const [also, says] of [
    [['--dry-run'], 'stderr'],
    [[], 'stdout'],
  ] as const) {
    const later = await chroot.vml(['tx', 'watch', 'add', '/srv/site', '/srv/later', ...also])
    assert.match(later[says], /\/srv\/later \(nothing is there yet\)\n$/)
    assert.doesNotMatch(later[says], /site \(/)
  }
  await chroot.vml(['tx', 'watch', 'rm', '/srv/site'])
  await chroot.sh('mkdir /srv/later; echo new >/srv/later/new')
  await chroot.vml(['tx', 'watch', '--once'])
  assert.deepEqual(await paths(chroot, 3), ['+ /srv/later', '+ /srv/later/new'])
  await chroot.vml(['tx', 'watch', 'rm', '/srv/later'])
  await chroot.sh('echo three >/srv/site/index')
  assert.match((await chroot.vml(['tx', 'watch', '--once', '--all'])).stderr, /Nothing was changed by hand/)

  // Nor is VML's own code, which it keeps in homes alone, and writes there though it runs in a stage.
  const outside = 'unset NODE_COMPILE_CACHE; vml --version; HOME=/ vml --version; HOME=/nonexistent vml'
  await chroot.sh(`${outside} tx run -- sh -c 'export HOME=/root; vml tx pin --help; touch /etc/new'`)
  assert.equal((await chroot.sh('ls /root/.cache/vml; ls -d /.cache /nonexistent; true')).stdout, 'code\n')
  assert.deepEqual(await paths(chroot, 4), ['+ /etc/new'])
  await chroot.sh('echo by-hand >/etc/quiet')
  const quiet = await chroot.vml(['--quiet', 'tx', 'watch', '--once', '--all'])
  assert.deepEqual([quiet.stdout, quiet.stderr], ['', ''], 'cron would mail it')
  assert.match((await chroot.vml(['tx', 'list'])).stdout, /^#\d+ .*\/etc\/quiet/)
  await chroot.vml(['tx', 'watch', '--install'])
  assert.match((await chroot.vml(['tx', 'watch', '--uninstall'])).stdout, /^remove .*vml-watch\n$/)
  const again = await chroot.vml(['tx', 'watch', '--uninstall'])
  assert.deepEqual([again.stdout, again.stderr], ['', 'No timer was installed: nothing was changed\n'])
})

test('changes by hand are found at names of any bytes, and are taken back', async () => {
  await using chroot = await openChroot()
  await chroot.sh(`echo one >/etc/größe; mkdir "$(printf '/opt/latin\\351')"`)
  await chroot.vml(['tx', 'enable'])
  await chroot.sh('echo two >/etc/größe; mkdir /opt/größe; vml tx watch --once')
  await chroot.sh(`vml tx run -- sh -c "mkdir -p '/opt/tür/$(printf 'latin\\351')'"; vml tx watch --once`)
  assert.equal((await titles(chroot)).length, 2)
  assert.deepEqual(await paths(chroot, 1), ['M /etc/größe', '+ /opt/größe'])
  await chroot.vml(['tx', 'undo', '1'])
  assert.equal(await read(chroot, '/etc/größe'), 'one\n')
})

test('where what is kept is gone, it is told and kept anew: only what was changed until then cannot be had', async () => {
  await using chroot = await openChroot()
  await chroot.sh('echo one >/etc/first; echo one >/etc/second; echo one >/etc/third')
  await chroot.vml(['tx', 'enable'])
  await chroot.sh('rm /var/lib/vml/baseline; echo two >/etc/first')
  const told = await chroot.vml(['tx', 'watch', '--once', '--all'])
  assert.match(told.stderr, /What is kept of the system to take back changes by hand is gone/)
  await chroot.sh('echo two >/etc/second')
  await chroot.vml(['tx', 'watch', '--once', '--all'])
  assert.deepEqual(
    (await transactions(chroot)).map(({ complete }) => complete),
    [false, true],
  )
  await chroot.sh('echo damage >/var/lib/vml/baseline; echo two >/etc/third')
  await chroot.vml(['tx', 'run', '--', 'rm', '/etc/first'])
  await chroot.vml(['tx', 'undo', '2'])
  assert.equal(await read(chroot, '/etc/second'), 'one\n')
})

test('a folder deeper than any call reaches keeps nothing else from being recorded', async () => {
  await using chroot = await openChroot()
  await chroot.vml(['tx', 'enable'])
  await chroot.sh(
    `cd /usr/local; name=$(printf 'x%.0s' $(seq 250))
    for depth in $(seq 16); do mkdir $name && cd -P $name || exit; done
    name=$(printf 'y%.0s' $(seq 60)); mkdir $name && cd -P $name; echo deep >${'z'.repeat(100)}
    echo two >/etc/issue`,
  )
  const told = await chroot.vml(['tx', 'watch', '--once', '--all'])
  assert.match(told.stderr, /z" cannot be recorded as changed by hand: longer than the 4095 bytes/)
  assert.ok((await paths(chroot, 1)).includes('M /etc/issue'))

  // Just after a look at all, programs are not due: it says what it has not seen.
  await chroot.sh('echo tool >/usr/bin/tool')
  const some = await chroot.vml(['tx', 'watch', '--once', '--json'])
  assert.match(some.stdout, /"outcome":"nothing","looked_at":"configuration"/)
  const { stderr } = await chroot.vml(['tx', 'watch', '--once'])
  assert.match(
    stderr,
    /^Nothing was changed by hand in \/etc, .*Programs .* not looked at: vml tx watch --once --all does$/m,
  )
})

test('a program that was changed by hand and cannot be had again: no way is offered that needs it, and one that does not is not refused', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(joe('1.0'))
  await chroot.vml(['tx', 'enable'])
  await chroot.sh('apt-get install -y joe')
  await chroot.sh('echo x >>/usr/bin/joe')
  const failed = { mayFail: true }
  assert.equal((await chroot.vml(['tx', 'undo', '1'], failed)).status, 3)
  await chroot.sh('apt-get install -y joe')
  await chroot.sh('apt-get purge -y joe')
  assert.equal((await transactions(chroot))[1]?.complete, false)
  const alone = await chroot.vml(['tx', 'undo', '2'], failed)
  assert.equal(alone.status, 14)
  assert.doesNotMatch(alone.stderr, /can be done|--to-before/)
  // The package would come back without it.
  for (const also of [['--dry-run'], []]) {
    const half = await chroot.vml(['tx', 'undo', '--to-before', '2', ...also], failed)
    assert.match(
      half.stderr,
      /^vml: Cannot get "\/usr\/bin\/joe" as it was before #2: .*\n +Nothing was changed/,
    )
  }
  const whole = await chroot.vml(['tx', 'undo', '--to-before', '1'])
  assert.doesNotMatch(whole.stdout, /stays/)
  assert.equal((await chroot.sh('ls /usr/bin/joe /etc/joe.conf', failed)).stdout, '')
})

test("VML's own folder is known by what it is: at a second path it is no change by hand, and no undo takes it away (F8)", async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(joe('1.0'), joe('2.0'))
  const failed = { mayFail: true }
  const numbers = async () => (await transactions(chroot)).map(({ number }) => number)
  await chroot.vml(['tx', 'enable'])
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/one'])

  // A copy, known as changed by hand, becomes the folder itself: so would a record of an older VML be of it.
  await chroot.sh(
    'mkdir /data; cp -a /var/lib/vml /data/vml; rm /data/vml/recovery-key /data/vml/logbook/config; echo mine >/etc/mine',
  )
  await chroot.vml(['tx', 'watch', '--once', '--all'])
  assert.ok((await paths(chroot, 2)).includes('+ /data/vml/logbook/snapshots'))
  await chroot.sh('cp -a /var/lib/vml/. /data/vml; mount --bind /data/vml /var/lib/vml')
  assert.match((await chroot.vml(['tx', 'watch', '--once', '--all'])).stderr, /Nothing was changed by hand/)
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/two'])
  await chroot.vml(['tx', 'run', '--live', '--', 'touch', '/etc/three'])
  assert.deepEqual(await numbers(), [1, 2, 3, 4])
  assert.deepEqual(await paths(chroot, 4), ['+ /etc/three'])

  // In the stage both are empty, and cannot go.
  const { stdout: seen } = await chroot.vml(
    ['tx', 'run', '--', 'sh', '-c', 'ls /data/vml; rm -rf /data'],
    failed,
  )
  assert.equal(seen, '')
  // Where it is to be mounted and is not, no new one is begun in the empty folder.
  await chroot.sh(
    'umount /var/lib/vml; mv /var/lib/vml /data/under; mkdir /var/lib/vml; echo /data/vml /var/lib/vml none bind 0 0 >>/etc/fstab',
  )
  const away = await chroot.vml(['tx', 'run', '--', 'touch', '/etc/none'], failed)
  assert.match(away.stderr, /"\/var\/lib\/vml", which is not mounted\n.*Nothing was changed/)
  await chroot.sh('mount --bind /data/vml /var/lib/vml; sed -i /vml/d /etc/fstab')
  const taken = await chroot.vml(['tx', 'undo', '2'], failed)
  assert.match(
    taken.stdout,
    /stays +\/data\/vml: it is VML's own, with all records in it: \d+ paths left alone/,
  )
  assert.match(taken.stdout, /1 path stayed as it is/)
  assert.equal((await chroot.sh('cat /etc/mine', failed)).status, 1)
  assert.deepEqual(await numbers(), [1, 2, 3, 4, 5])
  await chroot.vml(['tx', 'undo', '--to-before', '3'])
  assert.equal((await chroot.sh('ls /etc/two /etc/three 2>/dev/null', failed)).stdout, '')
  await chroot.vml(['check', '--logbook', '/var/lib/vml/logbook', '--read-data'])

  // A logbook of anybody's is no change by hand either: later snapshots stand on what each save brings.
  const save = 'vml save here --only /opt --logbook /data/saves --password-file /root/pw'
  await chroot.sh(`echo long enough >/root/pw; echo 1 >/opt/1; vml machine add here local:
    vml init /data/saves --password-file /root/pw && ${save} && echo 9.9.9.9 nine >>/etc/hosts
    cp -a /var/lib/vml /data/copy`)
  const saves = (await numbers()).length + 1
  await chroot.vml(['tx', 'watch', '--once', '--all'])
  assert.deepEqual(await paths(chroot, saves), ['M /etc/hosts', '+ /opt/1'])
  await chroot.vml(['tx', 'undo', String(saves)])
  assert.equal((await chroot.vml(['tx', 'watch', 'add', '/data/saves/data'], failed)).status, 17)
  await chroot.vml([
    'tx',
    'run',
    '--',
    'sh',
    '-c',
    'echo >/etc/x; echo >/data/saves/x; rm /data/saves/snapshots/*',
  ])
  const partly = await chroot.vml(['tx', 'undo', String(saves + 2)], failed)
  assert.match(
    partly.stdout,
    /stays +\/data\/saves: it is a logbook, which only stands as a whole: 1 path left alone/,
  )
  const { stdout: left } = await chroot.sh('ls -d /etc/x /data/saves/x 2>/dev/null', failed)
  assert.equal(left, '/data/saves/x\n')
  await chroot.sh('rm /data/saves/x; vml check --read-data --logbook /data/saves --password-file /root/pw')

  // The logbook alone, on another disk: by a link, and by a mount.
  await chroot.sh(
    'umount /var/lib/vml && rm -r /var/lib/vml && mv /data/vml /var/lib && mv /var/lib/vml/logbook /data/',
  )
  await chroot.sh('ln -s /data/logbook /var/lib/vml/logbook')
  const before = (await numbers()).length
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/four'])
  await chroot.sh(
    'rm /var/lib/vml/logbook; mkdir /var/lib/vml/logbook; mount --bind /data/logbook /var/lib/vml/logbook',
  )
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/five'])
  assert.match((await chroot.vml(['tx', 'watch', '--once', '--all'])).stderr, /Nothing was changed by hand/)
  assert.equal((await numbers()).length, before + 2)

  // A link to the whole of it is refused before anything runs, and apt goes on and says so.
  await chroot.sh('umount /var/lib/vml/logbook; rmdir /var/lib/vml/logbook; mv /data/logbook /var/lib/vml/')
  await chroot.sh('mv /var/lib/vml /data/vml; ln -s /data/vml /var/lib/vml')
  for (const words of [
    ['run', '--', 'touch', '/etc/six'],
    ['undo', '1'],
    ['watch', '--once'],
  ]) {
    const refused = await chroot.vml(['tx', ...words], failed)
    assert.equal(refused.status, 17)
    assert.match(refused.stderr, /"\/var\/lib\/vml" is a link, to "\/data\/vml"\n.*Nothing was changed/)
  }
  const installed = await chroot.sh('apt-get install -y joe')
  assert.match(installed.stdout + installed.stderr, /is a link, to "\/data\/vml"[^]*not recorded/)
  assert.equal(await read(chroot, '/usr/bin/joe'), 'joe 2.0\n')
  assert.equal((await chroot.sh('ls /etc/one /etc/six 2>/dev/null', failed)).stdout, '/etc/one\n')
  assert.equal((await numbers()).length, before + 2)

  // Where a wider mount would name changes of the system, no rule would know them: dpkg's lists would go with an undo, and its status stay.
  await chroot.sh(
    'rm /var/lib/vml && mv /data/vml /var/lib/ && mv /var /data/ && mkdir /var && mount --bind /data/var /var',
  )
  const bound = await chroot.vml(['tx', 'run', '--', 'touch', '/etc/six'], failed)
  assert.equal(bound.status, 17)
  assert.match(bound.stderr, /"\/var" and "\/data\/var" are the same folder/)
  await chroot.sh('umount /var && rmdir /var && ln -s data/var /var')
  const linked = await chroot.vml(['tx', 'undo', '1'], failed)
  assert.equal(linked.status, 17)
  assert.match(linked.stderr, /"\/var" is a link, to "\/data\/var"/)
  assert.equal((await chroot.sh('ls /etc/one /etc/six 2>/dev/null', failed)).stdout, '/etc/one\n')
})

test('on a full disk a look that says that it recorded nothing did not, wherever the room ends, and with room there is one record', async () => {
  await using chroot = await openChroot()
  await chroot.vml(['tx', 'enable'])
  await chroot.sh(
    `mkdir /run/copy; cp -a /var/lib/vml/. /run/copy; mount -t tmpfs -o size=32m tmpfs /var/lib/vml
    cp -a /run/copy/. /var/lib/vml; rm -r /run/copy`,
  )
  const look = ['tx', 'watch', '--once', '--all']
  const known = await chroot.sh('stat -c %s /var/lib/vml/baseline /var/lib/vml/index')
  const pages = known.stdout
    .trim()
    .split('\n')
    .reduce((sum, size) => sum + Math.ceil(Number(size) / pageBytes), 0)
  const refused = async () => {
    const { status, stderr } = await chroot.vml(look, { mayFail: true })
    if (status === 0) return false
    assert.equal(status, 31)
    assert.match(
      stderr,
      /Cannot record changes made by hand[^]*Nothing was changed, and they are found again/,
    )
    return true
  }
  // For a record, and not for what is known beside it; for that, and not for a record.
  for (const free of [pages / 2, pages + 1, pages + 4]) {
    await chroot.sh(
      `echo ${free} >/etc/made-${free}; rm -f /var/lib/vml/fill
      dd if=/dev/zero of=/var/lib/vml/fill bs=${pageBytes} status=none
      truncate -s -${Math.floor(free) * pageBytes} /var/lib/vml/fill`,
      { mayFail: true },
    )
    assert.ok(await refused())
    assert.deepEqual(await titles(chroot), [])
  }
  await chroot.sh('rm /var/lib/vml/fill')
  assert.ok(!(await refused()))
  assert.ok(!(await refused()))
  assert.equal((await titles(chroot)).length, 1)
  assert.equal((await chroot.sh('find /var/lib/vml -name "*.tmp"')).stdout, '')
})

/** Of a tmpfs. */
const pageBytes = 4096
