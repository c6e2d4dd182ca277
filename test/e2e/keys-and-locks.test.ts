// Keys and locks of a logbook beside stock restic, which uses the same ones.
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openLocal } from '../../src/backend/local.ts'
import { initRepository } from '../../src/store/repository.ts'
import { writeSealedJson } from '../../src/store/sealed-file.ts'
import { openTestHome, type TestHome, vmlCommand, vmlEnvironment, well } from '../cli.ts'
import { resticProgram } from '../restic-peer.ts'
import { cheapKey } from '../store-fixture.ts'
import { vaultOf } from './open-vault.ts'

interface Key {
  readonly id: string
  readonly kind: string
  readonly current: boolean
  readonly this_computer: boolean
}

test('keys are added, changed and removed, stock restic agrees, and there is always one that opens', async () => {
  await using home = await openTestHome()
  const file = (name: string, content: string) => {
    writeFileSync(join(home.home, name), `${content}\n`, { mode: 0o600 })
    return join(home.home, name)
  }
  const [computer, recovery] = await keysOf(home)
  assert.ok(computer?.current && computer.this_computer && recovery?.kind === 'password')
  assert.deepEqual(resticKeys(home, home.passwordFile).toSorted(), [computer.id, recovery.id].toSorted())

  // The recovery key, changed with this computer's own: the old one opens nothing any more.
  const changed = file('changed', 'another recovery key')
  await well(home, 'key', 'password', '--new-password-file', changed)
  assert.equal((await home.run(['log', '--password-file', home.passwordFile])).status, 12)
  assert.equal(resticKeys(home, changed).length, 2)
  // The same password a second time could not be told from the first.
  assert.equal((await home.run(['key', 'add', '--recovery', '--new-password-file', changed])).status, 5)

  // A key that restic added works here, and ours are seen there.
  const byRestic = file('by-restic', 'a password that restic added')
  restic(home, changed, 'key', 'add', '--new-password-file', byRestic)
  await well(home, 'log', '--password-file', byRestic)
  const keys = await keysOf(home)
  assert.deepEqual(keys.map(({ id }) => id).toSorted(), resticKeys(home, changed).toSorted())

  // Of two passwords it is not guessed which is to be changed.
  assert.equal((await home.run(['key', 'password', '--new-password-file', home.passwordFile])).status, 2)

  // The key in use stays, unless another one is proved to open.
  const wrong = file('wrong', 'opens nothing')
  const removal = ['key', 'remove', computer.id.slice(0, 8), '--yes']
  assert.equal((await home.run(removal)).status, 14)
  assert.equal((await home.run([...removal, '--proof-password-file', wrong])).status, 14)
  assert.match(
    (await well(home, ...removal, '--proof-password-file', changed)).stderr,
    /Timers .* need a password/,
  )
  assert.equal(resticKeys(home, changed).length, 2)
  const kept = join(home.home, '.local/share/vml/keys')
  assert.deepEqual(
    readdirSync(kept).filter((name) => name.length === 64),
    [],
  )
  assert.equal((await home.run(['log'])).status, 12)

  // On a new computer: its key is made with the recovery key, once.
  await well(home, 'key', 'add', '--password-file', changed)
  assert.match((await well(home, 'key', 'add')).stdout, /already/)
  const [secret = ''] = readdirSync(kept).filter((name) => name.length === 64)
  assert.equal(statSync(join(kept, secret)).mode & 0o777, 0o600)
  restic(home, join(kept, secret), 'cat', 'config')

  // Down to one key, which stays.
  for (const { id, current } of await keysOf(home))
    if (!current) await well(home, 'key', 'remove', id, '--yes')
  const [last] = await keysOf(home)
  assert.ok(last)
  assert.equal(
    (await home.run(['key', 'remove', last.id, '--yes', '--proof-password-file', changed])).status,
    14,
  )
  await well(home, 'log')
})

