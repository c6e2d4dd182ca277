// Machines that cannot be reached, do not let us in, break off, or lack what a save needs: named, and nothing is changed.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openTestHome, type TestHome, type VmlOutcome } from '../cli.ts'
import { runProgram } from '../guest-machine.ts'
import { noise } from '../store-fixture.ts'
import { cutConnection, type HostileMachine, startHostileMachine } from './hostile-machine.ts'
import { assertRefused, digestOf } from './refusals.ts'

let home: TestHome
let machine: HostileMachine

before(async () => {
  home = await openTestHome()
  machine = await startHostileMachine()
  for (let count = 0; count < 8; count++)
    writeFileSync(join(machine.work, `file${count}`), noise(300_000, `file ${count}`))
  ok(await vml(['machine', 'add', 'lab', machine.address]))
  ok(await vml(['save', 'lab', '-m', 'whole', '--only', machine.work]))
})
after(async () => {
  await machine[Symbol.asyncDispose]()
  await home[Symbol.asyncDispose]()
})

const vml: TestHome['run'] = (args, options) => machine.vml(home, args, options)

function ok(outcome: VmlOutcome): VmlOutcome {
  assert.equal(outcome.status, 0, outcome.stderr)
  return outcome
}

/** A configuration of ssh that differs from the one that works. */
async function sshConfig(change: (text: string) => string): Promise<{ env: { VML_SSH_CONFIG: string } }> {
  const file = join(machine.folder, 'ssh_config')
  writeFileSync(file, change(readFileSync(machine.sshConfigFile, 'utf8')))
  return { env: { VML_SSH_CONFIG: file } }
}

/** Save and restore are refused alike, and neither the logbook nor the machine has changed. */
async function assertBothRefused(name: string, refusal: Parameters<typeof assertRefused>[1], options = {}) {
  const before = digestOf(home.logbook, machine.work)
  assertRefused(await vml(['save', name, '--only', machine.work], options), refusal)
  assertRefused(await vml(['restore', '1', name], options), refusal)
  assert.equal(digestOf(home.logbook, machine.work), before)
}

test('a host where nobody listens, and a name that nobody has, are told as the network’s', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  await new Promise((resolve) => server.close(resolve))
  ok(await vml(['machine', 'add', 'closed', `ssh://nobody@127.0.0.1:${port}`]))
  await assertBothRefused('closed', {
    status: 30,
    saying: /Cannot connect to .*refused[^]*whether the machine is running/,
  })
  ok(await vml(['machine', 'add', 'nameless', 'ssh://nobody@no-such-host.invalid']))
  await assertBothRefused('nameless', {
    status: 30,
    saying: /Cannot connect to .*no-such-host\.invalid.*resolve/,
  })
})

test('a key that the machine does not take', async () => {
  const stranger = join(machine.folder, 'stranger')
  await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', stranger])
  const options = await sshConfig((text) => text.replace(/IdentityFile .*/, `IdentityFile ${stranger}`))
  await assertBothRefused('lab', { status: 40, saying: /Permission denied[^]*ssh-copy-id/ }, options)
})

test('a machine whose key is not known is not connected to without a person who says yes', async () => {
  const known = join(machine.folder, 'known')
  writeFileSync(known, '')
  for (const strict of ['yes', 'ask']) {
    const options = await sshConfig((text) =>
      text
        .replace(/UserKnownHostsFile .*/, `UserKnownHostsFile ${known}`)
        .replace(/StrictHostKeyChecking .*/, `StrictHostKeyChecking ${strict}`),
    )
    await assertBothRefused('lab', { status: 40, saying: /Cannot connect to [^]*accept the key/ }, options)
    // Not even --yes is a comparison of fingerprints.
    assert.equal((await vml(['save', 'lab', '--yes', '--only', machine.work], options)).status, 40)
    assert.equal(readFileSync(known, 'utf8'), '')
  }
})

