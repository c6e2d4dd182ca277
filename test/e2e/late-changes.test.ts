// What becomes of files between the commit of a transaction and its record: services run again by then, and have the machine's files.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { recordSystemctl } from '../chroot-services.ts'
import { openPackageArchive } from '../package-archive.ts'

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

test('of a run of apt that was killed only what it wrote itself is put back; marks and answers of later stay, and are told', async () => {
  await using chroot = await openChroot()
  await chroot.vml(['tx', 'enable'])
  const marked = (await chroot.sh('apt-mark showmanual | head -1')).stdout.trim()
  const answers = join(chroot.path, 'var/cache/debconf/config.dat')
  const before = readFileSync(answers, 'latin1')
  const answer = 'echo debconf debconf/priority select critical | debconf-set-selections'
  /** What apt does until it is killed, and what is done after it. */
  const killed = async (run: string, later: string) => {
    await chroot.sh(
      `rm -f /tmp/begun
      sh -c 'sh -c "/usr/lib/vml/hook begin"; ${run}; touch /tmp/begun; sleep 1000' >/dev/null 2>&1 &
      while ! [ -e /tmp/begun ]; do sleep 0.1; done
      kill -9 $!
      ${later}`,
    )
    return (await chroot.vml(['tx', 'recover'])).stderr
  }

  const stage = '/var/lib/vml/stage/open'
  const called = `mkdir -p ${stage}/calls/0001; touch ${stage}/calls/0001/argv`
  // dpkg-preconfigure has asked, then dpkg was called.
  const run = await killed(`${answer}; ${called}`, ':')
  assert.doesNotMatch(run, /left as/)
  assert.equal(readFileSync(answers, 'latin1'), before)

  const told = await killed(called, `sleep 0.1; apt-mark auto ${marked}; ${answer}`)
  assert.match(
    told,
    /\/extended_states, \/var\/cache\/debconf\/config\.dat: changed since .* left as they are/,
  )
  assert.equal((await chroot.sh(`apt-mark showauto | grep -x ${marked}`)).stdout.trim(), marked)
  assert.match(readFileSync(answers, 'latin1'), /Name: debconf\/priority\n.*\nValue: critical\n/)

  await chroot.sh(`apt-mark manual ${marked}`)
  const marks = readFileSync(join(chroot.path, 'var/lib/apt/extended_states'), 'latin1')
  // apt writes its marks when dpkg has ended, and calls the hook, which is cut off.
  const ended = await killed(`${called}; sleep 0.1; apt-mark auto ${marked}; touch ${stage}/ended`, ':')
  assert.doesNotMatch(ended, /left as/)
  assert.equal(readFileSync(join(chroot.path, 'var/lib/apt/extended_states'), 'latin1'), marks)
})

test('what is written between a crash in a commit and its recovery stays, and is told; what the commit had replaced lies beside it', async () => {
  await using chroot = await openChroot()
  await chroot.sh('mkdir /opt/d; cd /opt/d; for n in $(seq 1000 4999); do echo old$n >$n; done')
  const run = chroot.start([
    'vml',
    'tx',
    'run',
    '--',
    'sh',
    '-c',
    'cd /opt/d; for f in *; do echo new >$f; done',
  ])
  const read = (name: string) => readFileSync(join(chroot.path, 'opt/d', name), 'latin1')
  const ended = new Promise((resolve) => run.once('exit', resolve))
  for (let isEnded = false; !isEnded && read('1300') !== 'new\n';)
    isEnded = await Promise.race([
      ended.then(() => true),
      new Promise<false>((resolve) => setImmediate(() => resolve(false))),
    ])
  run.kill('SIGKILL')
  await ended
  const state = readFileSync(join(chroot.path, 'var/lib/vml/stage/open/journal/state'), 'latin1')
  assert.equal(state, 'COMMITTING\n')
  assert.equal(read('4999'), 'old4999\n')
  // The last one has not been replaced: what the journal keeps is the same file by a second name.
  await chroot.sh('cd /opt/d; echo mine >>1000; echo saved >x; mv x 1001; echo mine >>4999')
  const { stderr } = await chroot.vml(['tx', 'recover'])
  assert.match(stderr, /"\/opt\/d\/1000" \(before it: "\/opt\/d\/1000\.old"\)/)
  assert.match(stderr, /nothing of it was kept \(Cannot commit "\/opt\/d\/4999": it has changed meanwhile\)/)
  assert.deepEqual(['1000', '1000.old', '1001', '1001.old', '1002', '1300', '4999'].map(read), [
    'new\nmine\n',
    'old1000\n',
    'saved\n',
    'old1001\n',
    'old1002\n',
    'old1300\n',
    'old4999\nmine\n',
  ])
  assert.equal((await chroot.sh('ls /opt/d | wc -l')).stdout.trim(), '4002')
})

