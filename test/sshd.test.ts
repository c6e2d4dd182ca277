// The private ssh server that tests use lets its user in, and is gone with its process.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startSshd } from './sshd.ts'

test('commands run over ssh with their input and status', async () => {
  await using sshd = await startSshd()
  const result = await sshd.run('cat; exit 3', { input: 'bytes', mayFail: true })
  assert.equal(result.stdout, 'bytes')
  assert.equal(result.status, 3)
})

test('two servers stand side by side', async () => {
  await using one = await startSshd()
  await using other = await startSshd({ config: ['MaxSessions 1'] })
  assert.notEqual(one.port, other.port)
  await Promise.all([one.run('true'), other.run('true')])
})

test('a server ends when the process that started it is killed', async () => {
  const source = `
    import { startSshd } from ${JSON.stringify(join(import.meta.dirname, 'sshd.ts'))}
    const sshd = await startSshd()
    console.log(sshd.pid)
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const line: unknown = (await once(child.stdout, 'data'))[0]
  const pid = Number(String(line))
  child.kill('SIGKILL')
  for (let tries = 0; isAlive(pid); tries++) {
    assert.ok(tries < 1200, 'sshd is still there')
    await sleep(50)
  }
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
