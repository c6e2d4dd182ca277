// A real systemd: commits cut by a hard reset and by the power, mended before services start; timers that survive that; services once; no trace.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { cutPowerNow, type RebootedGuest, resetNow, startRebootedGuest, until } from '../rebooted-guest.ts'

const files = 1000
const folder = '/usr/local/lib/many'
const failed = { mayFail: true }

test('with a real systemd', async (context) => {
  await using guest = await startRebootedGuest()
  const step = async (name: string, work: () => Promise<void>) => await context.test(name, timed(work))
  await guest.vml('tx enable')
  await step('the unit is enabled, and a start without a journal leaves it alone', async () => {
    const { stdout } = await guest.root(
      'systemctl is-enabled vml-recover.service; systemctl is-active vml-recover.service',
      failed,
    )
    assert.equal(stdout, 'enabled\ninactive\n')
  })
  await guest.vml(`tx run -m first -- sh -c '${writing('round-0')}'`)
  let [round, state] = [1, 'round-0']
  for (const { how, by, delay } of [
    { how: 'the machine is reset', by: resetNow, delay: 0.2 },
    { how: 'the power goes', by: cutPowerNow, delay: 0 },
    { how: 'the power goes later', by: cutPowerNow, delay: 0.7 },
  ])
    await step(
      `a commit that is cut off when ${how} is whole, or not there, when services start`,
      async () => {
        state = await cutAndCheck(guest, { by, delay, before: state, after: `round-${round++}` })
      },
    )
  await step(
    'C04: a probation survives a hard reset: systemd takes it up, and takes the change back',
    async () => {
      await probationSurvives(guest)
    },
  )
  await step('services of a package are started and restarted once each, after the commit', async () => {
    await servicesOnce(guest)
  })
  await step('O1: the timer records a change by hand', async () => {
    await guest.vml('tx watch --install')
    await guest.root('echo 10.9.9.9 byhand >>/etc/hosts')
    // To the next time of the timer.
    await guest.root('date -s "@$(( ($(date +%s) / 300 + 1) * 300 - 3 ))" >/dev/null')
    await until(async () => /changes by hand: \/etc\/hosts/.test((await guest.vml('tx list')).stdout))
  })
  await step('tx disable leaves no unit, no timer and no file but what was recorded', async () => {
    const { stderr } = await guest.vml('tx disable')
    assert.match(stderr, /Removed the timer of vml tx watch and the unit/)
    const left = await guest.root(
      'find /etc /usr/lib /lib/systemd -xdev -name "*vml*" ! -path /etc/initramfs-tools/conf.d/vml; systemctl list-units --all --no-legend "vml*"; systemctl list-unit-files --no-legend "vml*"',
    )
    assert.equal(left.stdout, '')
    assert.equal((await guest.root('systemctl is-system-running', failed)).stdout, 'running\n')
  })
})

function timed(work: () => Promise<void>) {
  return async (context: TestContext) => {
    const began = performance.now()
    await work()
    context.diagnostic(`${Math.round((performance.now() - began) / 1000)} s`)
  }
}

function writing(text: string): string {
  return `mkdir -p ${folder}; for i in $(seq ${files}); do echo ${text} >${folder}/f$i; done`
}

