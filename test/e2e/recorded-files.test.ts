// Single files of transactions, however their entries have them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { transactionsOf } from '../transaction-bed.ts'

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
    [
      '1:/usr/bin/made',
      /"\/usr\/bin\/made" as it was before #1: it was not there\n +What #1 did is told by vml tx show 1 --paths\n/,
    ],
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
    [
      ['1:/usr/bin/ptx', 'now'],
      17,
      /#1 has single paths, and no state\n.*vml cat 1:\S+ \| diff - \/usr\/bin\/ptx/,
    ],
    [['1:/usr/bin', '2'], 17, /"\/usr\/bin\/ptx" of #1: it is kept as a difference.*\n.*vml cat 1:/],
  ] as const) {
    const refused = await chroot.vml(['diff', ...words], { env, ...failed })
    assert.equal(refused.status, status, refused.stderr)
    assert.match(refused.stderr, told)
  }

  const whole = await chroot.vml(['restore', '1', '--to', '/root/none'], { env, ...failed })
  assert.match(whole.stderr, /its paths alone are no state\n.*Nothing was changed/)
  assert.equal((await chroot.sh('ls -d /root/none', failed)).stdout, '', 'no folder was made for it')
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

test('what was changed by hand comes back to its own owner, be that nobody', async () => {
  await using chroot = await openChroot()
  const env = { VML_LOGBOOK: '/var/lib/vml/logbook' }
  await chroot.sh('echo one >/etc/nob; chown 65534:65534 /etc/nob; echo one >/etc/own')
  // Stock is taken.
  await chroot.vml(['tx', 'watch', '--once'])
  await chroot.sh('echo two >>/etc/nob; echo two >>/etc/own')
  await chroot.vml(['tx', 'watch', '--once'])
  const { number } = (await transactionsOf(chroot))[0] ?? {}
  for (const name of ['nob', 'own']) {
    const told = await chroot.vml(['restore', `${number}:/etc/${name}`], { env })
    assert.doesNotMatch(told.stdout + told.stderr, /owner/)
  }
  const { stdout } = await chroot.sh('cat /etc/nob /etc/own; stat -c %u:%g /etc/nob /etc/own')
  assert.equal(stdout, 'one\none\n65534:65534\n0:0\n')
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

/** As that of initramfs-tools 0.142: it makes an image for any version, with or without a kernel. */
const updateInitramfs = `cat >/usr/sbin/update-initramfs <<'X'
#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -k) version=$2; shift;; esac; shift; done
echo "made for $version" >/boot/initrd.img-$version
X
chmod 755 /usr/sbin/update-initramfs
mkdir -p /lib/modules/6.1.0/kernel; echo x >/lib/modules/6.1.0/modules.dep; echo kernel >/boot/vmlinuz-6.1.0
echo "made for 6.1.0" >/boot/initrd.img-6.1.0`

test('a file that only has the name of a boot image is kept whole, and comes back as it was', async () => {
  await using chroot = await openChroot()
  const env = { VML_LOGBOOK: '/var/lib/vml/logbook' }
  const state = async () => (await chroot.sh('cd /boot; grep . initrd*')).stdout
  await chroot.sh(updateInitramfs)
  await chroot.sh('cd /boot; for of in 6.1.0.bak 5.10.0 rescue; do echo "own $of" >initrd.img-$of; done')
  const before = await state()
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'cd /boot; rm *.bak *-5.10.0; echo x >initrd.img-rescue'])
  assert.equal((await chroot.vml(['cat', '1:/boot/initrd.img-6.1.0.bak'], { env })).stdout, 'own 6.1.0.bak\n')
  await chroot.vml(['tx', 'undo', '1'])
  assert.equal(await state(), before)
})