test('a machine whose key has changed is not connected to', async () => {
  const other = join(machine.folder, 'other-host')
  await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', other])
  const [type = '', key = ''] = readFileSync(`${other}.pub`, 'utf8').split(' ')
  const [host = ''] = readFileSync(machine.knownHostsFile, 'utf8').split(' ')
  const known = join(machine.folder, 'known-other')
  writeFileSync(known, `${host} ${type} ${key}\n`)
  const options = await sshConfig((text) =>
    text.replace(/UserKnownHostsFile .*/, `UserKnownHostsFile ${known}`),
  )
  await assertBothRefused(
    'lab',
    { status: 40, saying: /Cannot connect to [^]*if not, do not go on/ },
    options,
  )
})

test('a machine without a usable tar, find or xargs is told what it lacks', async () => {
  try {
    for (const tool of ['tar', 'find', 'xargs']) {
      machine.lie(tool, 'exit 127')
      await assertBothRefused('lab', { status: 17, saying: new RegExp(`no usable ${tool}[^]*Install`) })
      machine.honest()
    }
    machine.lack('tar')
    machine.lack('find')
    await assertBothRefused('lab', { status: 17, saying: /no usable find and no usable tar/ })
  } finally {
    machine.honest()
  }
})

test('a connection that breaks in the middle of a save leaves a consistent logbook, and the next save is whole', async () => {
  for (let count = 0; count < 8; count++)
    writeFileSync(join(machine.work, `file${count}`), noise(3_000_000, `new ${count}`))
  // Packing, and only that: asking for the version or packing nothing goes well.
  machine.lie(
    'tar',
    `case "$*" in *--version*|*/dev/null*) real "$@"; exit ;; esac
    (real "$@") | head -c 5000000; sleep 0.3; ${cutConnection}`,
  )
  const before = await readdir(join(home.logbook, 'snapshots'))
  assertRefused(await vml(['save', 'lab', '-m', 'cut', '--only', machine.work]), {
    status: 30,
    saying: /Lost the connection while running/,
  })
  machine.honest()
  assert.deepEqual(await readdir(join(home.logbook, 'snapshots')), before)
  assert.deepEqual(await readdir(join(home.logbook, 'locks')), [])
  ok(await home.run(['check', '--read-data']))
  ok(await vml(['save', 'lab', '-m', 'whole again', '--only', machine.work]))
  const target = join(home.home, 'out')
  ok(await vml(['restore', '@latest', '--to', target]))
  assert.deepEqual(readFileSync(join(target, machine.work, 'file7')), noise(3_000_000, 'new 7'))
  await rm(target, { recursive: true })
})

test('a connection that breaks in the middle of a restore: the safety entry has what was there, and a second try ends right', async () => {
  const beside = join(machine.folder, 'beside')
  writeFileSync(beside, 'not of the plan')
  machine.lie(
    'tar',
    `case "$*" in *--version*|*/dev/null*) real "$@"; exit ;; esac
    case "$*" in -x*) (head -c 1000000; sleep 0.3; ${cutConnection}) | real "$@" ;; *) real "$@" ;; esac`,
  )
  const refused = await vml(['restore', '1'])
  machine.honest()
  assertRefused(refused, { status: 30, saying: /Lost the connection[^]*kept in entry #\d+/ })
  const [, safety = ''] = /kept in entry #(\d+)/.exec(refused.stderr) ?? []
  ok(await home.run(['check', '--read-data']))
  ok(await vml(['restore', '1']))
  for (let count = 0; count < 8; count++)
    assert.deepEqual(readFileSync(join(machine.work, `file${count}`)), noise(300_000, `file ${count}`))
  assert.equal(readFileSync(beside, 'utf8'), 'not of the plan')
  ok(await vml(['restore', safety]))
  assert.deepEqual(readFileSync(join(machine.work, 'file3')), noise(3_000_000, 'new 3'))
})
