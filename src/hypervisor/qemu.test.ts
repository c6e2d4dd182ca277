import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type FailureCode, isFailure } from '../base/failure.ts'
import type { ImageRecord } from '../model/image.ts'
import type { MachineSpec } from './hypervisor.ts'
import { optionValue } from './qemu-arguments.ts'
import { hostModel } from './qemu-host.ts'
import { bootUnder, probeAccelerator } from './qemu-probe.ts'
import { readRecord, findRunning } from './qemu-record.ts'
import { openQemu } from './qemu.ts'

// A folder whose name QEMU's option lists would take apart, and longer than a socket's address may be.
const base = await mkdtemp(join(tmpdir(), 'vml,qemu=x '))
const folder = join(base, 'y'.repeat(120))
const hypervisor = openQemu({ folder })
after(async () => {
  for (const { name, state } of await hypervisor.list())
    if (state === 'running') await hypervisor.stop(name, { mode: 'kill' })
  await rm(base, { recursive: true })
})

const disk = join(base, 'disk,1.qcow2')
execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '1M'])

function spec(name: string, more: Partial<ImageRecord> = {}, path = disk): MachineSpec {
  const items = { disk: { sha256: createHash('sha256').update(name).digest('hex'), sizeBytes: 1, urls: [] } }
  const image: ImageRecord = {
    name: 'none',
    version: '1',
    arch: 'x86_64',
    format: 'qcow2',
    items,
    seed: 'systemd-credentials',
    ...more,
  }
  return {
    name,
    image,
    paths: { disk: path },
    memoryMiB: 32,
    user: 'lab',
    hostname: name,
    network: 'restricted',
  }
}

async function refused(work: Promise<unknown>, code: FailureCode) {
  await assert.rejects(work, (error) => isFailure(error, code))
}

test('the probe runs its kernel to the end under emulation, and its verdict on KVM is kept', async () => {
  const request = {
    qemu: 'qemu-system-x86_64',
    version: '1',
    machineType: 'q35',
    cpu: 'Nehalem',
    folder: base,
  }
  assert.equal(await bootUnder('tcg', request), undefined)
  assert.equal(typeof (await bootUnder('tcg', { ...request, machineType: 'none' })), 'string')
  const facts = await hypervisor.probe()
  assert.match(facts.machineType, /^pc-q35-\d/)
  assert.equal(facts.accelerator === 'tcg', facts.reason !== undefined)
  const kept = { ...request, ...facts, cpu: await hostModel(), folder, qemu: 'no-such-program' }
  assert.equal((await probeAccelerator(kept)).accelerator, facts.accelerator)
})

test('a machine is private, starts detached, is not started twice, and stops', async () => {
  assert.equal((await hypervisor.create(spec('one'))).state, 'stopped')
  assert.equal((await stat(join(folder, 'one'))).mode & 0o777, 0o700)
  const started = await hypervisor.start('one')
  assert.equal(started.state, 'running')
  assert.deepEqual(await hypervisor.start('one'), started)
  assert.deepEqual(await hypervisor.list(), [started])
  await refused(hypervisor.remove('one'), 'conflict')
  await refused(hypervisor.create(spec('one')), 'exists')
  const stopped = await hypervisor.stop('one', { mode: 'kill' })
  assert.deepEqual([stopped.state, stopped.pid], ['stopped', undefined])
  assert.deepEqual(await hypervisor.remove('one'), { leftInPlace: [] })
  await refused(hypervisor.status('one'), 'not-found')
})

test('of two starts at once one QEMU runs, and both tell where it is', async () => {
  await hypervisor.create(spec('twin'))
  const [left, right] = await Promise.all([hypervisor.start('twin'), openQemu({ folder }).start('twin')])
  assert.equal(left.pid, right.pid)
  assert.deepEqual(await hypervisor.status('twin'), left)
  assert.equal((await hypervisor.access('twin')).port, left.sshPort)
  assert.equal((await hypervisor.stop('twin', { mode: 'kill' })).state, 'stopped')
  assert.deepEqual(await hypervisor.remove('twin'), { leftInPlace: [] })
})

test('a start whose QEMU comes late to one that runs returns only when its own has gone', async () => {
  const late = join(base, 'late-qemu')
  await writeFile(
    late,
    '#!/bin/sh\ncase $1 in --version) ;; *) sleep 1 ;; esac\nexec qemu-system-x86_64 "$@"\n',
    {
      mode: 0o700,
    },
  )
  const slow = openQemu({ folder, qemu: late, accelerator: 'tcg' })
  await slow.probe()
  await hypervisor.create(spec('late'))
  const starting = slow.start('late')
  const started = await hypervisor.start('late')
  assert.equal((await starting).pid, started.pid)
  const running = execFileSync('pgrep', ['--full', '--count', join(folder, 'late', 'qemu.pid')], {
    encoding: 'utf8',
  })
  assert.equal(Number(running), 1)
  await hypervisor.stop('late', { mode: 'kill' })
  assert.deepEqual(await hypervisor.remove('late'), { leftInPlace: [] })
})

