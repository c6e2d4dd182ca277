// What VML promises of a machine with systemd, as steps of a test: each leaves the machine as the next wants it, and none needs another.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Cut, type RebootedMachine, until } from './rebooted-machine.ts'

const folder = '/usr/local/lib/many'
const failed = { mayFail: true }

export interface SystemdTests {
  /** Of the transaction whose commit is cut off. */
  readonly files: number
  /** Seconds from the beginning of a commit to its cut. */
  readonly delays: readonly number[]
}

/** Each of them alone, too: with --test-name-pattern. */
export function testSystemd(
  startMachine: () => Promise<RebootedMachine>,
  { files, delays }: SystemdTests,
): void {
  describe('with a real systemd', () => {
    const started: RebootedMachine[] = []
    const machineOf = () => {
      const [machine] = started
      assert.ok(machine)
      return machine
    }
    let [round, state] = [1, 'round-0']
    before(async () => {
      started.push(await startMachine())
      await machineOf().vml('tx enable')
      await machineOf().vml(`tx run -m first -- sh -c '${writing(state, files)}'`)
    })
    after(async () => await started[0]?.[Symbol.asyncDispose]())
    test('the unit is enabled, and a start without a journal leaves it alone', async () =>
      await unitIsEnabled(machineOf()))
    test('services of a package are started and restarted once each, after the commit', async () =>
      await servicesOnce(machineOf()))
    test('O1: the timer records a change by hand', async () => await changeByHandIsRecorded(machineOf()))
    for (const delay of delays)
      test(`a commit that is cut off ${delay} s after it began is whole, or not there, when services start`, async (context) => {
        for (const cut of machineOf().cuts) {
          const next = `round-${round++}`
          const { side, mended } = await cutCommit(machineOf(), {
            cut,
            delay,
            files,
            before: state,
            after: next,
          })
          context.diagnostic(
            `${cut.how}: ${side === next ? 'the commit is whole' : 'nothing of it'}${mended ? ', by what ran at the start' : ''}`,
          )
          state = side
        }
      })
    test('C04: a watch survives the end of the machine: systemd takes it up, and takes the change back', async () => {
      for (const cut of machineOf().cuts.slice(0, 1)) await probationSurvives(machineOf(), cut)
    })
    test('tx disable leaves no unit, no timer and no file but what was recorded', async () =>
      await nothingIsLeft(machineOf()))
  })
}

export async function unitIsEnabled(machine: RebootedMachine): Promise<void> {
  const { stdout } = await machine.root(
    'systemctl is-enabled vml-recover.service; systemctl is-active vml-recover.service',
    failed,
  )
  assert.equal(stdout, 'enabled\ninactive\n')
}

export interface CutCommit {
  readonly cut: Cut
  /** Since the commit has begun. */
  readonly delay: number
  readonly files: number
  readonly before: string
  readonly after: string
}

/** All files are as before, or as after, when services start: tells which, and whether something had to be mended for it. */
export async function cutCommit(
  machine: RebootedMachine,
  { cut, delay, files, before, after }: CutCommit,
): Promise<{ readonly side: string; readonly mended: boolean }> {
  const known = await records(machine)
  await machine.crash(`vml tx run -m many -- sh -c '${writing(after, files)}' >/dev/null 2>&1 & pid=$!
while kill -0 $pid 2>/dev/null; do
  state=
  read -r state </var/lib/vml/stage/open/journal/state
  case $state in COMMITTING | COMMITTED) break ;; esac
  sleep 0.05
done 2>/dev/null
sleep ${delay}
${cut.by}`)
  const look = async () =>
    (
      await machine.root(
        `cat ${folder}/f* | sort | uniq -c; cat /var/lib/vml/stage/open/journal/state`,
        failed,
      )
    ).stdout
  // A start of a machine in namespaces is no boot of the kernel: the journal has what earlier ones said, too.
  const { stdout: said } = await machine.root(
    'id=$(systemctl show -P InvocationID vml-recover.service); [ -z "$id" ] || journalctl -o cat _SYSTEMD_INVOCATION_ID=$id',
    failed,
  )
  const [line = '', state] = (await look()).trim().split('\n')
  const side = line.trim().replace(`${files} `, '')
  assert.ok([before, after].includes(side), `${line} (${state}): ${said}`)
  assert.ok(state !== 'COMMITTING' && state !== 'TAKING-BACK', `${state}: ${said}`)
  const order = await machine.root(
    'for u in local-fs.target vml-recover.service sysinit.target; do systemctl show -P ActiveEnterTimestampMonotonic $u; done',
  )
  const times = order.stdout.trim().split('\n').map(Number)
  const mended = said.includes('was cut off')
  if (mended) {
    assert.match(said, /Done: the commit is ended/)
    assert.deepEqual(
      times,
      times.toSorted((one, other) => one - other),
    )
  }
  const recovered = await machine.vml('tx recover')
  if (mended) assert.match(recovered.stderr, /When the machine started: .*the commit is ended/)
  assert.equal((await records(machine)) - known, side === after ? 1 : 0)
  assert.equal((await look()).trim(), line.trim())
  assert.equal((await machine.root('systemctl is-system-running --wait', failed)).stdout, 'running\n')
  return { side, mended }
}

