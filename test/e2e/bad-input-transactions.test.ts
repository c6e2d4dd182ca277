// Transactions where something is wrong: each says what happened, what was left as it was, and what to do next.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { type Chroot, openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import { dropPreImages } from '../drop-pre-images.ts'
import { otherHooks } from '../other-hooks.ts'
import { transactionsOf, until } from '../transaction-bed.ts'

/** Fails with this status, says all of this, and leaves the machine as it was. */
async function refused(
  chroot: Chroot,
  words: readonly string[],
  { status, says }: { readonly status: number; readonly says: readonly RegExp[] },
): Promise<void> {
  const before = await stateOf(chroot)
  const ended = await chroot.run(words, { mayFail: true })
  assert.equal(ended.status, status, `${words.join(' ')}\n${ended.stdout}${ended.stderr}`)
  for (const each of says) assert.match(ended.stderr, each, words.join(' '))
  assert.equal(await stateOf(chroot), before, words.join(' '))
}

async function stateOf(chroot: Chroot): Promise<string> {
  const { stdout } = await chroot.sh(
    'sha256sum /var/lib/dpkg/status /etc/made /usr/bin/joe 2>&1; ls /etc /usr/share; dpkg --audit',
    { mayFail: true },
  )
  return stdout
}

const vml = (...words: readonly string[]) => ['vml', 'tx', ...words]
const apt = ['apt-get', '-y', 'install', 'joe']