test('an undo that has nothing to do but to have something made anew does that, and its redo takes it away', async () => {
  await using chroot = await openChroot()
  const image = async () => (await chroot.sh('cat /boot/initrd.img-6.1.0', failed)).stdout
  await chroot.sh(updateInitramfs)
  await chroot.vml(['tx', 'run', '--', 'rm', '/boot/initrd.img-6.1.0'])
  const dry = await chroot.vml(['tx', 'undo', '1', '--dry-run'])
  assert.match(dry.stdout, /made anew: initrd/)
  assert.doesNotMatch(dry.stderr, /as it was before already/)
  // A program that says that all is well, and makes nothing.
  await chroot.sh('mv /usr/sbin/update-initramfs /root; ln -s /bin/true /usr/sbin/update-initramfs')
  const refused = await chroot.vml(['tx', 'undo', '1'], failed)
  assert.match(refused.stderr, /"\/boot\/initrd.img-6.1.0" was not made anew/)
  await chroot.sh('mv /root/update-initramfs /usr/sbin')
  assert.match((await chroot.vml(['tx', 'undo', '1'])).stdout, /made anew ok, initrd/)
  assert.equal(await image(), 'made for 6.1.0\n')
  await chroot.vml(['tx', 'redo', '1'])
  assert.equal(await image(), '')
  await chroot.vml(['tx', 'undo', '1'])
  assert.equal(await image(), 'made for 6.1.0\n')
})

test('what a person wrote into a file that an undo has made anew is kept: by its record, by its take-back, by a recovery', async () => {
  await using chroot = await openChroot()
  const env = { VML_LOGBOOK: '/var/lib/vml/logbook' }
  const menu = async () => (await chroot.sh('cd /boot/grub; cat grub.cfg; stat -c %a grub.cfg; ls -A')).stdout
  const isByHand = 'by hand\n640\ngrub.cfg\n'
  await chroot.sh(updateInitramfs)
  await chroot.sh(`mkdir -p /boot/grub; echo first >/boot/grub/grub.cfg
cat >/usr/sbin/update-grub <<'X'
#!/bin/sh
rm /boot/grub/grub.cfg; echo made >/boot/grub/grub.cfg
[ ! -e /root/killing ] || { rm /root/killing; kill -9 $PPID; }
X
chmod 755 /usr/sbin/update-grub`)
  const change = 'echo second >/boot/grub/grub.cfg; rm -f /boot/initrd.img-6.1.0'
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', change])
  await chroot.sh('echo by hand >/boot/grub/grub.cfg; chmod 640 /boot/grub/grub.cfg')
  // The proof fails after the menu was made.
  await chroot.sh('mv /usr/sbin/update-initramfs /root; ln -s /bin/true /usr/sbin/update-initramfs')
  assert.equal((await chroot.vml(['tx', 'undo', '1'], failed)).status, 15)
  assert.equal(await menu(), isByHand)
  await chroot.sh('mv /root/update-initramfs /usr/sbin')
  // Killed after the menu was made.
  for (const backward of [true, false]) {
    await chroot.sh('touch /root/killing')
    await chroot.vml(['tx', 'undo', '1'], failed)
    assert.match(await menu(), /^made\n/)
    if (!backward)
      await chroot.sh(
        'echo since >/boot/grub/grub.cfg; rm /boot/initrd.img-6.1.0; mv /usr/sbin/update-initramfs /root; ln -s /bin/true /usr/sbin/update-initramfs',
      )
    const { stderr } = await chroot.vml(['tx', 'recover', ...(backward ? ['--backward'] : [])])
    assert.equal(/written to since the crash, .* as "\/boot\/grub\/grub\.cfg\.mine"/.test(stderr), !backward)
    if (backward)
      assert.equal(`${await menu()}${(await chroot.sh('ls /boot/initrd*', failed)).stdout}`, isByHand)
    else assert.match(stderr, /"\/boot\/initrd\.img-6\.1\.0" was not made anew: its program ended well/)
  }
  await chroot.sh('mv /root/update-initramfs /usr/sbin')
  const [undo] = await transactionsOf(chroot)
  assert.equal(undo?.complete, true)
  const number = /^#(\d+) .*undo #1/m.exec((await chroot.vml(['tx', 'list'])).stdout)?.[1] ?? ''
  assert.equal((await chroot.vml(['cat', `${number}:/boot/grub/grub.cfg`], { env })).stdout, 'by hand\n')
  assert.equal(
    (await chroot.sh('cat /boot/grub/grub.cfg.mine; rm /boot/grub/grub.cfg.mine')).stdout,
    'since\n',
  )
  await chroot.vml(['tx', 'undo', number])
  assert.equal(await menu(), isByHand)
})