test('a lock of a living restic stays, one of a killed restic goes, and restic reads over what ours say more', async () => {
  await using home = await openTestHome()
  const env = { ...process.env, RESTIC_PASSWORD_FILE: home.passwordFile, RESTIC_REPOSITORY: home.logbook }
  const child = spawn(resticProgram('0.19'), ['backup', '--stdin', '--no-cache', '--quiet'], {
    env,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  try {
    await lockOf(home)
    const held = await well(home, 'unlock')
    assert.match(held.stdout, new RegExp(`process ${child.pid} .*: in use`))
    assert.match(held.stderr, /left as it is: in use/)
    assert.equal(readdirSync(join(home.logbook, 'locks')).length, 1)
    assert.equal((await home.run(['key', 'remove', 'x', '--yes'])).status, 4)
    const refused = await home.run(['unlock', '--remove-all'])
    assert.equal(refused.status, 2)
    assert.match(refused.stdout, new RegExp(`process ${child.pid} `))
    assert.equal(readdirSync(join(home.logbook, 'locks')).length, 1)
  } finally {
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  assert.match((await well(home, 'unlock', '--dry-run')).stdout, /no such process/)
  assert.match((await well(home, 'unlock')).stdout, /Removed: /)
  assert.deepEqual(readdirSync(join(home.logbook, 'locks')), [])
  assert.match((await well(home, 'unlock')).stdout, /no lock/)

  // Ours, beside which restic works, and which it lists and removes as its own.
  const mine = await openedByFile(home)
  await using _ = await mine.lock('shared')
  // restic asks whether a process lives by a SIGHUP.
  let asked = 0
  const onSignal = () => void asked++
  process.on('SIGHUP', onSignal)
  const [listed] = restic(home, home.passwordFile, 'list', 'locks').toString().trim().split('\n')
  const content = restic(home, home.passwordFile, 'cat', 'lock', listed ?? '').toString()
  assert.equal((JSON.parse(content) as { pid: number }).pid, process.pid)
  restic(home, home.passwordFile, 'find', 'nothing')
  restic(home, home.passwordFile, 'unlock')
  await sleep(50)
  assert.equal(asked, 1)
  process.off('SIGHUP', onSignal)
  assert.equal(readdirSync(join(home.logbook, 'locks')).length, 1)
  await well(home, 'unlock', '--remove-all', '--yes')
  assert.deepEqual(readdirSync(join(home.logbook, 'locks')), [])
})

test('a program at work outlives the SIGHUP of restic unlock, and ends when its terminal is gone', async () => {
  await using home = await openTestHome()
  await leaveOldLock(home)
  const [program = '', ...words] = vmlCommand
  const options = { cwd: home.home, env: vmlEnvironment(home) }
  // It watches the lock for minutes.
  const child = spawn(program, [...words, 'unlock'], { ...options, stdio: ['ignore', 'ignore', 'pipe'] })
  await toldOf(child.stderr, /Watching/)
  const ended = once(child, 'exit')
  child.kill('SIGHUP')
  assert.equal(await Promise.race([ended, sleep(500, 'alive')]), 'alive')
  child.kill('SIGTERM')
  assert.deepEqual(await ended, [130, null])

  // `script` gives it a terminal, and takes it away when it is killed.
  const line = [program, ...words, 'unlock'].join(' ')
  const inTerminal = spawn('script', ['-qec', `exec ${line}`, '/dev/null'], {
    ...options,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  await toldOf(inTerminal.stdout, /Watching/)
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', String(inTerminal.pid)])
    .toString()
    .trim()
  const closed = once(inTerminal, 'exit')
  inTerminal.kill('SIGKILL')
  await closed
  let gone = false
  for (let tries = 0; tries < 600 && !gone; tries++) {
    await sleep(100)
    gone = spawnSync('ps', ['-p', children]).status !== 0
  }
  assert.ok(gone)
})

test('a save that was killed leaves no lock in the way', async () => {
  const place = mkdtempSync(join(tmpdir(), 'vml-lock-'))
  try {
    const repository = await initRepository({ backend: openLocal(place), keys: [cheapKey] })
    const killed = spawnSync(process.execPath, [join(import.meta.dirname, '../store-writer.ts'), place, '12'])
    assert.equal(killed.signal, 'SIGKILL')
    assert.equal(readdirSync(join(place, 'locks')).length, 1)
    await using _ = await repository.lock('exclusive')
    assert.equal(readdirSync(join(place, 'locks')).length, 1)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
})

/** Of another computer, as long ago as makes it look left behind. */
async function leaveOldLock(home: TestHome): Promise<void> {
  await writeSealedJson(await vaultOf(home), 'lock', {
    time: new Date(Date.now() - 3600_000).toISOString(),
    exclusive: false,
    hostname: 'far',
    username: 'ann',
    pid: 1,
  })
}

async function toldOf(stream: NodeJS.ReadableStream, wanted: RegExp): Promise<void> {
  let told = ''
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  stream.on('data', (part) => {
    told += String(part)
    if (wanted.test(told)) resolve()
  })
  stream.on('end', () => reject(new Error(told)))
  await promise
}

async function openedByFile(home: TestHome) {
  const { openRepository } = await import('../../src/store/repository.ts')
  return await openRepository({
    backend: openLocal(home.logbook),
    secrets: [Buffer.from('recovery key for tests')],
  })
}

async function keysOf(home: TestHome): Promise<readonly Key[]> {
  return (JSON.parse((await well(home, 'key', 'list', '--json')).stdout) as { keys: Key[] }).keys
}

function resticKeys(home: TestHome, passwordFile: string): string[] {
  return restic(home, passwordFile, 'list', 'keys').toString().trim().split('\n')
}

function restic(home: TestHome, passwordFile: string, ...args: readonly string[]): Buffer {
  return execFileSync(resticProgram('0.19'), [...args, '--no-cache', '-r', home.logbook], {
    env: { ...process.env, RESTIC_PASSWORD_FILE: passwordFile },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function lockOf(home: TestHome): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (readdirSync(join(home.logbook, 'locks')).length === 1) return
    await sleep(100)
  }
  assert.fail('restic took no lock')
}