test('what a service writes to a path of an undo as it is started again is its own: the undo stands, and nothing is taken away', async () => {
  await using chroot = await openChroot()
  await recordSystemctl(chroot)
  await chroot.sh(
    `printf '[Service]\\nExecStart=/bin/true\\n' >/usr/lib/systemd/system/foo.service
    sed -i '2i case "$*" in *list-units*) echo foo.service loaded active running ;; *start*foo*) echo order 77 >>/etc/state ;; esac' /usr/bin/systemctl
    echo v1 >/etc/state`,
  )
  await chroot.vml([
    ...['tx', 'run', '--', 'sh', '-c'],
    'echo "# 2" >>/usr/lib/systemd/system/foo.service; echo v2 >/etc/state',
  ])
  const undone = await chroot.vml(['tx', 'undo', '1'])
  assert.match(undone.stderr, /services stopped for it, where they run: foo\.service/)
  assert.equal(readFileSync(join(chroot.path, 'etc/state'), 'latin1'), 'v1\norder 77\n')
})

test('a commit that had ended is not taken back below a package that was installed since: it is recorded (F1d)', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(
    { name: 'joe', version: '1', files: { '/usr/bin/joe': 'joe\n' } },
    { name: 'ted', version: '1', files: { '/usr/bin/ted': 'ted\n' } },
  )
  await recordSystemctl(chroot)
  await chroot.sh(
    `printf '[Service]\\nExecStart=/bin/true\\n' >/usr/lib/systemd/system/foo.service
    sed -i '2i case "$*" in *restart*foo*) kill -9 $(cut -d" " -f4 /proc/$PPID/stat) ;; esac' /usr/bin/systemctl
    systemctl start foo.service`,
  )
  await chroot.vml(['tx', 'enable'])
  const install = 'apt-get -y -q install joe; deb-systemd-invoke restart foo.service'
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', install], { mayFail: true })
  const state = readFileSync(join(chroot.path, 'var/lib/vml/stage/open/journal/state'), 'latin1')
  assert.equal(state, 'COMMITTED\n')
  await chroot.sh(`sed -i 2d /usr/bin/systemctl
    mv /usr/lib/vml/program /run; apt-get -y -q install ted; mv /run/program /usr/lib/vml`)
  const packages = async () =>
    (
      await chroot.sh("dpkg-query -W -f '${Package} ' joe ted; ls /usr/bin/ted /usr/bin/joe", {
        mayFail: true,
      })
    ).stdout
  const before = await packages()
  const backward = await chroot.vml(['tx', 'recover', '--backward'], { mayFail: true })
  assert.equal(backward.status, 14)
  assert.match(
    backward.stderr,
    /Cannot take back the commit: it had ended, and \/var\/lib\/dpkg\/\S+ .*changed since/,
  )
  assert.match(backward.stderr, /vml tx recover records it/)
  assert.equal(await packages(), before)
  await chroot.vml(['tx', 'recover'])
  // What the list of packages was after it, nothing tells any more: an undo says so, and changes nothing either.
  const undone = await chroot.vml(['tx', 'undo', '1'], { mayFail: true })
  assert.equal(undone.status, 14)
  assert.match(undone.stderr, /"\/var\/lib\/dpkg\/status" cannot be merged: it was changed since/)
  assert.equal(await packages(), before)
})

