// Locks of fcntl(2) against what another program sees of them.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemErrorCode } from '../base/failure.ts'
import { lockHolderOf, lockNewFile, type LockWay, tryRecordLock } from './record-lock.ts'

const folder = mkdtempSync(join(tmpdir(), 'vml-record-lock-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** perl-base is on every Debian; its pack knows the layout of `struct flock` by itself. */
const perlTry = `use Fcntl; open(my $f, "+>>", $ARGV[0]) or exit 9; my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
fcntl($f, F_SETLK, $lock) or exit 1;`
const isFree = (path: string) => spawnSync('perl', ['-e', perlTry, path]).status === 0

for (const way of ['libc', 'perl'] satisfies LockWay[])
  test(`a lock by ${way} keeps other processes out until it is given up`, async () => {
    const path = join(folder, way)
    const first = await tryRecordLock(path, { ways: [way] })
    assert.ok(first.taken)
    assert.equal(isFree(path), false)
    const again = await tryRecordLock(path, { ways: [way] })
    assert.ok(!again.taken)
    assert.equal(again.holder.pid, process.pid)
    await first.lock[Symbol.asyncDispose]()
    await first.lock[Symbol.asyncDispose]()
    assert.equal(isFree(path), true)
  })

for (const way of ['libc', 'perl'] satisfies LockWay[])
  test(`who holds a lock is told by ${way}, and it is free when that process is gone`, async () => {
    const path = join(folder, `held-${way}`)
    const holder = spawn('perl', ['-e', `${perlTry} $| = 1; print "x"; <STDIN>`, path])
    await once(holder.stdout, 'data')
    const refused = await tryRecordLock(path, { ways: [way] })
    assert.deepEqual(refused, { taken: false, holder: { pid: holder.pid, program: 'perl' } })
    const ended = once(holder, 'close')
    holder.kill('SIGKILL')
    await ended
    const taken = await tryRecordLock(path, { ways: [way] })
    assert.ok(taken.taken)
    await taken.lock[Symbol.asyncDispose]()
  })

test('of a program of Node the name of its script is told', async () => {
  const path = join(folder, 'held-by-node')
  const script = join(folder, 'some-program.mjs')
  const module = JSON.stringify(join(import.meta.dirname, 'record-lock.ts'))
  writeFileSync(
    script,
    `const { tryRecordLock } = await import(${module}); await tryRecordLock(process.argv[2], { ways: ['libc'] }); console.log('x'); setInterval(() => {}, 1000)`,
  )
  const holder = spawn(process.execPath, ['--no-warnings', script, path])
  await once(holder.stdout, 'data')
  const refused = await tryRecordLock(path)
  assert.deepEqual(refused, { taken: false, holder: { pid: holder.pid, program: 'some-program' } })
  const ended = once(holder, 'close')
  holder.kill('SIGKILL')
  await ended
})

test('a lock is gone with the process that was killed, by both ways', async () => {
  for (const way of ['libc', 'perl']) {
    const path = join(folder, `killed-${way}`)
    const code = `const { tryRecordLock } = await import(${JSON.stringify(join(import.meta.dirname, 'record-lock.ts'))})
      console.log((await tryRecordLock(process.argv[1], { ways: [process.argv[2]] })).taken); setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', code, path, way])
    const [said] = await once(child.stdout, 'data')
    assert.equal(String(said), 'true\n')
    assert.equal(isFree(path), false)
    const ended = once(child, 'close')
    child.kill('SIGKILL')
    await ended
    // perl's end follows that of its input.
    while (!isFree(path)) await once(spawn('sleep', ['0.02']), 'close')
  }
})

test('a file that cannot be locked is told as the system tells it, by both ways', async () => {
  writeFileSync(join(folder, 'file'), '')
  for (const ways of [['libc'], ['perl']] satisfies LockWay[][]) {
    for (const [path, code] of [
      [join(folder, 'file/lock'), 'ENOTDIR'],
      [join(folder, 'none/lock'), 'ENOENT'],
      [folder, 'EISDIR'],
    ] as const)
      await assert.rejects(tryRecordLock(path, { ways }), (error: unknown) => systemErrorCode(error) === code)
  }
})

test('the lock of an open file is seen by all, is not inherited, and is gone when it is given up or its process is killed', async () => {
  const path = join(folder, 'open-file')
  assert.equal(lockHolderOf(path), undefined)
  const lock = lockNewFile(path)
  assert.throws(
    () => lockNewFile(path),
    (error: unknown) => systemErrorCode(error) === 'EEXIST',
  )
  // To ask opens the file and closes it.
  for (let times = 0; times < 2; times++) assert.deepEqual(lockHolderOf(path), { pid: 0 })
  assert.equal(isFree(path), false)
  const outlives = spawn('sleep', ['60'])
  lock[Symbol.dispose]()
  lock[Symbol.dispose]()
  assert.equal(lockHolderOf(path), undefined)
  assert.equal(isFree(path), true)
  outlives.kill('SIGKILL')

  const other = join(folder, 'open-file-killed')
  const code = `const { lockNewFile } = await import(${JSON.stringify(join(import.meta.dirname, 'record-lock.ts'))})
    globalThis.lock = lockNewFile(process.argv[1]); console.log('taken'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code, other])
  await once(child.stdout, 'data')
  assert.deepEqual(lockHolderOf(other), { pid: 0 })
  const ended = once(child, 'close')
  child.kill('SIGKILL')
  await ended
  assert.equal(lockHolderOf(other), undefined)
})

test('a lock that this process has by itself is no other holder, and to ask for it does not give it up', async () => {
  const path = join(folder, 'asked')
  const attempt = await tryRecordLock(path)
  assert.ok(attempt.taken)
  assert.equal(lockHolderOf(path), undefined)
  assert.equal(isFree(path), false)
  await attempt.lock[Symbol.asyncDispose]()
})
