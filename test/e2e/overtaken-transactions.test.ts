// Something that a transaction changes is changed on the machine in the very moment of its commit.
import assert from 'node:assert/strict'
import test from 'node:test'
import { openChroot, type Chroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import { apt, transactionsOf } from '../transaction-bed.ts'

/** After the stage was looked at, and before the commit, checks are run: the first of them waits here until the machine was changed. */
async function overtakeAtCheck(chroot: Chroot, change: string): Promise<void> {
  await chroot.sh(
    'mkdir -p /etc/vml/checks.d; cat >/etc/vml/checks.d/wait; chmod 755 /etc/vml/checks.d/wait',
    {
      input:
        '#!/bin/sh\ni=0; until [ -e /run/overtaken ] || [ $i = 600 ]; do i=$((i + 1)); sleep 0.1; done; [ -e /run/overtaken ]\n',
    },
  )
  await chroot.sh(`{
    until ps ax -o args 2>/dev/null | grep -q "[c]hecks.d/wait"; do sleep 0.1; done
    ${change}; touch /run/overtaken
  } >/dev/null 2>&1 &`)
}

test('a command that was overtaken at its commit is run once more, unless it read what is gone by then', async () => {
  await using chroot = await openChroot()
  await chroot.sh('echo one >/etc/list')
  await overtakeAtCheck(chroot, 'echo two >>/etc/list')
  const { stderr } = await chroot.sh("vml tx run -- sh -c 'echo three >>/etc/list' </dev/null")
  assert.match(
    stderr,
    /"\/etc\/list": it has changed meanwhile; nothing was changed. It is run once more on what the machine is now/,
  )
  assert.equal((await chroot.sh('cat /etc/list')).stdout, 'one\ntwo\nthree\n')
  const [made] = await transactionsOf(chroot)
  await chroot.vml(['tx', 'undo', String(made?.number)])
  assert.equal((await chroot.sh('cat /etc/list')).stdout, 'one\ntwo\n')

  // What stands in a pipe is read once: nothing is kept, and nothing is left in the way.
  await chroot.sh('rm /run/overtaken')
  await overtakeAtCheck(chroot, 'echo four >>/etc/list')
  const refused = await chroot.sh("echo three | vml tx run -- sh -c 'cat >>/etc/list'", { mayFail: true })
  assert.equal(refused.status, 14, refused.stderr)
  assert.match(refused.stderr, /nothing was changed/)
  assert.equal((await chroot.sh('cat /etc/list')).stdout, 'one\ntwo\nfour\n')
  assert.match((await chroot.vml(['tx', 'recover'])).stderr, /^(?!.*cut off)/)
})

test('a run of apt that was overtaken at its commit is done again on the machine itself', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish({ name: 'joe', version: '1.0', files: { '/etc/joe.d/conf': 'joe\n' } })
  await chroot.vml(['tx', 'enable'])
  await overtakeAtCheck(
    chroot,
    'cp /var/lib/dpkg/status /s; sed "0,/^Priority: .*/s//Priority: extra/" /s >/var/lib/dpkg/status',
  )
  const { stderr } = await apt(chroot, ['install', 'joe'])
  assert.match(stderr, /has changed meanwhile.*done again on the machine itself/)
  assert.match(stderr, /Live: a check before the change was not run/)
  assert.equal((await chroot.sh('cat /etc/joe.d/conf; dpkg --audit')).stdout, 'joe\n')
  const [made] = await transactionsOf(chroot)
  await chroot.vml(['tx', 'undo', String(made?.number)])
  assert.equal((await chroot.sh('ls /etc/joe.d', { mayFail: true })).status, 2)
})