const daemon = `perl -e 'use IO::Handle; use IO::Socket::UNIX; open(F, ">>", "/srv/app/data"); F->autoflush(1);
my $s = IO::Socket::UNIX->new(Local => "/srv/app/sock", Listen => 5) or die; $SIG{ALRM} = sub { exit }; alarm 120;
while (my $c = $s->accept) { my $order = <$c>; print F $order; print $c "taken\n"; close $c }' </dev/null >/dev/null 2>&1 &
for i in 1 2 3 4 5 6 7 8 9; do [ -S /srv/app/sock ] || sleep 1; done`
const order = (text: string) =>
  `perl -MIO::Socket::UNIX -e 'my $c = IO::Socket::UNIX->new(Peer => "/srv/app/sock") or die "connect: $!"; print $c "${text}\n"; print <$c>'`

test('a program goes on with its file and its socket where only their rights are changed, and where that is undone', async () => {
  await using chroot = await openChroot()
  await chroot.sh('mkdir /srv/app; echo start >/srv/app/data')
  const said = await chroot.sh(`set -e; ${daemon}
    vml tx run -- sh -c 'chown 1:1 /srv/app/data /srv/app/sock; chmod 640 /srv/app/data' >&2
    stat -c '%u:%g %a' /srv/app/data; ${order('first')}
    vml tx show 1 --json; vml tx undo 1 >&2
    stat -c '%u:%g %a' /srv/app/data; ${order('second')}; cat /srv/app/data
    vml tx undo 2 >&2; stat -c '%u:%g %a' /srv/app/data /srv/app/sock; ${order('third')}`)
  const lines = said.stdout.split('\n')
  assert.deepEqual(lines.slice(0, 2), ['1:1 640', 'taken'])
  assert.match(said.stdout, /"complete": ?true/)
  assert.deepEqual(lines.slice(-9, -1), [
    ...['0:0 644', 'taken', 'start', 'first', 'second'],
    ...['1:1 640', '1:1 755', 'taken'],
  ])
  assert.equal(readFileSync(join(chroot.path, 'srv/app/data'), 'utf8'), 'start\nfirst\nsecond\nthird\n')
})

test('rights alone of a file that a program writes to all the time are taken back, and brought back, with a whole record', async () => {
  await using chroot = await openChroot()
  const { stdout } =
    await chroot.sh(`set -e; mkdir /srv/app; { head -c 1000000 /dev/urandom; echo; } >/srv/app/data
    vml tx run -- chown 1:1 /srv/app/data >&2
    sh -c 'exec 3>>/srv/app/data; i=0; while [ ! -e /run/end ]; do i=$((i+1)); echo "order $i" >&3; sleep 0.01; done; echo $i >/run/end' </dev/null >/dev/null 2>&1 &
    vml tx undo 1 >&2; stat -c %u /srv/app/data; vml tx redo 1 >&2; stat -c %u /srv/app/data
    : >/run/end; wait; [ "$(grep -ac '^order ' /srv/app/data)" -ge "$(cat /run/end)" ]; vml tx check`)
  assert.match(stdout, /^0\n1\n3 transactions; none lacks anything/)
  const { stdout: shown } = await chroot.vml(['tx', 'show', '2', '--json'])
  assert.match(shown, /"complete": ?true/)
})

