import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import { transactionsOf } from '../transaction-bed.ts'

const failed = { mayFail: true }

test('what lies on a file system that is not mounted is not taken back as if it were gone', async () => {
  await using chroot = await openChroot({ apart: ['/home'] })
  const tree = async () => (await chroot.sh('cd /home; find . | sort; cat base')).stdout
  // It stays mounted somewhere, as a disk that is unmounted keeps what it has.
  await chroot.sh('mkdir /run/disk; mount --bind /home /run/disk; echo 1 >/home/base; mkdir /home/gone')
  const before = await tree()
  const script = 'echo 2 >/home/base; rmdir /home/gone; mkdir /home/new; echo x >/home/new/x; echo x >/etc/x'
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', script])
  await chroot.sh('umount /home')
  for (const words of [['--dry-run'], []]) {
    const undo = await chroot.vml(['tx', 'undo', '1', ...words], failed)
    assert.equal(undo.status, 14)
    assert.match(undo.stderr, /the file system of "\/home" is not mounted\n.*Mount it, and repeat/)
  }
  assert.equal((await chroot.sh('ls /home /etc/x')).stdout, '/etc/x\n\n/home:\n')
  await chroot.sh('mount --bind /run/disk /home')
  await chroot.vml(['tx', 'undo', '1'])
  assert.equal(await tree(), before)
  assert.deepEqual(
    (await transactionsOf(chroot)).map(({ undone_by: by }) => by),
    [null, 2],
  )
})

test('what was changed without a stage is recorded whole, also where a file system was not mounted at first', async () => {
  await using chroot = await openChroot({ apart: ['/home'] })
  await chroot.sh('mkdir /run/disk; mount --bind /home /run/disk; echo 1 >/home/base')
  const script = 'echo 2 >/home/base; echo x >/etc/x; echo $$ >/run/pid; echo ready; exec sleep 600'
  const run = chroot.start(['/usr/bin/vml', 'tx', 'run', '--live', '--', 'sh', '-c', script])
  for await (const said of run.stdout) if (String(said).includes('ready')) break
  run.kill('SIGKILL')
  await chroot.sh('kill $(cat /run/pid); umount /home')
  const recover = await chroot.vml(['tx', 'recover'], failed)
  assert.equal(recover.status, 14)
  assert.match(recover.stderr, /the file system of "\/home" is not mounted\n.*Mount it, then vml tx recover/)
  await chroot.sh('mount --bind /run/disk /home')
  await chroot.vml(['tx', 'recover'])
  const { stdout } = await chroot.vml(['tx', 'show', '1', '--paths'])
  assert.match(stdout, /^\+ \/etc\/x\nM \/home\/base$/m)
})

