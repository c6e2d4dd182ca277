// The chroots of tests: real enough for apt, dpkg and VML, and gone without a trace.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ruleServiceStarts, recordSystemctl } from '../chroot-services.ts'
import { openChroot } from '../chroot.ts'

test('a chroot has a root of its own, runs VML, and sees nothing of this computer', async () => {
  await using chroot = await openChroot()
  const { stdout: mounts } = await chroot.run(['cat', '/proc/self/mountinfo'])
  assert.match(mounts, /^\d+ \d+ \d+:\d+ \/ \/ rw\S* - ext4 \/dev\/loop/m)
  const { stdout: version } = await chroot.vml(['--version'])
  assert.match(version, /^\d+\.\d+\.\d+\n$/)
  assert.notEqual((await chroot.sh('touch /opt/vml/written', { mayFail: true })).status, 0)
  assert.notEqual((await chroot.sh('echo 1 >/proc/sys/vm/overcommit_memory', { mayFail: true })).status, 0)
  const { stdout: processes } = await chroot.run(['ps', '-e', '-o', 'pid='])
  assert.ok(processes.split('\n').length < 6, processes)
  const { stdout: devices } = await chroot.sh('cat /proc/net/dev | tail -n +3 | cut -d: -f1')
  assert.deepEqual(devices.split(/\s+/).filter(Boolean), ['lo'])
  const { stdout: checked } = await chroot.sh('dpkg --audit; dpkg --verify; apt-get -qq check')
  assert.equal(checked, '')
})

test('what a chroot runs in the background goes on until the chroot is disposed of, which frees all it had', async () => {
  const chroot = await openChroot()
  const pid = chroot.path.split('/')[2]
  const device = readFileSync(`/proc/${pid}/mountinfo`, 'latin1').match(/ \/dev\/loop(\d+) /)?.[1]
  assert.ok(device !== undefined)
  assert.match(loopFile(device) ?? '', /vml-chroot-/)
  await chroot.sh('sleep 1000 & echo $! >/run/sleeper; echo kept >/tmp/kept')
  await chroot.sh('kill -0 $(cat /run/sleeper)')
  assert.equal((await chroot.run(['cat', '/tmp/kept'])).stdout, 'kept\n')
  const { stdout: orphan } = await chroot.sh('(true & echo $!)')
  await eventually(() => !existsSync(join(chroot.path, 'proc', orphan.trim())))
  await chroot[Symbol.asyncDispose]()
  assert.equal(existsSync(`/proc/${pid}`), false)
  await eventually(() => !(loopFile(device) ?? '').includes('vml-chroot-'))
})

test('a chroot of a process that is killed leaves no process and no mount', async () => {
  const module = JSON.stringify(join(import.meta.dirname, '../chroot.ts'))
  const child = spawn(
    process.execPath,
    [
      '-e',
      `const { openChroot } = await import(${module})
       const chroot = await openChroot()
       chroot.start(['sleep', '1000'])
       await chroot.run(['sh', '-c', 'sleep 1000 &'])
       console.log(chroot.path)
       setInterval(() => {}, 1000)`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const [said] = (await once(child.stdout, 'data')) as [Buffer]
  const pid = said.toString().split('/')[2] ?? ''
  const namespace = readlinkSync(`/proc/${pid}/ns/mnt`)
  assert.ok(inNamespace(namespace).length >= 3, String(inNamespace(namespace)))
  child.kill('SIGKILL')
  await once(child, 'exit')
  await eventually(() => inNamespace(namespace).length === 0)
})

test('a program that is started in a chroot is talked to, and ends with SIGKILL', async () => {
  await using chroot = await openChroot({ fileSystem: 'tmpfs' })
  const cat = chroot.start(['sh', '-c', 'echo $$ >/run/pid; exec cat'])
  cat.stdin.write('hello\n')
  const [answer] = (await once(cat.stdout, 'data')) as [Buffer]
  assert.equal(answer.toString(), 'hello\n')
  cat.kill('SIGKILL')
  await once(cat, 'exit')
  await eventually(
    () => !existsSync(join(chroot.path, 'proc', readFileSync(join(chroot.path, 'run/pid'), 'utf8').trim())),
  )
  assert.deepEqual(await chroot.run(['sh', '-c', 'echo out; echo err >&2; kill -9 $$'], { mayFail: true }), {
    status: 137,
    stdout: 'out\n',
    stderr: 'err\n',
  })
  await assert.rejects(chroot.run(['false']), /false ended with 1/)
})

test('a recorded systemctl writes down its calls and remembers which units were started', async () => {
  await using chroot = await openChroot()
  const systemctl = await recordSystemctl(chroot)
  assert.deepEqual(systemctl.calls(), [])
  await chroot.sh(
    'systemctl --quiet start one; systemctl is-active one two.service; systemctl enable two; deb-systemd-invoke restart two.service',
    {
      mayFail: true,
    },
  )
  assert.deepEqual(systemctl.calls().slice(0, 2), ['--quiet start one', 'is-active one two.service'])
  assert.ok(
    systemctl.calls().some((call) => call.endsWith('restart two.service')),
    systemctl.calls().join('\n'),
  )
  assert.equal((await chroot.sh('systemctl is-active one two', { mayFail: true })).stdout, 'active\nactive\n')
})

test('services of a chroot start when that is allowed, and not when it is forbidden', async () => {
  await using chroot = await openChroot()
  await chroot.sh('cat >/etc/init.d/thing && chmod 755 /etc/init.d/thing', {
    input: '#!/bin/sh\n# Default-Start: 2 3 4 5\necho "$1" >>/run/thing\n',
  })
  await ruleServiceStarts(chroot, 'allowed')
  await chroot.run(['invoke-rc.d', 'thing', 'start'])
  await ruleServiceStarts(chroot, 'forbidden')
  await chroot.run(['invoke-rc.d', 'thing', 'restart'])
  assert.equal((await chroot.run(['cat', '/run/thing'])).stdout, 'start\n')
})

/** What a loop device shows, or nothing where it is free. */
function loopFile(number: string): string | undefined {
  const file = `/sys/block/loop${number}/loop/backing_file`
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined
}

function inNamespace(namespace: string): string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/ns/mnt`) === namespace
    } catch {
      // It has ended.
      return false
    }
  })
}

/** The kernel takes its time to end what it was told to; one that does not is found by the time limit of tests. */
async function eventually(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(10)
}