test('the hook of an apt that was killed ends what it is at, and whoever comes meanwhile waits for it', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  for (const name of ['joe', 'moe', 'zoe'])
    await archive.publish({ name, version: '1.0', files: { [`/opt/${name}`]: `${name}\n` } })
  const check = '/etc/vml/checks.d/slow'
  await chroot.sh(`mkdir -p /etc/vml/checks.d; cat >${check}; chmod 755 ${check}`, {
    input: '#!/bin/sh\nsleep 1\n',
  })
  await chroot.vml(['tx', 'enable'])
  await chroot.vml(['tx', 'watch', '--once'])
  for (const [install, next] of [
    ['joe', 'vml tx recover'],
    ['moe', 'apt-get -y install zoe'],
  ] as const) {
    const { stdout } = await chroot.sh(
      `apt-get -y install ${install} >/run/first 2>&1 & first=$!
       until ps ax -o args | grep -q "[c]hecks.d/slow"; do sleep 0.1; done
       hook=$(ps ax -o pid,args | awk '/node .*[t]x hook end/ { print $1 }')
       kill -STOP $hook; kill -9 $first
       ${next} >/run/next 2>&1 & next=$!
       i=0; until grep -q Waiting /run/next || [ $i = 200 ]; do i=$((i + 1)); sleep 0.1; done
       kill -CONT $hook
       wait $next; echo $?; cat /run/next`,
    )
    assert.match(stdout, /^0\n[^]*Waiting for another vml \(process \d+\), which is at work on a transaction/)
    if (install === 'joe') assert.match(stdout, /Nothing was left behind/)
  }
  const titles = (await transactionsOf(chroot)).map(({ title }) => title)
  assert.deepEqual(
    titles.filter((title) => title.startsWith('apt-get')).toReversed(),
    ['joe', 'moe', 'zoe'].map((name) => `apt-get -y install ${name}`),
  )
  assert.equal((await chroot.sh('cat /opt/?oe; dpkg --audit')).stdout, 'joe\nmoe\nzoe\n')
})

test('a commit that was cut off is mended and recorded once, by however many at once', async () => {
  await using chroot = await openChroot()
  await chroot.sh('mkdir /opt/many; cd /opt/many; for n in $(seq 2000); do echo one >$n; done')
  const { stdout } = await chroot.sh(
    `vml tx run -m many -- sh -c 'cd /opt/many; for n in $(seq 2000); do echo two >$n; done' >/run/log 2>&1 & run=$!
     until grep -qs COMMITTING /var/lib/vml/stage/open/journal/state; do sleep 0.003; done
     kill -9 $run
     for n in 1 2 3; do (vml tx recover >/run/recover$n 2>&1; echo $?) & done; wait
     cat /run/recover?; cat /opt/many/* | sort | uniq -c`,
  )
  assert.match(stdout, /^0\n0\n0\n/)
  assert.equal(stdout.match(/it was finished and recorded/g)?.length, 1, stdout)
  assert.equal(stdout.match(/Nothing was left behind/g)?.length, 2, stdout)
  assert.match(stdout, /\n *2000 two\n$/)
  assert.deepEqual(
    (await transactionsOf(chroot)).map(({ title }) => title),
    ['many'],
  )
})

test('what was recorded right before a crash is known as such when its journal was forgotten already, and is not taken back', async () => {
  await using chroot = await openChroot()
  const open = '/var/lib/vml/stage/open'
  await chroot.sh(
    `vml tx run -m one -- sh -c 'echo one >/etc/one; until [ -e /run/go ]; do sleep 0.1; done' & run=$!
     until [ -e ${open}/index ]; do sleep 0.1; done
     cp ${open}/note.json /run/note.json; touch /run/go; wait $run`,
  )
  for (const words of [[], ['--backward']]) {
    await chroot.sh(`mkdir -m 700 ${open}; cp /run/note.json ${open}`)
    const { stderr } = await chroot.vml(['tx', 'recover', ...words])
    assert.match(stderr, /#1 had been recorded; what was left of it was removed/)
    assert.equal((await chroot.sh(`cat /etc/one; ls ${open} 2>/dev/null; true`)).stdout, 'one\n')
  }
})