test('a transaction of another logbook is not taken back by its number here', async () => {
  await using chroot = await openChroot()
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/one'])
  const undo = await chroot.vml(['tx', 'undo', '1', '--logbook', '/mnt/other'], failed)
  assert.equal(undo.status, 2)
  assert.match(undo.stderr, /Cannot use --logbook here/)
  assert.equal((await chroot.sh('ls /etc/one')).stdout, '/etc/one\n')
  // The variable is of who saves; it does not say whose transactions are meant.
  const env = { VML_LOGBOOK: '/mnt/other' }
  assert.match((await chroot.vml(['tx', 'list'], { env })).stdout, /^#1 .*touch/)
  assert.equal((await chroot.vml(['tx', 'list', '--logbook', '/mnt/other'], failed)).status, 10)
  await chroot.vml(['tx', 'undo', '1'], { env })
  await chroot.vml(['tx', 'undo', '2', '--logbook', '/var/lib/vml/logbook'])
})

test('a transaction within a transaction is refused: its record would be gone with the stage', async () => {
  await using chroot = await openChroot()
  const script = 'vml tx run -- touch /etc/inner; echo $? >/etc/status; vml tx list; echo $? >>/etc/status'
  const { stderr } = await chroot.vml(['tx', 'run', '--', 'sh', '-c', script])
  assert.match(stderr, /inside of a stage\n.*recorded by the transaction that it is part of/)
  assert.equal(
    (await chroot.sh('cat /etc/status; ls /etc/inner 2>&1; true')).stdout,
    "17\n17\nls: cannot access '/etc/inner': No such file or directory\n",
  )
  assert.equal((await transactionsOf(chroot)).length, 1)
})

test('both sides of a conflict at the longest name lie beside it, under names that are told (issue 4)', async () => {
  await using chroot = await openChroot()
  const name = `/etc/${'n'.repeat(255)}`
  const write = (content: string) => ['sh', '-c', `echo ${content} >${name}`]
  await chroot.run(write('one'))
  await chroot.vml(['tx', 'run', '--', ...write('two')])
  await chroot.run(write('three'))
  const undo = await chroot.vml(['tx', 'undo', '1'], failed)
  assert.equal(undo.status, 3)
  for (const [beside, content] of [
    [`${'n'.repeat(250)}.mine`, 'three\n'],
    [`${'n'.repeat(251)}.old`, 'one\n'],
  ] as const) {
    assert.ok(undo.stdout.includes(`"${beside}"`))
    assert.equal((await chroot.sh(`cat /etc/${beside}`)).stdout, content)
  }
  assert.match(undo.stdout, /where no other names are told above/)
  assert.match((await chroot.vml(['tx', 'list'])).stdout, /\[undone by #3, in part\]$/m)
})

test('a file that is mounted by itself is told before, and as not kept when it was written (issue 4)', async () => {
  await using chroot = await openChroot()
  await chroot.sh('echo 127.0.0.1 me >/run/hosts; mount --bind /run/hosts /etc/hosts')
  const told = /"\/etc\/hosts" was written on the machine itself/
  const calm = await chroot.vml(['tx', 'run', '--', 'touch', '/etc/one'])
  assert.match(
    calm.stderr,
    /"\/etc\/hosts": mounted each by itself. What is written there is written at once/,
  )
  assert.doesNotMatch(calm.stderr, told)
  const script = 'echo more >>/etc/hosts; touch /etc/two'
  const tried = await chroot.vml(['tx', 'try', '--discard', '--', 'sh', '-c', script])
  assert.match(tried.stderr, told)
  for (const [at, way] of [[], ['--live']].entries()) {
    const run = await chroot.vml(['tx', 'run', ...way, '--', 'sh', '-c', `${script}${at}`])
    assert.match(run.stderr, told)
    const { stdout } = await chroot.vml(['tx', 'show', String(at + 2)])
    assert.match(stdout, /not kept +\/etc\/hosts +a file that is mounted by itself was written at once/)
  }
  assert.match((await chroot.sh('cat /etc/hosts')).stdout, /^127.0.0.1 me\nmore\nmore\nmore\n$/)
})

test('what was left of a stage on a file system that was away is removed by the next one, but nothing that a commit kept (issue 4)', async () => {
  await using chroot = await openChroot({ apart: ['/home'] })
  await chroot.sh('mkdir /run/disk; mount --bind /home /run/disk')
  for (const next of [['run', '--', 'touch', '/home/new'], ['recover']]) {
    await chroot.vml(['tx', 'try', '--', 'touch', '/home/tried'])
    await chroot.sh('umount /home')
    await chroot.vml(['tx', 'discard'])
    await chroot.sh('mount --bind /run/disk /home; ls -d /home/.vml-stage')
    const { stderr } = await chroot.vml(['tx', ...next])
    assert.match(
      stderr,
      /"\/home\/.vml-stage" was removed: .* while the file system of "\/home" was not mounted/,
    )
    assert.equal((await chroot.sh('ls -A /home')).stdout, 'new\n')
  }
  await chroot.sh(
    'mkdir -m 700 /home/.vml-stage /home/.vml-stage/keep; echo kept >/home/.vml-stage/keep/file',
  )
  const refused = await chroot.vml(['tx', 'run', '--', 'touch', '/home/other'], failed)
  assert.equal(refused.status, 5)
  assert.match(refused.stderr, /"\/home\/.vml-stage" holds what a commit has kept\n.*remove the folder/)
  assert.equal((await chroot.sh('cat /home/.vml-stage/keep/file; ls /home')).stdout, 'kept\nnew\n')
})

test('a run of apt that a full disk stops says that the machine is as it was, whatever dpkg said (issue 4)', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish({ name: 'small', version: '1', files: { '/usr/share/small/file': 'x\n' } })
  await chroot.vml(['tx', 'enable'])
  // The record needs 16 MiB; what the file system keeps for root is not counted.
  await chroot.sh('fallocate -l $(( ($(df --output=avail -k / | tail -n 1) - 9000) * 1024 )) /var/tmp/fill')
  const run = await chroot.run(['apt-get', 'install', '-y', 'small'], failed)
  assert.equal(run.status, 100)
  assert.match(run.stdout, /Setting up small \(1\)/)
  assert.match(
    run.stderr,
    /vml: Cannot commit the transaction: it needs .* are free\n.*Nothing was changed\. Make room, and repeat\.\n.*of the stage alone: on the machine no package was changed/,
  )
  // With nothing to mend, nothing is written: full to the last block, what root may take included.
  await chroot.sh(`i=0; for size in 64M 8M 1M 64k 4k; do while fallocate -l $size /var/tmp/fill$i; do i=$((i + 1)); done; rm -f /var/tmp/fill$i; done
    while mkdir /var/tmp/fill-$i; do i=$((i + 1)); done`)
  assert.match((await chroot.vml(['tx', 'recover'])).stderr, /^Nothing was left behind$/m)
  await chroot.sh(
    'rm -r /var/tmp/fill*; test ! -e /usr/share/small; ! dpkg -s small; test -z "$(dpkg --audit)"',
  )
})

test('a logbook that is not there once is not begun anew, and its recovery key stays what it was', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish({ name: 'tiny', version: '1', files: { '/opt/tiny': 'tiny\n' } })
  const folder = '/var/lib/vml'
  const keyOf = async () => (await chroot.sh(`cat ${folder}/recovery-key`)).stdout
  const list = async (location: string) =>
    await chroot.vml(['log', '--logbook', location, '--password-file', `${folder}/recovery-key`], failed)
  await chroot.vml(['tx', 'enable'])
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/one'])
  const key = await keyOf()
  // As on a disk of its own that is not mounted: the folder is there, and empty.
  await chroot.sh(`mv ${folder}/logbook /srv/logbook && mkdir ${folder}/logbook`)
  for (const words of [['run', '--', 'touch', '/etc/two'], ['recover'], ['list']]) {
    const { status, stderr } = await chroot.vml(['tx', ...words], failed)
    assert.equal(status, 10, stderr)
    assert.match(stderr, /"\/var\/lib\/vml\/logbook" is gone\n.*Mount it, or put it back/)
  }
  const install = await chroot.run(['apt-get', '-y', 'install', 'tiny'])
  assert.match(install.stderr, /is gone\n[^]*this change is not recorded/)
  assert.equal((await chroot.sh(`cat /opt/tiny; ls -A ${folder}/logbook`)).stdout, 'tiny\n')
  assert.equal(await keyOf(), key)
  await chroot.sh(
    `rmdir ${folder}/logbook && mv /srv/logbook ${folder}/logbook && cp -a ${folder}/logbook /srv/copy`,
  )
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/two'])
  assert.deepEqual((await transactionsOf(chroot)).map(({ number }) => number).slice(-1), [1])
  for (const location of [`${folder}/logbook`, '/srv/copy']) assert.equal((await list(location)).status, 0)
})

test('a logbook whose making was cut off is made with the recovery key that is there already, also by two at once', async () => {
  await using chroot = await openChroot()
  const key = '00000-11111-22222-33333-44444-55555-66666-77777'
  await chroot.sh(`mkdir -m 700 -p /var/lib/vml/keys && echo ${key} >/var/lib/vml/recovery-key`)
  const { stdout } = await chroot.sh(
    'for n in 1 2; do (vml tx watch --once >&2; echo $?) & done; wait; cat /var/lib/vml/recovery-key',
  )
  assert.equal(stdout, `0\n0\n${key}\n`)
  await chroot.vml([
    'log',
    '--logbook',
    '/var/lib/vml/logbook',
    '--password-file',
    '/var/lib/vml/recovery-key',
  ])
})

test('with a logbook that is read only nothing is run that would have to be recorded; apt goes on without, and says so once', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish({ name: 'joe', version: '1', files: { '/usr/bin/joe': 'joe\n' } })
  await chroot.vml(['tx', 'enable'])
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/one'])
  const readOnly = { env: { VML_READ_ONLY: '1' }, mayFail: true }
  const refused = async (
    words: readonly string[],
    options: typeof readOnly | { mayFail: true } = readOnly,
  ) => {
    const { status, stdout, stderr } = await chroot.vml(words, options)
    assert.equal(status, 17, `${words.join(' ')}\n${stdout}${stderr}`)
    assert.match(stderr, /could not be recorded, since the logbook is read only/)
    assert.match(stderr, /Nothing was changed\. Leave --read-only/)
    assert.equal(stdout, '')
  }
  await refused(['tx', 'run', '--', 'touch', '/etc/two'])
  await refused(['tx', 'run', '--live', '--read-only', '--', 'touch', '/etc/two'], { mayFail: true })
  await refused(['tx', 'run', '--on', 'lab', '--', 'touch', '/etc/two'])
  await refused(['tx', 'try', '--', 'touch', '/etc/two'])
  await refused(['tx', 'undo', '1'])
  await chroot.vml(['tx', 'try', '--', 'touch', '/etc/three'])
  await refused(['tx', 'commit'])
  await chroot.vml(['tx', 'discard'], readOnly)
  assert.equal(
    (await chroot.sh('ls -d /etc/one /etc/two /etc/three', { mayFail: true })).stdout,
    '/etc/one\n',
  )
  assert.match((await chroot.vml(['tx', 'undo', '1', '--dry-run'], readOnly)).stdout, /Would undo #1/)

  const installed = await chroot.run(['apt-get', '-y', '-q', 'install', 'joe'], readOnly)
  assert.equal(installed.status, 0)
  const told = `${installed.stdout}${installed.stderr}`.match(/vml: .*/g)
  assert.deepEqual(told, [
    'vml: This change is not recorded: the logbook is read only (--read-only, VML_READ_ONLY or read_only of config.toml)',
  ])
  const called = await chroot.run(['dpkg', '-r', 'joe'], readOnly)
  assert.deepEqual([called.status, called.stderr.match(/vml: /g)?.length], [0, 1])
  assert.deepEqual(
    (await transactionsOf(chroot)).map(({ number }) => number),
    [1],
  )
  assert.equal((await chroot.vml(['tx', 'recover'])).stderr, 'Nothing was left behind\n')
})

test('where the logbook is away, apt and dpkg go on and say once that nothing is recorded', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish({ name: 'joe', version: '1', files: { '/usr/bin/joe': 'x\n' } })
  await chroot.vml(['tx', 'enable'])
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/one'])
  await chroot.sh('mv /var/lib/vml/logbook /var/lib/vml/away')
  const says = async (words: readonly [string, ...string[]], program: string) => {
    const { status, stdout, stderr } = await chroot.run(words)
    assert.equal(status, 0, stderr)
    const told = `${stdout}${stderr}`
    assert.equal(told.match(/^vml: /gm)?.length, 1, told)
    assert.ok(
      told.includes(
        `vml: Cannot find the logbook of this machine: "/var/lib/vml/logbook" is gone\n     ${program} goes on without VML; this change is not recorded. Mount it, or put it back at its place. `,
      ),
      told,
    )
    assert.doesNotMatch(told, /Nothing was changed/)
  }
  await says(['apt-get', '-y', '-q', 'install', 'joe'], 'apt')
  await says(['dpkg', '-r', 'joe'], 'dpkg')
  await chroot.sh('mv /var/lib/vml/away /var/lib/vml/logbook')
  const taken = await chroot.run(['apt-get', '-y', '-q', 'install', 'joe'])
  assert.match(`${taken.stdout}${taken.stderr}`, /To take it back: vml tx undo \d+/)
})

