import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isWithinProcess } from '../base/process-ancestry.ts'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import {
  holdsWork,
  holdWork,
  isAtWork,
  isPartOf,
  isWorking,
  letGoOfWork,
  nameOfWorker,
  type Worker,
  workerOf,
  workLockOf,
} from './at-work.ts'

async function withPlace(run: (place: { readonly state: typeof rootPath }) => Promise<void>): Promise<void> {
  const state = mkdtempSync(join(tmpdir(), 'vml-at-work-'))
  mkdirSync(join(state, 'stage', 'open'), { recursive: true })
  try {
    await run({ state: parseRawPath(rawFromString(state)) ?? rootPath })
  } finally {
    rmSync(state, { recursive: true })
  }
}

async function end(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close')
  child.kill('SIGKILL')
  await closed
}

const own = workerOf(process.pid)
/** Of a namespace that this one cannot look into. */
const far: Worker = { ...own, pids: 'pid:[1]' }

test('a process of this container is told by its number and start, one before a start of the kernel has ended', async () => {
  await withPlace(async (place) => {
    const lock = workLockOf(place)
    assert.ok(isWorking(own, lock))
    assert.ok(!isWorking({ ...own, started: '1' }, lock))
    assert.ok(!isWorking({ ...own, boot: '0' }, lock))
    // As older versions wrote it.
    const { id, started } = own
    assert.ok(isWorking({ id, started }, lock))
    assert.ok(!isWorking({ id, started: '1' }, lock))
    await Promise.resolve()
  })
})

test('a vml of another container is at work as long as it holds its lock, whatever has its number here', async () => {
  await withPlace(async (place) => {
    const lock = workLockOf(place)
    const code = `const { holdWork, workerOf } = await import(${JSON.stringify(join(import.meta.dirname, 'at-work.ts'))})
      holdWork(workerOf(process.pid), process.argv[1]); console.log('held'); setInterval(() => {}, 1000)`
    const holder = spawn(process.execPath, ['--input-type=module', '-e', code, lock])
    await once(holder.stdout, 'data')
    assert.ok(isWorking(far, lock))
    assert.equal(nameOfWorker(far), `process ${process.pid} of another container`)
    await end(holder)
    assert.ok(existsSync(lock))
    assert.ok(!isWorking(far, lock))
    // Whoever takes it over begins anew.
    holdWork(own, lock)
    holdWork(own, lock)
    assert.ok(isWorking(far, lock))
    letGoOfWork(lock)
    assert.ok(!isWorking(far, lock) && !holdsWork(lock))
    holdWork({ ...own, started: '1' }, lock)
    assert.ok(!holdsWork(lock))
  })
})

test('a package manager of another container that nobody can see is at work; its number makes nobody a part of it', async () => {
  await withPlace(async (place) => {
    assert.ok(isPartOf(place, { process: own, source: 'dpkg' }, process.pid))
    assert.ok(!isPartOf(place, { process: far, source: 'dpkg' }, process.pid))
    const held = workLockOf(place)
    assert.equal(isWorking(far, held), !isFirst())
    // apt has a lock as long as it runs: held by nobody, or by one who is seen, it is not that apt's.
    const managers = parseRawPath(rawFromString(join(place.state, 'lock-frontend'))) ?? rootPath
    assert.ok(!isWorking(far, held, managers))
    writeFileSync(managers, '')
    assert.ok(!isWorking(far, held, managers))
    assert.ok(isAtWork(place, { process: own, source: 'apt' }))
    await Promise.resolve()
  })
})

/** Of this container everything is seen. */
function isFirst(): boolean {
  return readlinkSync('/proc/self/ns/pid') === 'pid:[4026531836]'
}

test('a process of a container below is found by what the kernel tells of it', async () => {
  await withPlace(async (place) => {
    const inner = spawn('unshare', ['--pid', '--fork', '--kill-child', 'sh', '-c', 'echo x; exec sleep 60'])
    await once(inner.stdout, 'data')
    const children = readFileSync(`/proc/${inner.pid}/task/${inner.pid}/children`, 'latin1').trim()
    const outside = workerOf(Number(children))
    const worker = { ...outside, id: 1, pids: readlinkSync(`/proc/${children}/ns/pid`) }
    const lock = workLockOf(place)
    assert.ok(isWorking(worker, lock))
    assert.ok(!isFirst() || !isWorking({ ...worker, started: '1' }, lock))
    assert.ok(!isFirst() || !isWorking({ ...worker, id: 2 }, lock))
    await end(inner)
  })
})

test('with the /proc of a container above a process knows itself, and who has started it', async () => {
  const base = (name: string) => JSON.stringify(join(import.meta.dirname, '..', 'base', name))
  const code = `const { markOf, isRunning, numberInProc } = await import(${base('process-mark.ts')})
    const { isWithinProcess } = await import(${base('process-ancestry.ts')})
    const own = markOf(process.pid)
    console.log(JSON.stringify({ pid: process.pid, number: numberInProc(process.pid), own, above: markOf(1),
      runs: isRunning(process.pid, own), within: isWithinProcess(process.pid, 1), not: isWithinProcess(process.pid, ${process.pid}) }))`
  const script = 'cat /proc/sys/kernel/random/boot_id; "$@"; true'
  const inner = spawn('unshare', [
    '--pid',
    '--fork',
    '--kill-child',
    'sh',
    '-c',
    script,
    'sh',
    ...[process.execPath, '--input-type=module', '-e', code],
  ])
  let said = ''
  for await (const chunk of inner.stdout) said += String(chunk)
  const [boot, line = ''] = said.split('\n')
  const told = JSON.parse(line)
  assert.notEqual(told.number, told.pid)
  assert.equal(told.own.boot, boot)
  assert.notEqual(told.own.pids, own.pids)
  assert.notEqual(told.above.started, workerOf(1).started)
  assert.deepEqual([told.runs, told.within, told.not], [true, true, false])
  assert.ok(isWithinProcess(process.pid, process.ppid))
})