test('a QEMU that was killed is stopped, and the machine starts again on its port', async () => {
  await hypervisor.create(spec('two'))
  const first = await hypervisor.start('two')
  process.kill(first.pid ?? 0, 'SIGKILL')
  while ((await hypervisor.status('two')).state === 'running')
    await new Promise((resolve) => setTimeout(resolve, 20))
  await assert.rejects(hypervisor.waitForSsh('two'), /not running any more/)
  const second = await hypervisor.start('two')
  assert.equal(second.sshPort, first.sshPort)
  assert.notEqual(second.pid, first.pid)
  await assert.rejects(
    hypervisor.waitForSsh('two', { timeoutMs: 300 }),
    (error) => isFailure(error, 'unavailable.timeout') && error.hint?.includes('console.log') === true,
  )
  await hypervisor.stop('two', { mode: 'acpi', timeoutMs: 300 })
  await writeFile(join(folder, 'two', 'notes.txt'), 'mine')
  assert.deepEqual(await hypervisor.remove('two'), { leftInPlace: ['notes.txt'] })
  assert.equal(await readFile(join(folder, 'two', 'notes.txt'), 'utf8'), 'mine')
})

test('a process that only has the number of our QEMU is never taken for it', async () => {
  await hypervisor.create(spec('three'))
  const own = join(folder, 'three')
  const stranger = spawn('sleep', ['60'], { stdio: 'ignore' })
  try {
    await writeFile(join(own, 'qemu.pid'), `${stranger.pid}\n`)
    assert.equal((await hypervisor.status('three')).state, 'stopped')
    await hypervisor.stop('three', { mode: 'kill' })
    assert.equal(stranger.exitCode, null)
    assert.equal(await findRunning(own, (await readRecord(own))?.id), undefined)
    await hypervisor.remove('three')
    assert.equal(stranger.signalCode, null)
  } finally {
    stranger.kill()
  }
})

test('what a cut-off creation or removal left can be listed and removed', async () => {
  await mkdir(join(folder, 'bare'), { mode: 0o700 })
  await hypervisor.create(spec('half'))
  const path = join(folder, 'half', 'vm.json')
  await writeFile(path, (await readFile(path, 'utf8')).replace('"ready"', '"creating"'))
  await hypervisor.create(spec('torn'))
  await writeFile(join(folder, 'torn', 'vm.json'), '{')
  const states = (await hypervisor.list())
    .filter(({ name }) => name !== 'two')
    .map(({ name, state }) => [name, state])
  assert.deepEqual(states, [
    ['bare', 'unfinished'],
    ['half', 'unfinished'],
    ['torn', 'unfinished'],
  ])
  await refused(hypervisor.start('half'), 'conflict')
  for (const [name] of states) assert.deepEqual(await hypervisor.remove(name ?? ''), { leftInPlace: [] })
})

test('an image that names another file is refused, and nothing is left of the machine', async () => {
  const greedy = join(base, 'greedy.qcow2')
  execFileSync('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-u',
    '-b',
    '/etc/passwd',
    '-F',
    'raw',
    greedy,
    '1M',
  ])
  await refused(hypervisor.create(spec('greedy', {}, greedy)), 'image.unobtainable')
  await refused(hypervisor.create(spec('alien', { arch: 'aarch64' })), 'unsupported')
  await refused(hypervisor.create(spec('../up')), 'usage')
  await refused(hypervisor.create({ ...spec('user'), user: 'a b' }), 'usage')
  await refused(hypervisor.status('greedy'), 'not-found')
})

test('each seed tells the guest the key, outside of every home', async () => {
  await hypervisor.create(spec('cloud', { seed: 'nocloud' }))
  await hypervisor.create(spec('system'))
  const userData = execFileSync('isoinfo', [
    '-J',
    '-i',
    join(folder, 'cloud', 'seed.iso'),
    '-x',
    '/user-data',
  ]).toString()
  const key = (await readFile(join(folder, 'cloud', 'key.pub'), 'utf8')).trim()
  assert.ok(userData.startsWith('#cloud-config\n'))
  const parsed: unknown = JSON.parse(userData.slice(userData.indexOf('\n')))
  assert.ok(JSON.stringify(parsed).includes(`"path":"/etc/ssh/vml_authorized_keys","content":"${key}\\n"`))
  const lines = await readFile(join(folder, 'system', 'tmpfiles.extra'), 'utf8')
  assert.match(lines, /^f \/etc\/ssh\/vml_authorized_keys 0644 root root - ssh-ed25519 \S+ vml-system\\n$/m)
  for (const name of ['cloud', 'system']) await hypervisor.remove(name)
})

test('a comma in a path is doubled, and a line break is refused', () => {
  assert.equal(optionValue('/a,b=c'), '/a,,b=c')
  assert.throws(() => optionValue('/a\nb'), /line break/)
})
