import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { once } from 'node:events'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { test } from 'node:test'
import { type Chroot, openChroot } from '../chroot.ts'

const write = (name: string) => ['--', 'sh', '-c', `echo x >/etc/${name}`]
const isThere = (chroot: Chroot, path: string) => existsSync(join(chroot.path, path))

test('C04: what does not stand its check is taken back by itself, with the reason, and what does stays', async () => {
  await using chroot = await openChroot()
  const good = ['tx', 'run', '--validate', 'test -e /etc/good', '--within', '1s', ...write('good')]
  const stood = await chroot.vml(good)
  assert.match(stood.stderr, /#1 stood its time, and stays/)

  const bad = ['tx', 'run', '--validate', 'echo no good; exit 3', '--within', '1m', ...write('bad')]
  const taken = await chroot.vml(bad, { mayFail: true })
  assert.equal(taken.status, 1)
  assert.match(taken.stderr, /#2 was taken back: "echo no good; exit 3" ended with status 3: no good/)
  assert.ok(isThere(chroot, 'etc/good') && !isThere(chroot, 'etc/bad'))
  const { stdout } = await chroot.vml(['tx', 'show', '3'])
  assert.match(stdout, /note +"echo no good; exit 3" ended with status 3/)
  assert.ok(!isThere(chroot, 'var/lib/vml/probation/2'))
})

test('C04: what was changed again, and so stays, is not told as taken back', async () => {
  await using chroot = await openChroot()
  const watched = async (files: string) => {
    const write = `for each in ${files}; do echo x >/etc/$each; done`
    const check = 'echo $$ >>/etc/again; false'
    const words = ['--validate', check, '--within', '1m', '--', 'sh', '-c', write]
    return (await chroot.vml(['tx', 'run', ...words], { mayFail: true })).stderr
  }
  assert.match(await watched('again'), /#1 was to be taken back .* could not be: .*"\/etc\/again": /)
  assert.match(
    await watched('again other'),
    /1 path of #\d stayed as they were, .*: \/etc\/again\n.*was taken back/,
  )
  assert.ok(isThere(chroot, 'etc/again') && !isThere(chroot, 'etc/other'))
})

test('C04: what nobody confirms is taken back, and what somebody does stays', async () => {
  await using chroot = await openChroot()
  const late = await chroot.vml(['tx', 'run', '--confirm', '--within', '1s', ...write('late')], {
    mayFail: true,
  })
  assert.equal(late.status, 1)
  assert.match(late.stderr, /#1 was taken back: Nobody confirmed it in time/)
  assert.ok(!isThere(chroot, 'etc/late'))

  const waiting = chroot.start(['vml', 'tx', 'run', '--confirm', '--within', '1m', ...write('kept')])
  const ended = once(waiting, 'exit')
  await until(() => isThere(chroot, 'var/lib/vml/probation/3'))
  assert.match(
    (await chroot.vml(['tx', 'list'])).stdout,
    /^#3 .*  \[on probation\]\n#2 .*\n#1 .*\[undone by #2\]\n$/,
  )
  const shown = await chroot.vml(['tx', 'show', '3'])
  assert.match(
    shown.stdout,
    /probation +taken back by itself at \S+ \S+ unless vml tx confirm 3 comes before\n/,
  )
  assert.deepEqual(probations(await chroot.vml(['tx', 'list', '--json'])), [true, null, null])
  await chroot.vml(['tx', 'confirm', '3'])
  assert.deepEqual(await ended, [0, null])
  assert.ok(isThere(chroot, 'etc/kept'))
  assert.equal((await chroot.vml(['tx', 'confirm', '3'], { mayFail: true })).status, 4)
  assert.doesNotMatch((await chroot.vml(['tx', 'list'])).stdout, /probation/)
})

test('C04: a probation that was cut off is taken up: by resume-probation, and when its time is over by the next transaction', async () => {
  await using chroot = await openChroot()
  await chroot.sh('echo 0 >/run/answer')
  const run = ['vml', 'tx', 'run', '--validate', 'exit $(cat /run/answer)', '--within', '1h', ...write('one')]
  await killOnProbation(chroot, run, 1)
  assert.ok(isThere(chroot, 'etc/one'))
  assert.match(
    (await chroot.vml(['tx', 'show', '1'])).stdout,
    /when "exit \$\(cat \/run\/answer\)" fails until .*; vml tx confirm 1 ends that\. Nobody watches it now: vml tx resume-probation/,
  )
  assert.deepEqual(probations(await chroot.vml(['tx', 'list', '--json'])), [false])
  // As where systemd runs, and its timer was begun with the probation.
  await chroot.sh(
    `mkdir -p /run/systemd/system; printf '#!/bin/sh\ntest "$*" = "is-active --quiet vml-probation.timer"\n' >/usr/local/bin/systemctl; chmod 755 /usr/local/bin/systemctl`,
  )
  assert.match(
    (await chroot.vml(['tx', 'show', '1'])).stdout,
    /ends that\. The program that watched it is gone: systemd takes it up, which may be up to a minute late\n/,
  )
  assert.deepEqual(probations(await chroot.vml(['tx', 'list', '--json'])), [true])
  await chroot.sh('rm -r /run/systemd /usr/local/bin/systemctl')
  await chroot.sh('echo 4 >/run/answer')
  const resumed = await chroot.vml(['tx', 'resume-probation'], { mayFail: true })
  assert.equal(resumed.status, 1)
  assert.match(resumed.stderr, /#1 was taken back: .* ended with status 4/)
  assert.ok(!isThere(chroot, 'etc/one'))

  await killOnProbation(chroot, ['vml', 'tx', 'run', '--confirm', '--within', '1h', ...write('two')], 3)
  // Its hour is over.
  await chroot.sh(`sed -i 's/"until": "[^"]*"/"until": "2024-01-01T00:00:00.000Z"/' /var/lib/vml/probation/3`)
  const next = await chroot.vml(['tx', 'run', ...write('three')])
  assert.match(next.stderr, /#3 was taken back: Nobody confirmed it in time/)
  assert.ok(!isThere(chroot, 'etc/two') && isThere(chroot, 'etc/three'))
})

/** Whether somebody watches each, newest first. */
function probations({ stdout }: { readonly stdout: string }): (boolean | null)[] {
  const { transactions }: { transactions: readonly { probation: { watched: boolean } | null }[] } =
    JSON.parse(stdout)
  return transactions.map(({ probation }) => probation?.watched ?? null)
}

async function killOnProbation(chroot: Chroot, argv: readonly string[], number: number): Promise<void> {
  const child = chroot.start(argv)
  const ended = once(child, 'exit')
  await until(() => isThere(chroot, `var/lib/vml/probation/${number}`))
  child.kill('SIGKILL')
  await ended
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 50) {
    assert.ok(waited < waitMsMax, 'what was waited for did not come')
    await setTimeout(50)
  }
}

/** A command starts within seconds, also on a busy computer. */
const waitMsMax = 60_000

test('C04: what was asked for survives a kill between the commit and the watch: whoever mends it tells, and it is taken back', async () => {
  await using chroot = await openChroot()
  await chroot.sh('mkdir /opt/d; cd /opt/d; touch $(seq 1500); echo accept >/etc/firewall')
  const run = chroot.start([
    ...['vml', 'tx', 'run', '--confirm', '--within', '2s', '--', 'sh', '-c'],
    'echo drop >/etc/firewall; cd /opt/d; for f in *; do echo new >$f; done',
  ])
  const ended = once(run, 'exit')
  const file = join(chroot.path, 'var/lib/vml/stage/open/journal/state')
  while (!(existsSync(file) && readFileSync(file, 'latin1') === 'COMMITTED\n')) await setImmediate()
  run.kill('SIGKILL')
  await ended
  const mended = await chroot.vml(['tx', 'recover'])
  assert.match(mended.stdout + mended.stderr, /it was finished and recorded/)
  assert.match(mended.stderr, /#1 is on probation until .*: vml tx resume-probation goes on watching it/)
  const resumed = await chroot.vml(['tx', 'resume-probation'], { mayFail: true })
  assert.match(resumed.stderr, /#1 was taken back: Nobody confirmed it in time/)
  assert.equal((await chroot.sh('cat /etc/firewall')).stdout, 'accept\n')
})

test('C04: what was confirmed stays so, also where the stage that asked for it was cut off before it was dropped', async () => {
  await using chroot = await openChroot()
  const open = '/var/lib/vml/stage/open'
  const cutOff = async (number: number) => {
    // The note as it was, and no stage: as right before the last step of it.
    const argv = ['vml', 'tx', 'run', '--confirm', '--within', '1h', '--', 'sh', '-c']
    const child = chroot.start([...argv, `echo x >/etc/kept${number}; sleep 2`])
    const ended = once(child, 'exit')
    const note = join(chroot.path, open, 'note.json')
    await until(() => existsSync(note) && readFileSync(note, 'utf8').includes('"probation"'))
    await chroot.sh(`cp ${open}/note.json /run/note.json`)
    await until(() => isThere(chroot, `var/lib/vml/probation/${number}`) && !existsSync(note))
    child.kill('SIGKILL')
    await ended
    await chroot.sh(`mkdir -p -m 700 ${open}; cp /run/note.json ${open}/`)
  }
  const confirmed = async (number: number) => {
    const { stderr } = await chroot.vml(['tx', 'confirm', String(number)])
    assert.match(stderr, new RegExp(`^#${number} stays$`, 'm'))
    const next = await chroot.vml(['tx', 'run', ...write(`next${number}`)])
    assert.match(next.stderr, new RegExp(`#${number} had been recorded`))
    assert.doesNotMatch(next.stderr, /probation/)
    assert.doesNotMatch((await chroot.vml(['tx', 'list'])).stdout, /probation/)
    assert.ok(!isThere(chroot, `var/lib/vml/probation/${number}`))
  }
  await cutOff(1)
  await confirmed(1)
  // Killed before the watch was noted, too.
  await cutOff(3)
  await chroot.sh('rm /var/lib/vml/probation/3')
  await confirmed(3)
  // What nobody has confirmed is watched all the same.
  await cutOff(5)
  await chroot.sh('rm /var/lib/vml/probation/5')
  assert.match((await chroot.vml(['tx', 'recover'])).stderr, /#5 is on probation until /)
})

test('C04: what is to be taken back while another transaction is open, or one waits that was tried, is taken back all the same', async () => {
  await using chroot = await openChroot()
  const watched = (path: string) =>
    `(vml tx run --confirm --within 5s -- touch ${path}; echo "status $?") >/run/watched 2>&1 &
     i=0; until grep -q 'taken back unless' /run/watched || [ $i = 600 ]; do sleep 0.1; i=$((i + 1)); done`
  const { stdout } = await chroot.sh(
    `set +e; ${watched('/etc/one')}
     vml tx run -- sh -c 'i=0; until grep -q "soon as that can" /run/watched || [ $i = 600 ]; do sleep 0.1; i=$((i + 1)); done; touch /etc/other'
     wait; cat /run/watched; ls /etc/one /etc/other
     ${watched('/etc/two')}
     vml tx try -- touch /etc/tried; wait; cat /run/watched; ls /etc/two
     vml tx commit; echo "commit $?"
     ${watched('/etc/three')}
     vml tx undo $(vml tx list | sed -n '1s/^#\\([0-9]*\\).*/\\1/p'); vml tx confirm $(vml tx list | sed -n '2s/^#\\([0-9]*\\).*/\\1/p') 2>&1; echo "confirm $?"`,
    { mayFail: true },
  )
  assert.match(
    stdout,
    /#1 is to be taken back .*another one is open.*\n[^]*#1 was taken back: .*\nstatus 1\n\/etc\/other\n/,
  )
  assert.match(
    stdout,
    /"touch \/etc\/tried", which was tried .* is thrown away: #\d+ is taken back now\n[^]*status 1\ncommit 4\n/,
  )
  assert.match(stdout, /Cannot confirm #\d+: #\d+ has taken it back\n[^]*confirm 14\n/)
})
