// Single files of transactions, however their entries have them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'

const failed = { mayFail: true }

test('a file that is kept as a difference comes out as it was, printed, beside and at its place (issue 4)', async () => {
  await using chroot = await openChroot()
  const env = { VML_LOGBOOK: '/var/lib/vml/logbook' }
  const sumOf = async (file: string) => (await chroot.run(['sha256sum', file])).stdout.slice(0, 64)
  const change = (word: string) => `cp -p ptx new; echo ${word} >>new; mv new ptx`
  const run = async (script: string) =>
    await chroot.vml(['tx', 'run', '--', 'sh', '-c', `cd /usr/bin; ${script}`])
  await chroot.sh('echo 1 >/usr/bin/fit.conf')
  const one = await sumOf('/usr/bin/ptx')
  await run(`${change('more')}; echo 2 >fit.conf; echo x >made; ln -s made fit.link`)
  await run(`${change('again')}; rm fit.link`)
  assert.match((await chroot.vml(['tx', 'show', '1'])).stdout, /1 delta/)
  const two = await sumOf('/usr/bin/ptx')

  await chroot.sh('vml cat 1:/usr/bin/ptx >/root/one; vml cat 2:/usr/bin/ptx >/root/between', { env })
  assert.equal(await sumOf('/root/one'), one)
  assert.match((await chroot.sh('tail -n 1 /root/between')).stdout, /more\n$/)
  assert.equal((await chroot.vml(['cat', '1:/usr/bin/fit.conf'], { env })).stdout, '1\n')
  for (const [path, words] of [
    ['1:/usr/bin/made', /"\/usr\/bin\/made" as it was before #1: it was not there/],
    ['2:/usr/bin/fit.link', /before #2: it was a link to "made"/],
    ['2:/usr/bin/fit.conf', /Cannot find "\/usr\/bin\/fit.conf" in #2/],
  ] as const) {
    const refused = await chroot.vml(['cat', path], { env, ...failed })
    assert.equal(refused.status, 4)
    assert.match(refused.stderr, words)
  }

  // A comparison says what it cannot mean, or cannot have.
  for (const [words, status, told] of [
    [['1', '2'], 2, /it is a transaction, and no state\n.*vml tx show 1 --paths/],
    [['1:/usr/bin', '2'], 17, /"\/usr\/bin\/ptx" of #1: it is kept as a difference.*\n.*vml cat 1:/],
  ] as const) {
    const refused = await chroot.vml(['diff', ...words], { env, ...failed })
    assert.equal(refused.status, status, refused.stderr)
    assert.match(refused.stderr, told)
  }

  const dry = await chroot.vml(['restore', '1:/usr/bin', '--to', '/root/old', '--dry-run'], { env })
  assert.match(dry.stdout, /\+ \/root\/old\/bin\/ptx \(rebuilt\)[^]*and 1 file rebuilt/)
  await chroot.vml(['restore', '1:/usr/bin', '--to', '/root/old'], { env })
  await chroot.vml(['restore', '1:/usr/bin/ptx', '--to', '/root/alone'], { env })
  for (const file of ['/root/old/bin/ptx', '/root/alone/ptx']) assert.equal(await sumOf(file), one)
  assert.equal(
    (await chroot.sh('cd /root/old/bin; ls; cat fit.conf; stat -c %a ptx')).stdout,
    'fit.conf\nptx\n1\n755\n',
  )
  const tar = await chroot.vml(['restore', '1:/usr/bin/ptx', '--to', '/root/x.tar'], { env, ...failed })
  assert.equal(tar.status, 17)

  // At its place, on the machine that nobody had to name: what is there is in a safety entry first.
  const { stderr } = await chroot.vml(['restore', '1:/usr/bin/ptx'], { env })
  assert.equal(await sumOf('/usr/bin/ptx'), one)
  assert.match(stderr, /kept in #\d+: vml restore \d+ brings it back/)
  const safety = /kept in #(\d+)/.exec(stderr)?.[1] ?? ''
  await chroot.sh(`vml cat ${safety}:/usr/bin/ptx >/root/kept`, { env })
  assert.equal(await sumOf('/root/kept'), two)
})

test('a file that is larger than what is held in memory at once comes back, with its holes', async () => {
  await using chroot = await openChroot()
  const state = async () =>
    (await chroot.sh('cd /opt; stat -c "%n %s %a" large beside; tail -c 4 large; du -m large')).stdout
  await chroot.sh('cd /opt; truncate -s 1100M large; echo end >>large; echo y >beside; chmod 640 large')
  const before = await state()
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'cd /opt; rm large; echo x >beside'])
  assert.match((await chroot.vml(['tx', 'undo', '1'])).stdout, /Undone as #2: paths ok/)
  assert.equal(await state(), before)
})