async function records(machine: RebootedMachine): Promise<number> {
  return (await machine.vml('tx list')).stdout.trim().split('\n').length
}

export async function probationSurvives(machine: RebootedMachine, cut: Cut): Promise<void> {
  await machine.crash(`vml tx run --validate 'test ! -e /var/bad' --within 1h -- sh -c 'echo x >/etc/on-probation' >/dev/null 2>&1 & pid=$!
while kill -0 $pid && ! systemctl -q is-active vml-probation.timer; do sleep 1; done
touch /var/bad
sync
${cut.by}`)
  await until(async () => (await machine.root('test ! -e /etc/on-probation', failed)).status === 0)
  await until(async () => /undo #\d+: sh -c echo x/.test((await machine.vml('tx list')).stdout))
  await until(
    async () =>
      (await machine.root('test ! -e /etc/systemd/system/vml-probation.timer', failed)).status === 0,
  )
  await machine.root('rm /var/bad')
}

export async function servicesOnce(machine: RebootedMachine): Promise<void> {
  await machine.root(makePackage('1'))
  await machine.root(makePackage('2'))
  const starts = async () => (await machine.root('sort /var/log/starts-*')).stdout
  await machine.root('apt-get install -qy /root/one_1.deb')
  assert.equal(await starts(), 'one 1\ntwo 1\n')
  await machine.root('apt-get install -qy /root/one_2.deb')
  assert.equal(await starts(), 'one 1\none 2\ntwo 1\ntwo 2\n')
  assert.equal((await machine.root('systemctl is-active one two')).stdout, 'active\nactive\n')
}

export async function changeByHandIsRecorded(machine: RebootedMachine): Promise<void> {
  await machine.vml('tx watch --install')
  // Below /run, which is no part of what is watched: it looks soon.
  await machine.root(`mkdir -p /run/systemd/system/vml-watch.timer.d
printf '[Timer]\\nOnCalendar=*:*:0/10\\nAccuracySec=1s\\n' >/run/systemd/system/vml-watch.timer.d/soon.conf
systemctl daemon-reload
systemctl restart vml-watch.timer
echo 10.9.9.9 byhand >>/etc/hosts`)
  await until(async () => /changes by hand: \/etc\/hosts/.test((await machine.vml('tx list')).stdout))
  await machine.root('rm -r /run/systemd/system/vml-watch.timer.d; systemctl daemon-reload')
}

export async function nothingIsLeft(machine: RebootedMachine): Promise<void> {
  await machine.vml('tx watch --install')
  const { stderr } = await machine.vml('tx disable')
  assert.match(stderr, /Removed the hooks, the timer of vml tx watch and the unit that mends/)
  const left = await machine.root(
    `find /etc /usr/lib /lib/systemd -xdev \\( -name 'vml*' -o -name '*vml' \\) ! -path /etc/initramfs-tools/conf.d/vml
systemctl list-units --all --no-legend 'vml*'
systemctl list-unit-files --no-legend 'vml*'`,
    failed,
  )
  assert.equal(left.stdout, '')
  assert.equal((await machine.root('systemctl is-system-running', failed)).stdout, 'running\n')
}

/** As debhelper's scripts do it: two units in one call, one of them once more, and by its old name, too. */
function makePackage(version: string): string {
  const unit = (name: string) =>
    `printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sh -c "echo ${name} ${version} >>/var/log/starts-${name}"\\n[Install]\\nWantedBy=multi-user.target\\n' >lib/systemd/system/${name}.service`
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
dpkg-deb -b . /root/one_${version}.deb >/dev/null`
}

/** What a transaction does whose commit is cut off: a command line without quotes. */
export function writing(text: string, files: number): string {
  return `mkdir -p ${folder}; for i in $(seq ${files}); do echo ${text} >${folder}/f$i; done`
}