async function cutAndCheck(
  guest: RebootedGuest,
  { by, delay, before, after }: { by: string; delay: number; before: string; after: string },
): Promise<string> {
  const known = await records(guest)
  await guest.crash(`vml tx run -m many -- sh -c '${writing(after)}' >/dev/null 2>&1 & pid=$!
while kill -0 $pid 2>/dev/null; do
  state=
  read -r state </var/lib/vml/stage/open/journal/state
  case $state in COMMITTING | COMMITTED) break ;; esac
  sleep 0.01
done 2>/dev/null
sleep ${delay}
${by}`)
  const look = async () =>
    (await guest.root(`cat ${folder}/f* | sort | uniq -c; cat /var/lib/vml/stage/open/journal/state`, failed))
      .stdout
  const said = (await guest.root('journalctl -b -o cat -u vml-recover.service', failed)).stdout
  const [line = '', state] = (await look()).trim().split('\n')
  const side = line.trim().replace(`${files} `, '')
  assert.ok([before, after].includes(side), `${line} (${state}): ${said}`)
  assert.ok(state !== 'COMMITTING' && state !== 'TAKING-BACK', `${state}: ${said}`)
  const order = await guest.root(
    'for u in local-fs.target vml-recover.service sysinit.target; do systemctl show -P ActiveEnterTimestampMonotonic $u; done',
  )
  const times = order.stdout.trim().split('\n').map(Number)
  if (said.includes('was cut off')) {
    assert.match(said, /Done: the commit is ended/)
    assert.deepEqual(
      times,
      times.toSorted((one, other) => one - other),
    )
  }
  const recovered = await guest.vml('tx recover')
  if (said.includes('was cut off'))
    assert.match(recovered.stderr, /When the machine started: .*the commit is ended/)
  assert.equal((await records(guest)) - known, side === after ? 1 : 0)
  assert.equal((await look()).trim(), line.trim())
  assert.equal((await guest.root('systemctl is-system-running --wait', failed)).stdout, 'running\n')
  return side
}

async function records(guest: RebootedGuest): Promise<number> {
  return (await guest.vml('tx list')).stdout.trim().split('\n').length
}

async function probationSurvives(guest: RebootedGuest): Promise<void> {
  await guest.crash(`vml tx run --validate 'test ! -e /var/bad' --within 1h -- sh -c 'echo x >/etc/on-probation' >/dev/null 2>&1 & pid=$!
while kill -0 $pid && ! systemctl -q is-active vml-probation.timer; do sleep 1; done
touch /var/bad
sync
${resetNow}`)
  await until(async () => (await guest.root('test ! -e /etc/on-probation', failed)).status === 0)
  await until(async () => /undo #\d+: sh -c echo x/.test((await guest.vml('tx list')).stdout))
  await until(
    async () => (await guest.root('test ! -e /etc/systemd/system/vml-probation.timer', failed)).status === 0,
  )
  await guest.root('rm /var/bad')
}

async function servicesOnce(guest: RebootedGuest): Promise<void> {
  await guest.root(makePackage('1'))
  await guest.root(makePackage('2'))
  const starts = async () => (await guest.root('sort /var/log/starts-*')).stdout
  await guest.root('apt-get install -qy /root/one_1.deb')
  assert.equal(await starts(), 'one 1\ntwo 1\n')
  await guest.root('apt-get install -qy /root/one_2.deb')
  assert.equal(await starts(), 'one 1\none 2\ntwo 1\ntwo 2\n')
  assert.equal((await guest.root('systemctl is-active one two')).stdout, 'active\nactive\n')
}

/** As debhelper's scripts do it: two units in one call, one of them once more, and by its old name, too. */
function makePackage(version: string): string {
  const unit = (name: string) =>
    `printf '[Service]\\nExecStart=/bin/sh -c "echo ${name} ${version} >>/var/log/starts-${name}; exec sleep infinity"\\n[Install]\\nWantedBy=multi-user.target\\n' >lib/systemd/system/${name}.service`
  return `set -e
rm -rf /root/package
mkdir -p /root/package/DEBIAN /root/package/lib/systemd/system
cd /root/package
printf 'Package: one\\nVersion: ${version}\\nArchitecture: all\\nMaintainer: VML <vml@example.org>\\nDescription: two services\\n' >DEBIAN/control
${unit('one')}
${unit('two')}
cat >DEBIAN/postinst <<'END'
#!/bin/sh
set -e
deb-systemd-helper enable one.service two.service >/dev/null
systemctl --system daemon-reload || true
action=\${2:+restart}
deb-systemd-invoke \${action:-start} one.service two.service || true
deb-systemd-invoke \${action:-start} one.service || true
invoke-rc.d one \${action:-start} || true
END
chmod 755 DEBIAN/postinst
dpkg-deb -q -b . /root/one_${version}.deb`
}