test('what cannot be done is refused by name, nothing is changed, and the next step is told', async (context) => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(
    { name: 'joe', version: '1.0', files: { '/usr/bin/joe': 'joe\n' } },
    { name: 'half', version: '1.0', files: { '/usr/share/half': 'x\n' }, scripts: { postinst: 'exit 7' } },
  )
  await chroot.vml(['tx', 'enable'])
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'head -c 3000 /dev/urandom >/etc/made'])
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'head -c 3000 /dev/urandom >/etc/made'])

  await context.test('an unknown transaction', async () => {
    const says = [/Cannot find transaction "99"/, /Nothing was changed. vml tx list/]
    await refused(chroot, vml('undo', '99'), { status: 4, says })
    // A look changes nothing in any case.
    const looked = [/Cannot find transaction "99"\n {5}vml tx list shows them\n/]
    await refused(chroot, vml('show', '99'), { status: 4, says: looked })
    const confirmed = [/Cannot find transaction "99"\n {5}Nothing was changed. vml tx list/]
    await refused(chroot, vml('confirm', '99'), { status: 4, says: confirmed })
    await refused(chroot, vml('confirm', '1'), { status: 4, says: [/Cannot confirm #1: nobody waits/] })
  })

  await context.test('words that are none', async () => {
    const watched = [/Cannot do "foo": what is watched has add, rm and list\n/]
    await refused(chroot, vml('watch', 'foo'), { status: 2, says: watched })
    await refused(chroot, vml('watch', 'add'), { status: 2, says: [/Cannot add no path/] })
    const notFound = (verb: string) => new RegExp(`A command was not found\\..* vml tx ${verb} -- sh -c`)
    for (const verb of ['run', 'try'])
      await refused(chroot, vml(verb, '--', 'nosuch'), { status: 1, says: [notFound(verb)] })
    const asUser = ['setpriv', '--reuid=65534', '--clear-groups', 'env', 'HOME=/tmp', ...vml('list')]
    await refused(chroot, asUser, { status: 1, says: [/: only root may\n {5}Repeat it with sudo\n/] })
  })

  await context.test('one that was undone already, and redone, and undone again', async () => {
    await chroot.vml(['tx', 'undo', '2'])
    await refused(chroot, vml('undo', '2'), { status: 14, says: [/#3 did it already/, /vml tx redo 2/] })
    await chroot.vml(['tx', 'redo', '2'])
    await refused(chroot, vml('redo', '2'), { status: 14, says: [/it was not taken back/] })
    await chroot.vml(['tx', 'undo', '2'])
    const marks = (await transactionsOf(chroot)).map(({ number, undone_by: by }) => [number, by])
    assert.deepEqual(marks, [
      [5, null],
      [4, null],
      [3, 4],
      [2, 5],
      [1, null],
    ])
  })

  await context.test('a line for a shell, where a command is meant', async () => {
    const says = [/ended with status 127: nothing of it was kept/, /vml tx run -- sh -c "LINE"/]
    await refused(chroot, vml('run', 'echo a >/etc/made'), { status: 1, says })
  })

  await context.test('a second transaction at once', async () => {
    const first = chroot.start(['vml', 'tx', 'run', '--', 'sleep', '600'])
    await until(() => readIfThere(join(chroot.path, 'var/lib/vml/stage/open/enter')))
    const says = [/another one is open, of process \d+/, /Nothing was changed. Wait for it to end/]
    await refused(chroot, vml('run', '--', 'true'), { status: 11, says })
    await refused(chroot, vml('redo', '2'), { status: 11, says })
    await refused(chroot, apt, { status: 100, says: [/vml: Cannot begin/, /Nothing was changed/] })
    first.kill('SIGKILL')
    await chroot.vml(['tx', 'recover'])
    // Nobody goes on in a stage that was thrown away.
    assert.equal((await chroot.sh('ps ax -o args | grep -c "[s]leep 600"', { mayFail: true })).stdout, '0\n')
  })

  await context.test('the lock of apt is held', async () => {
    await chroot.sh(`perl -e '${holdLock}' >/dev/null 2>&1 & echo $! >/run/holder`)
    await until(() => readIfThere(join(chroot.path, 'run/held')))
    const says = [/"perl" \(process \d+\) holds the lock/, /Nothing was changed. Wait until it has ended/]
    await refused(chroot, vml('redo', '2'), { status: 11, says })
    await refused(chroot, apt, { status: 100, says: [/Could not get lock/] })
    await chroot.sh('kill $(cat /run/holder)')
  })

  await context.test('a package that is left half configured', async () => {
    const before = await stateOf(chroot)
    const ended = await chroot.run(['apt-get', '-y', 'install', 'half'], { mayFail: true })
    assert.equal(ended.status, 100)
    assert.match(
      ended.stdout + ended.stderr,
      /a script of half failed in the stage. It is done again on the machine itself/,
    )
    assert.match(ended.stderr, /Live: dpkg --audit, afterwards failed: .*half/)
    assert.match((await chroot.sh('dpkg --audit')).stdout, /half/)
    await chroot.vml(['tx', 'undo', '6'])
    assert.equal(await stateOf(chroot), before)
  })

  await context.test('no space', async () => {
    await chroot.sh('fallocate -l $((($(df -k --output=avail / | tail -1) - 6000) * 1024)) /var/tmp/fill')
    const says = [
      /needs [\d.]+ MiB where "\/var\/lib\/vml.*" lies, and [\d.]+ MiB are free/,
      /Nothing was changed. Make room/,
    ]
    await refused(chroot, vml('run', '--', 'touch', '/etc/more'), { status: 31, says })
    await refused(chroot, vml('run', '--live', '--', 'touch', '/etc/more'), { status: 31, says })
    await refused(chroot, vml('redo', '2'), { status: 31, says })
    await refused(chroot, apt, { status: 100, says })
    await chroot.sh('dd if=/dev/zero of=/var/tmp/rest bs=1M; dd if=/dev/zero of=/var/tmp/more bs=1', {
      mayFail: true,
    })
    const none = [/no room is left where "\/var\/lib\/vml" lies/, /Nothing was changed.* Make room/]
    for (const words of [
      vml('run', '--', 'touch', '/etc/more'),
      vml('run', '--live', '--', 'touch', '/etc/more'),
      vml('try', '--', 'touch', '/etc/more'),
    ])
      await refused(chroot, words, { status: 31, says: none })
    await refused(chroot, vml('redo', '2'), {
      status: 31,
      says: [/, and 0 B are free/, /Nothing was changed/],
    })
    await chroot.sh('rm /var/tmp/fill /var/tmp/rest /var/tmp/more')
  })

  await context.test('a root that is read-only', async () => {
    await chroot.sh('mount -o remount,ro /')
    const says = [/mounted read-only/, /Nothing was changed. .*remount,rw/]
    for (const words of [
      vml('run', '--', 'true'),
      vml('run', '--live', '--', 'true'),
      vml('try', '--', 'true'),
      vml('redo', '2'),
    ])
      await refused(chroot, words, { status: 1, says })
    await chroot.vml(['tx', 'list'])
    await chroot.sh('mount -o remount,rw /')
  })

  await context.test('files may not become large enough', async () => {
    const limited = await chroot.sh('ulimit -f 1; exec vml tx run -- touch /etc/limited', { mayFail: true })
    assert.equal(limited.status, 1)
    assert.match(limited.stderr, /A file would be larger than it may be here.*\n.*ulimit -f/)
    assert.equal((await chroot.sh('ls /etc/limited', { mayFail: true })).stdout, '')
  })

  await context.test('a pre-image that is not there any more', async () => {
    await chroot.vml(['tx', 'run', '--', 'touch', '/etc/newer'])
    await dropPreImages(chroot)
    const says = [
      /Cannot get "\/etc\/made" as it was before #5: dropped for the budget/,
      /Nothing was changed/,
    ]
    await refused(chroot, vml('undo', '5'), { status: 20, says })
  })
})

/** fcntl(2), as apt does it. */
const holdLock =
  'use Fcntl; open(F, ">>", "/var/lib/dpkg/lock-frontend"); my $l = pack("s s l! l! i", F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $l) or die; open(G, ">", "/run/held"); print G "1"; close G; sleep 600'

test('a clock that jumps ahead and back changes neither the order of transactions nor what an undo gives', async () => {
  await using chroot = await openChroot()
  await chroot.sh('cat >/srv/clock.mjs', {
    input:
      'const now = Date.now; const jump = Number(process.env.JUMP_MS); Date.now = () => now.call(Date) + jump\n',
  })
  const year = 365 * 86_400_000
  const at = async (jump: number, ...words: readonly string[]) =>
    await chroot.vml(['tx', ...words], {
      env: { NODE_OPTIONS: '--import=/srv/clock.mjs', JUMP_MS: String(jump) },
    })
  // Each at a place of its own: what touches is a conflict, and this is about the order.
  await chroot.sh('seq 9 >/etc/list')
  const write = (text: string, after: number) => ['run', '--', 'sed', '-i', `${after}a ${text}`, '/etc/list']
  await at(0, ...write('one', 2))
  await at(year, ...write('two', 5))
  await chroot.sh('echo "10.0.0.1 hand" >>/etc/hosts')
  await at(-year, ...write('three', 8))
  const listed = (await transactionsOf(chroot)).map(({ number, title }) => `${number} ${title.slice(0, 15)}`)
  assert.deepEqual(listed, [
    '4 sed -i 8a three',
    '3 changes by hand',
    '2 sed -i 5a two /',
    '1 sed -i 2a one /',
  ])
  await at(year / 2, 'undo', '2')
  assert.equal((await chroot.sh('grep [a-z] /etc/list')).stdout, 'one\nthree\n')
  await at(-year / 2, 'redo', '2')
  assert.equal((await chroot.sh('grep [a-z] /etc/list')).stdout, 'one\ntwo\nthree\n')
  await at(0, 'undo', '--to-before', '2')
  assert.equal(
    (await chroot.sh('grep [a-z] /etc/list; grep -c hand /etc/hosts', { mayFail: true })).stdout,
    'one\n0\n',
  )
})

test('hooks of other tools beside ours do their work, and the run is one transaction', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish({ name: 'joe', version: '1.0', files: { '/usr/bin/joe': 'joe\n' } })
  for (const { path, content, mode } of otherHooks)
    await chroot.sh(`mkdir -p $(dirname ${path}); cat >${path}; chmod ${mode} ${path}`, { input: content })
  await chroot.vml(['tx', 'enable'])
  const { stderr } = await chroot.run(apt)
  assert.match(stderr, /#1: /)
  assert.deepEqual((await chroot.sh('sort -u /var/log/other-hooks')).stdout.trim().split('\n'), [
    'etckeeper post-install',
    'etckeeper pre-install',
    'listchanges joe',
    'needrestart',
    'snapper post',
    'snapper pre',
  ])
  assert.equal((await transactionsOf(chroot)).length, 1)
  assert.equal((await chroot.vml(['tx', 'show', '1', '--json'])).stdout.includes('/usr/bin/joe'), true)
  await chroot.vml(['tx', 'undo', '1'])
  assert.equal((await chroot.sh('dpkg --audit; ls /usr/bin/joe', { mayFail: true })).stdout, '')
})

function readIfThere(path: string): Buffer | undefined {
  try {
    const bytes = readFileSync(path)
    return bytes.length > 0 ? bytes : undefined
  } catch {
    return undefined
  }
}

test('what a note that cannot be read is left of is ended all the same: thrown away, or recorded where it was committed', async () => {
  await using chroot = await openChroot()
  const open = '/var/lib/vml/stage/open'
  const cutOff = async (script: string, isDue: () => unknown) => {
    const run = chroot.start(['/usr/bin/vml', 'tx', 'run', '--', 'sh', '-c', script])
    await until(() => isDue() || undefined)
    run.kill('SIGKILL')
    await chroot.sh(`pkill -x sleep || true; echo "{" >${open}/note.json`)
  }
  const ready = join(chroot.path, 'etc/ready')
  await cutOff('echo cut >/etc/cut; echo >/run/ready; sleep 100', () =>
    readIfThere(ready.replace('/etc/', '/run/')),
  )
  const recovered = await chroot.vml(['tx', 'recover'])
  assert.match(recovered.stderr, /note\.json": it is not JSON\. It is ended by what can be told of it/)
  assert.match(
    recovered.stderr,
    /"a transaction of which the note cannot be read" was cut off: nothing of it was kept/,
  )
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'echo next >/etc/next'])
  assert.equal((await chroot.sh('ls -d /etc/cut /etc/next', { mayFail: true })).stdout, '/etc/next\n')

  const state = join(chroot.path, open, 'journal/state')
  const many = 'mkdir /opt/many; cd /opt/many; for i in $(seq 3000); do echo $i >/etc/default/many$i; done'
  await cutOff(many, () => readIfThere(state)?.toString('latin1').startsWith('COMMITT'))
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/after'])
  assert.equal((await chroot.sh('ls /etc/default/many* | wc -l')).stdout, '3000\n')
  const [, recorded] = await transactionsOf(chroot)
  assert.equal(recorded?.title, 'a transaction of which the note cannot be read')
  await chroot.vml(['tx', 'undo', String(recorded?.number)])
  assert.equal((await chroot.sh('ls -d /etc/default/many* /opt/many', { mayFail: true })).stdout, '')
})

test('texts that are too long are refused where they are typed, and cut where they come from elsewhere', async () => {
  await using chroot = await openChroot()
  const long = 'm'.repeat(100_000)
  const tooLong = {
    status: 2,
    says: [/Cannot take a title of 100000 characters: the limit is 4096/, /Nothing was run/],
  }
  await refused(chroot, vml('run', '-m', long, '--', 'touch', '/etc/made'), tooLong)
  await refused(chroot, vml('try', '-m', long, '--', 'touch', '/etc/made'), tooLong)
  const validate = vml('run', '--validate', long, '--', 'touch', '/etc/made')
  await refused(chroot, validate, { status: 2, says: [/Cannot ask a command of 100000 characters/] })

  // A conflict on a path of some 4000 characters is the reason why it is run on the machine itself: it stands in the note, and in the record.
  const script = `p=/opt; for i in $(seq 16); do p=$p/$(printf %0240d $i); done; mkdir -p $p; f=$p/$(printf %0200d 1); echo a >$f
    vml tx run -m '' -- sh -c "echo b >$f; touch /run/go; sleep 1.5" >/run/out 2>&1 &
    while [ ! -e /run/go ]; do sleep 0.1; done; echo mine >$f
    wait; vml tx recover; vml tx run -- touch /etc/after`
  await chroot.run(['/bin/sh', '-c', script], { env: { SUDO_USER: 'a'.repeat(100_000) } })
  const titles = (await transactionsOf(chroot)).map(({ title }) => title)
  assert.equal(titles[0], 'touch /etc/after')
  // Nothing typed is no title.
  assert.ok(titles.every((title) => title !== ''))
})

test('a package with fields and a version that no record holds is recorded all the same, and taken back', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const fields = { Section: 'a'.repeat(5000), Source: 'b'.repeat(5000) }
  await archive.publish({ name: 'joe', version: '1.0', fields, files: { '/usr/bin/joe': 'joe\n' } })
  await chroot.vml(['tx', 'enable'])
  await chroot.run(apt)
  // dpkg takes it, though no file could be named so.
  const version = `1.${'0'.repeat(300)}`
  await chroot.sh(`cd /run; mkdir -p own/DEBIAN own/usr/share; echo x >own/usr/share/own
    printf 'Package: own\\nVersion: %s\\nArchitecture: all\\nMaintainer: x <x@x>\\nDescription: x\\n' ${version} >own/DEBIAN/control
    dpkg-deb -b own own.deb; dpkg -i own.deb`)
  const [own, joe] = await transactionsOf(chroot)
  assert.deepEqual([own?.complete, own?.packages[0]?.name], [false, 'own'])
  assert.deepEqual([joe?.complete, joe?.packages[0]?.name], [true, 'joe'])
  await chroot.vml(['tx', 'undo', String(own?.number)])
  await chroot.vml(['tx', 'undo', String(joe?.number)])
  await refused(chroot, ['dpkg', '-s', 'joe', 'own'], {
    status: 1,
    says: [/joe' is not installed/, /own' is not installed/],
  })
  assert.equal((await chroot.sh('ls /usr/bin/joe /usr/share/own', { mayFail: true })).stdout, '')

  // Fields that are many are read; relations that are too many are not, and the change is recorded all the same.
  const odd = `X-Long: ${'x'.repeat(5_000_000)}\n${Array.from({ length: 2500 }, (_, at) => `X-${at}: x`).join('\n')}\nDepends: ${'dpkg | '.repeat(110_000)}dpkg\n`
  const input = `Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n${odd}`
  await chroot.sh('cd /run; cat >own/DEBIAN/control; dpkg-deb -b own odd.deb', { input })
  const installed = await chroot.run(['dpkg', '-i', '/run/odd.deb'])
  assert.match(installed.stderr, /The record is incomplete: which packages changed is not recorded/)
  const [known] = await transactionsOf(chroot)
  assert.deepEqual([known?.complete, known?.counts.created], [false, 3])
})

test('an undo or redo is not asked both to put back data and to leave it', async () => {
  await using chroot = await openChroot()
  for (const verb of ['undo', 'redo']) {
    const ended = await chroot.vml(['tx', verb, '1', '--data', '--leave-data'], { mayFail: true })
    assert.deepEqual([ended.status, ended.stdout], [2, ''])
    assert.match(ended.stderr, /^vml: Cannot take --data and --leave-data at once$/m)
  }
})
