// Transactions of a machine over ssh on which there is nothing of ours: a real sshd in front of a private Debian.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { runProgram } from '../guest-machine.ts'
import { openRemoteBed, type RemoteBed, runThere } from '../remote-bed.ts'
import { cutAtRename, prepareCuts, untilLeft } from '../remote-cut.ts'

let bed: RemoteBed

before(async () => {
  bed = await openRemoteBed()
  prepareCuts(bed)
})
after(async () => await bed[Symbol.asyncDispose]())

test('what a command changed over ssh is taken back alone and brought back, whatever its names are; later work stays', async () => {
  await bed.chroot.sh(
    'mkdir -p /opt/gone/in; echo job >/opt/gone/in/job; mkdir -p /opt/old; echo 1 >/opt/old/a; ln /opt/old/a /opt/old/b; ln /opt/old/a /opt/old/c',
  )
  const names = `set -e; cd /opt; mkdir -- "it's" -n; echo x >"it's/new
line"; echo y >'-n/$(touch owned)'; printf z >"$(printf 'bytes\\377')"; ln -s '/no where' 'a "link"'`
  const others =
    'echo w >>/opt/old/a; ln /opt/old/b /opt/old/d; echo 1.2.3.4 tool >>/etc/hosts; chmod 600 /etc/issue; rm /etc/debian_version; mkdir /etc/debian_version; chmod 750 /opt; rm -r /opt/gone'
  const start = bed.tree()
  const run = await bed.well(
    'tx',
    'run',
    '--on',
    'lab',
    '-m',
    'names',
    '--',
    'sh',
    '-c',
    `${names}; ${others}; echo said`,
  )
  assert.match(run.stdout, /said/)
  assert.equal((await bed.chroot.sh('stat -c %h /opt/old/c; cat /opt/old/c')).stdout, '4\n1\nw\n')
  await bed.nothingLeft()
  const number = await bed.last()
  const changed = bed.tree()
  await bed.chroot.sh('echo 5.6.7.8 mine >>/etc/hosts')
  const planned = await bed.well('tx', 'undo', String(number), '--on', 'lab', '--dry-run')
  assert.match(planned.stdout, /changed since and merged: \/etc\/hosts/)
  await bed.well('tx', 'undo', String(number), '--on', 'lab')
  assert.equal((await bed.chroot.sh('tail -1 /etc/hosts')).stdout, '5.6.7.8 mine\n')
  await bed.chroot.sh('sed -i /mine/d /etc/hosts')
  assert.equal(bed.differences(start), '')
  await bed.well('tx', 'redo', String(number), '--on', 'lab')
  assert.equal(bed.differences(changed), '')
  await bed.nothingLeft()
  const shown = await bed.well('tx', 'show', String(number), '--on', 'lab', '--paths')
  assert.match(shown.stdout, /it's\/new\\nline/)
  // The same number is another transaction here.
  assert.ok(shown.stdout.includes(`vml tx undo ${number} --on lab\n`), shown.stdout)
  const refused = await bed.vml(['tx', 'redo', String(number), '--on', 'lab'])
  assert.equal(refused.status, 14)
  assert.match(refused.stderr, /vml tx list --on lab shows what was\n/)
})

test('a name over ssh of a file that has others comes back as a file of its own, and is told', async () => {
  await bed.chroot.sh('echo 1 >/opt/one; ln /opt/one /opt/two')
  await bed.well('tx', 'run', '--on', 'lab', '--', 'rm', '/opt/two')
  const undone = await bed.well('tx', 'undo', String(await bed.last()), '--on', 'lab')
  assert.match(undone.stdout, /a file of its own.*\/opt\/two \(of \/opt\/one\)/)
  assert.equal(
    (await bed.chroot.sh('stat -c %h /opt/one; cat /opt/two; rm /opt/one /opt/two')).stdout,
    '1\n1\n',
  )
})

test('what is changed on the machine meanwhile is never overwritten: nothing is committed', async () => {
  const child = bed.start(
    ...runThere('echo stage >/etc/both; touch /run/at; until [ -f /run/on ]; do sleep 0.05; done'),
  )
  await bed.untilAt()
  writeFileSync(join(bed.chroot.path, 'etc/both'), 'meanwhile\n')
  await bed.chroot.sh('touch /run/on')
  const { status, stderr } = await child.ended
  assert.equal(status, 14, stderr)
  assert.match(stderr, /\/etc\/both was changed on the machine meanwhile/)
  assert.equal((await bed.chroot.sh('cat /etc/both')).stdout, 'meanwhile\n')
  await bed.nothingLeft()
})

test('a machine where the folder of VML lies behind a link is refused before anything is run', async () => {
  await bed.chroot.sh('mkdir -p /var/lib/vml && mv /var/lib/vml /opt/state && ln -s /opt/state /var/lib/vml')
  const { status, stderr } = await bed.start('tx', 'run', '--on', 'lab', '--', 'touch', '/etc/none').ended
  assert.equal(status, 17, stderr)
  assert.match(stderr, /"\/var\/lib\/vml" lies behind a link\n.*Nothing was run/)
  await bed.chroot.sh('[ ! -e /etc/none ] && rm /var/lib/vml && mv /opt/state /var/lib/vml')
})

test('a connection that is cut off in the middle of the command changes nothing, and it is said', async () => {
  const from = bed.tree()
  const child = bed.start(...runThere('rm -rf /etc/apt; touch /run/at; exec sleep 600'))
  await bed.untilAt()
  // The command's own connection: of this one the machine hears nothing more.
  const clients = (await runProgram('pgrep', ['-P', String(child.pid), '-f', 'RequestTTY=no -F']))
    .trim()
    .split('\n')
  process.kill(Number(clients.at(-1)), 'SIGKILL')
  const { status, stderr } = await child.ended
  assert.equal(status, 30, stderr)
  assert.match(stderr, /was cut off/)
  assert.equal(bed.differences(from), '')
  await bed.nothingLeft()
})

test('what is left when VML itself is gone is thrown away by recover, and in the way until then', async () => {
  const from = bed.tree()
  const child = bed.start(...runThere('rm -rf /etc/apt; touch /run/at; exec sleep 600'))
  await bed.untilAt()
  child.kill()
  await child.ended
  await untilLeft(bed)
  const refused = await bed.vml(['tx', 'run', '--on', 'lab', '--', 'true'])
  assert.equal(refused.status, 11, refused.stderr)
  assert.match((await bed.well('tx', 'recover', '--on', 'lab')).stderr, /nothing of it was kept/)
  assert.equal(bed.differences(from), '')
  await bed.nothingLeft()
})

test('a commit that is cut off with all connections is ended by its recover.sh alone, and recorded by recover', async () => {
  const script =
    'echo a >/etc/cut-a; mkdir -p /opt/cut/in; echo b >/opt/cut/in/b; echo c >>/etc/hosts; rm /etc/issue.net'
  assert.ok(await cutAtRename(bed, runThere(script), 6))
  await bed.chroot.sh('sh /var/lib/vml/stage/open/journal/recover.sh')
  const done = await bed.chroot.sh(
    'cat /etc/cut-a /opt/cut/in/b; tail -1 /etc/hosts; [ ! -e /etc/issue.net ]',
  )
  assert.equal(done.stdout, 'a\nb\nc\n')
  assert.match((await bed.well('tx', 'recover', '--on', 'lab')).stderr, /it was recorded/)
  await bed.nothingLeft()
})

test('an undo that is cut off before its caches are made anew there has them made by recover, forward and backward', async () => {
  const { chroot } = bed
  const from = bed.tree()
  // Found first: it waits where it is to.
  await chroot.run(['tee', '/usr/local/sbin/ldconfig'], {
    input:
      '#!/bin/sh\nif [ -e /run/hold ]; then touch /run/at; exec sleep 600; fi\nexec /sbin/ldconfig "$@"\n',
  })
  await chroot.sh(
    'chmod 755 /usr/local/sbin/ldconfig; mkdir -p /usr/local/lib; cp -L /lib/x86_64-linux-gnu/libacl.so.1 /usr/local/lib/libacl.so.1; ldconfig',
  )
  const isCached = async () => (await chroot.sh('ldconfig -p')).stdout.includes('/usr/local/lib/libacl.so.1')
  const removal = 'rm /usr/local/lib/libacl.so.1; ldconfig'
  await bed.well(...runThere(removal))
  const number = String(await bed.last())
  for (const [option, cached] of [
    ['--backward', false],
    [undefined, true],
  ] as const) {
    await chroot.sh('touch /run/hold')
    const child = bed.start('tx', 'undo', number, '--on', 'lab')
    await bed.untilAt()
    child.kill()
    await child.ended
    await chroot.sh('rm /run/hold; pkill -x sleep', { mayFail: true })
    await untilLeft(bed)
    // As if it had come a little further where that is taken back; else the cache of before, which was put back, is not what has to be made.
    await chroot.sh(
      option
        ? 'ldconfig'
        : 'mv /usr/local/lib/libacl.so.1 /run; ldconfig; mv /run/libacl.so.1 /usr/local/lib',
    )
    assert.equal(await isCached(), option !== undefined)
    await bed.well('tx', 'recover', '--on', 'lab', ...(option ? [option] : []))
    assert.equal(await isCached(), cached)
    assert.equal((await chroot.sh('ls /etc')).stdout.includes('ld.so.cache.old'), false)
    await bed.nothingLeft()
  }
  await chroot.sh('rm /usr/local/sbin/ldconfig /usr/local/lib/libacl.so.1; ldconfig')
  assert.equal(bed.differences(from), '')
})

test('a machine that is nearly full is told how much it lacks: nothing is committed, and nothing taken back', async () => {
  const change = runThere('echo y >/etc/room')
  await bed.well(...change)
  const number = String(await bed.last())
  await bed.chroot.sh(
    'fallocate -l $(($(stat -f -c "%a * %S" /) - 8000000)) /var/fill; mv /etc/room /etc/roomy; cp /etc/roomy /etc/room',
  )
  const from = bed.tree()
  for (const args of [
    ['tx', 'run', '--on', 'lab', '--', 'rm', '/etc/room'],
    ['tx', 'undo', number, '--on', 'lab'],
  ]) {
    const refused = await bed.vml(args)
    assert.equal(refused.status, 31, refused.stderr)
    assert.match(
      refused.stderr,
      /on lab: it needs [\d.]+ MiB where "\/var\/lib\/vml" lies, and [\d.]+ [KM]iB are free/,
    )
  }
  assert.equal(bed.differences(from), '')
  await bed.nothingLeft()
  await bed.chroot.sh('rm /var/fill /etc/room /etc/roomy')
})

test('a machine that lies is not believed: neither a path that nobody asked for nor a hash that is not the content’s', async () => {
  const lie = (tool: string, script: string) =>
    writeFileSync(join(bed.chroot.path, 'usr/local/bin', tool), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  const from = bed.tree()
  lie(
    'find',
    `case "$*" in */upper*) /usr/bin/find "$@" | sed -z 's,^/.*/upper/etc/lied$,/etc/shadow,' ;; *) exec /usr/bin/find "$@" ;; esac`,
  )
  const refused = await bed.vml(runThere('echo x >/etc/lied'))
  await bed.chroot.sh('rm /usr/local/bin/find')
  assert.equal(refused.status, 40, refused.stderr)
  assert.match(refused.stderr, /it lists a file that was not asked for/)
  assert.equal(bed.differences(from), '')
  await bed.nothingLeft()
  // What was before it is not what was said: it cannot be taken back, and the record says so.
  lie(
    'sha256sum',
    `case "$*" in */etc/issue*) printf '%064d  %s\\0' 7 /etc/issue ;; *) exec /usr/bin/sha256sum "$@" ;; esac`,
  )
  const run = await bed.vml(['tx', 'run', '--on', 'lab', '--', 'rm', '/etc/issue'])
  await bed.chroot.sh('rm /usr/local/bin/sha256sum')
  assert.equal(run.status, 0, run.stderr)
  assert.match(run.stderr, /Incomplete: 1 pre-image could not be kept/)
  await bed.nothingLeft()
})

test('what does not stand the checks in the stage is not committed over ssh with --strict; without it the record says so', async () => {
  const from = bed.tree()
  const breaking = `sed -i '/^Package: base-files$/,/^$/s/^Status: .*/Status: install ok half-configured/' /var/lib/dpkg/status`
  const refused = await bed.vml(['tx', 'run', '--on', 'lab', '--strict', '--', 'sh', '-c', breaking])
  assert.equal(refused.status, 15, refused.stderr)
  assert.match(refused.stderr, /dpkg --audit failed: .*base-files/)
  assert.equal(bed.differences(from), '')
  await bed.nothingLeft()
  assert.match((await bed.well(...runThere(breaking))).stderr, /dpkg --audit failed: .*base-files/)
  const shown = await bed.well('tx', 'show', String(await bed.last()), '--on', 'lab')
  assert.match(shown.stdout, /failed +dpkg --audit|dpkg --audit.*failed/)
})

test('--on says of each option that cannot be had over ssh what to do instead', async () => {
  const refused = await bed.vml(['tx', 'run', '--on', 'lab', '--live', '--', 'true'])
  assert.equal(refused.status, 2)
  assert.match(refused.stderr, /--live with --on[^]*vml tx run --live there/)
})