test('a program that has a file open for writing which a command, its undo or apt replaces or removes is named (G13, G14)', async () => {
  await using chroot = await openChroot()
  const { stderr } = await chroot.sh(`mkdir /srv/app; echo start >/srv/app/data
    sleep 60 >>/srv/app/data & vml tx run -- sed -i s/start/begin/ /srv/app/data; echo "process $!" >&2; kill $!`)
  const id = /process (\d+)/.exec(stderr)?.[1]
  assert.match(stderr, new RegExp(`replaced or removed, .*: sleep \\(${id}\\): /srv/app/data$`, 'm'))
  const told = async (path: string, script: string) => {
    const said = await chroot.sh(`sleep 60 >>${path} & { ${script}; } >&2; status=$?; kill $!; exit $status`)
    return /restart it: sleep \(\d+\): (.*)$/m.exec(said.stderr)?.[1]
  }
  assert.equal(await told('/srv/app/data', 'vml tx undo 1'), '/srv/app/data')
  assert.equal(await told('/srv/app/data', 'vml tx run -- rm -r /srv/app'), '/srv/app/data')
  // Moved, it is that file still.
  await chroot.sh('mkdir /srv/dir; echo start >/srv/log; echo start >/srv/dir/db')
  const moved =
    await chroot.sh(`sh -c 'exec 3>>/srv/log 4>>/srv/dir/db; while [ ! -e /run/go ]; do sleep 0.2; done; echo end >&3; echo end >&4' &
    while ! [ -e /proc/$!/fd/4 ]; do sleep 0.1; done
    vml tx run -- sh -c 'mv /srv/log /srv/log.1; mv /srv/dir /srv/dir2'
    [ /proc/$!/fd/3 -ef /srv/log.1 ] && [ /proc/$!/fd/4 -ef /srv/dir2/db ] && echo moved
    vml tx undo 4 >&2; touch /run/go; wait; cat /srv/log /srv/dir/db`)
  assert.equal(moved.stdout, 'moved\nstart\nend\nstart\nend\n')
  assert.doesNotMatch(moved.stderr, /open for writing/)
  // What a program overwrites in it as it is moved is not what it was before.
  await chroot.sh(`head -c 100000 /dev/zero >/srv/db
    sh -c 'exec 3<>/srv/db; while [ ! -e /srv/db2 ]; do :; done; echo mine >&3' & writer=$!
    while ! [ -e /proc/$writer/fd/3 ]; do sleep 0.1; done
    vml tx run -- mv /srv/db /srv/db2; wait $writer`)
  const { stdout: record } = await chroot.vml(['tx', 'show', '6', '--json'])
  assert.match(record, /"complete": ?true/)
  await chroot.vml(['tx', 'undo', '6'], { mayFail: true })
  assert.equal((await chroot.sh('tr -d "\\000" </srv/db; head -n 1 /srv/db2')).stdout, 'mine\n')
  const archive = await openPackageArchive(chroot)
  const publish = async (version: string, postinst: string) =>
    await archive.publish({
      name: 'svc',
      version,
      files: { '/usr/bin/svc': `${version}\n`, '/usr/share/svc/text': `${version}\n` },
      scripts: { postinst },
    })
  await publish('1', 'mkdir -p /var/lib/svc; echo 1 >/var/lib/svc/data; echo 1 >/var/lib/svc/log')
  await chroot.vml(['tx', 'enable'])
  await chroot.sh('apt-get -y -qq install svc')
  await publish('2', 'sed -i s/1/2/ /var/lib/svc/data')
  assert.equal(await told('/var/lib/svc/data', 'apt-get -y -qq install svc'), '/var/lib/svc/data')
  await publish('3', 'sed -i s/2/3/ /var/lib/svc/data')
  const reads = 'sleep 60 </usr/share/svc/text & reader=$!; apt-get -y -qq install svc; kill $reader'
  assert.equal(await told('/var/lib/svc/log', reads), undefined)
})

test('what a daemon has in memory while a package gives its data to another group is written into that data', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const files = { '/usr/bin/svc': 'svc\n' }
  const make = 'mkdir -p /var/lib/svc; [ -e /var/lib/svc/data ] || echo start >/var/lib/svc/data'
  await archive.publish({ name: 'svc', version: '1', files, scripts: { postinst: make } })
  await chroot.vml(['tx', 'enable'])
  await chroot.sh('apt-get -y -qq install svc')
  const postinst = `${make}; chgrp -R daemon /var/lib/svc; chmod 640 /var/lib/svc/data`
  await archive.publish({ name: 'svc', version: '2', files, scripts: { postinst } })
  await chroot.sh(`set -e
    sh -c 'exec 3>>/var/lib/svc/data; trap "echo what was in memory >&3; exit 0" TERM; echo up >/run/up; while :; do sleep 0.2; done' </dev/null >/dev/null 2>&1 &
    daemon=$!
    while [ ! -e /run/up ]; do sleep 0.2; done
    apt-get -y -qq install svc >&2
    kill -TERM $daemon; wait $daemon`)
  const now = await chroot.sh('stat -c "%U:%G %a" /var/lib/svc/data; cat /var/lib/svc/data')
  assert.equal(now.stdout, 'root:daemon 640\nstart\nwhat was in memory\n')
})