test('marks of an overlay of other programs come back with what was removed; where a stage would lose them nothing is committed, and live they stay', async () => {
  await using chroot = await openChroot()
  await chroot.sh(
    'mkdir -p /srv/ov/diff/d /srv/plain; echo f >/srv/ov/diff/d/f; setfattr -n trusted.overlay.opaque -v y /srv/ov/diff/d; setfattr -n trusted.overlay.origin -v abc /srv/ov/diff/d/f',
  )
  const marks = async (folder: string) =>
    (await chroot.sh(`cd ${folder}; getfattr -h -d -m trusted.overlay -R .`)).stdout
  const before = await marks('/srv/ov')
  assert.match(before, /opaque="y"/)
  for (const way of [[], ['--live']]) {
    await chroot.vml(['tx', 'run', ...way, '--', 'rm', '-r', '/srv/ov'])
    const [number] = (await transactionsOf(chroot))
      .map((each) => each.number)
      .toSorted((one, two) => two - one)
    await chroot.vml(['tx', 'undo', String(number)])
    assert.equal(await marks('/srv/ov'), before)
  }
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'chmod 700 /srv/ov/diff/d; echo g >/srv/ov/diff/d/g'])
  assert.equal(await marks('/srv/ov'), before)
  await chroot.vml(['tx', 'undo', '5'])
  assert.equal(await marks('/srv/ov'), before)

  for (const command of ['mv /srv/ov /srv/moved', 'setfattr -n trusted.overlay.opaque -v y /srv/plain']) {
    const refused = await chroot.vml(['tx', 'run', '--', 'sh', '-c', command], failed)
    assert.equal(refused.status, 14)
    assert.match(refused.stderr, /would be lost in a stage\n.*--live/)
  }
  assert.equal(await marks('/srv/ov'), before)
  await chroot.vml(['tx', 'run', '--live', '--', 'mv', '/srv/ov', '/srv/moved'])
  assert.equal(await marks('/srv/moved'), before)
  await chroot.vml(['tx', 'undo', '7'])
  assert.equal(await marks('/srv/ov'), before)
  await chroot.vml([
    ...['tx', 'run', '--live', '--', 'sh', '-c'],
    'setfattr -n trusted.overlay.opaque -v y /srv/plain; chmod 700 /srv/plain',
  ])
  await chroot.vml(['tx', 'undo', '9'])
  assert.equal(await marks('/srv/plain'), '')
})

test('what was made on another machine is never taken back here, and none is recorded among those of this one', async () => {
  await using chroot = await openChroot()
  const system = ['--logbook', '/var/lib/vml/logbook']
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'mkdir /etc/d; echo 1 >/etc/mine'])
  const name = (await chroot.sh('hostname')).stdout.trim()
  // As one of the machine lab was recorded here before that was refused.
  await chroot.sh('hostname lab; vml tx run -- touch /etc/d/f; vml tx run -- touch /etc/d/g')
  await chroot.sh(`hostname ${name}`)
  await chroot.vml(['machine', 'add', 'lab', 'ssh://root@127.0.0.1:9'])
  assert.deepEqual(
    (await transactionsOf(chroot)).map(({ number }) => number),
    [1],
  )
  const listed = await chroot.vml(['tx', 'list', '--logbook', '/var/lib/../lib/vml/logbook/'])
  assert.match(listed.stderr, /2 transactions of other machines \(lab\) are left out/)
  for (const words of [
    ['undo', '3'],
    ['undo', '--to-before', '3'],
    ['redo', '3'],
    ['show', '3'],
  ]) {
    const refused = await chroot.vml(['tx', ...words], failed)
    assert.equal(refused.status, 14, words.join(' '))
    assert.match(refused.stderr, /Cannot take #3 for a transaction of this machine: it was made on lab\n/)
  }
  await chroot.vml(['tx', 'undo', '--to-before', '1'])
  assert.equal((await chroot.sh('ls /etc/d; ls /etc/mine', { mayFail: true })).stdout, 'f\ng\n')

  const run = ['tx', 'run', '--on', 'lab', '--', 'touch', '/etc/two']
  for (const words of [
    [...run.slice(0, 4), ...system, ...run.slice(4)],
    ['tx', 'undo', '3', '--on', 'lab', '--logbook', '/var/lib/vml/../vml/logbook'],
    ['tx', 'recover', '--on', 'lab', ...system],
  ]) {
    const refused = await chroot.vml(words, failed)
    assert.equal(refused.status, 2, refused.stderr)
    assert.match(refused.stderr, /it has the transactions of this machine alone\n.*vml init DIR/)
  }
  const none = await chroot.vml(run, failed)
  assert.match(none.stderr, /which logbook is for transactions of lab: none is configured\n.*vml init DIR/)
  assert.doesNotMatch(none.stderr, /var.lib.vml/)

  const password = ['--password-file', '/var/lib/vml/recovery-key']
  await chroot.vml(['init', '/srv/copy', '--like', '/var/lib/vml/logbook', ...password])
  await chroot.vml(['copy', '3', '--from', '/var/lib/vml/logbook', '--to', '/srv/copy'])
  const back = ['copy', '--all', '--from', '/srv/copy', '--to', '/var/lib/vml/logbook']
  const copied = await chroot.vml(back, failed)
  assert.equal(copied.status, 2, copied.stderr)
  assert.match(copied.stderr, /Cannot copy #3 into the logbook of this machine.*: it was made on lab\n/)
})

test('a vml and an apt of another container are left to their work, and mended when they were killed, whoever asks', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const wait =
    'touch /var/tmp/begun; i=0; while [ -e /var/tmp/wait ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done'
  await archive.publish({
    name: 'joe',
    version: '1.0',
    files: { '/opt/joe': 'joe\n' },
    scripts: { postinst: `#!/bin/sh\n${wait}\n` },
  })
  await chroot.vml(['tx', 'enable'])
  await chroot.vml(['tx', 'watch', '--once'])
  const run = `vml tx run -- sh -c 'echo x >/etc/x; ${wait}'`
  // With a /proc of its own, and with that of the machine, as `nsenter -m` and `chroot` have it out of a container.
  const apart = 'unshare --pid --fork --mount-proc'
  for (const work of [`${apart} ${run}`, 'unshare --pid --fork apt-get -y install joe']) {
    const { stdout } = await chroot.sh(
      `set +e; touch /var/tmp/wait; rm -f /var/tmp/begun
       ${work} >/run/first 2>&1 & first=$!
       i=0; until [ -e /var/tmp/begun ] || [ $i = 600 ]; do sleep 0.1; i=$((i + 1)); done
       vml tx recover; echo "status $?"; ${apart} vml tx recover; echo "status $?"
       kill -9 $(ps -o pid= --ppid $first); wait $first; rm /var/tmp/wait
       echo killed; ${apart} vml tx recover 2>&1; ls /etc/x /opt/joe /var/lib/vml/stage/open`,
      failed,
    )
    const [before = '', after = ''] = stdout.split('killed\n')
    assert.equal(before, 'status 11\nstatus 11\n', work)
    assert.match(after, /was cut off: nothing of it was kept\n$/, work)
  }
  // What is not killed ends as anywhere.
  const { stdout } = await chroot.sh('unshare --pid --fork apt-get -y install joe 2>&1; cat /opt/joe')
  assert.match(stdout, /To take it back: vml tx undo \d+\njoe\n$/)
})
