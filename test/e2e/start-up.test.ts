// What a short command loads and what a save asks over ssh: the shape of the fixed costs, counted, since times vary.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readConfig } from '../../src/app/config.ts'
import { openMachine } from '../../src/app/open-machine.ts'
import { readMachinePackages } from '../../src/packages/machine-packages.ts'
import { openSshShell } from '../../src/wire/ssh.ts'
import { openTestHome, type TestHome, vmlCommand, vmlEnvironment } from '../cli.ts'
import { addEntry } from '../entries.ts'
import { startSshd } from '../sshd.ts'

const project = fileURLToPath(new URL('../../', import.meta.url))

/** Everything that a command loads, by its path in the project. */
function loadedBy(home: TestHome, args: readonly string[]): string[] {
  const list = join(home.home, 'loaded')
  const spy = join(home.home, 'spy.mjs')
  writeFileSync(
    spy,
    `import { appendFileSync } from 'node:fs'
    import { registerHooks } from 'node:module'
    registerHooks({ load(url, context, next) { appendFileSync(${JSON.stringify(list)}, url + '\\n'); return next(url, context) } })`,
  )
  rmSync(list, { force: true })
  const [program = '', ...words] = vmlCommand
  execFileSync(program, ['--import', spy, ...words, ...args], {
    cwd: home.home,
    env: vmlEnvironment(home),
    stdio: 'pipe',
  })
  return readFileSync(list, 'utf8')
    .split('\n')
    .filter((url) => url.startsWith('file:'))
    .map((url) => fileURLToPath(url).slice(project.length))
}

test('vml log loads what reads snapshots, and nothing that writes, checks, repairs, locks or reads trees', async () => {
  await using home = await openTestHome()
  await addEntry(home, { title: 'one', tags: [], at: '2026-11-01T10:00:00Z', files: { '/home/lab/x': 'x' } })
  // The second time the catalogue knows the entry.
  for (const args of [['log'], ['log', '--json']]) await home.run(args)
  for (const args of [['log'], ['log', '--json', '-n', '5']]) {
    const loaded = loadedBy(home, args)
    assert.ok(loaded.includes('src/store/repository.ts') && loaded.includes('src/cli/commands/log.ts'))
    const foreign =
      /node_modules\/(?!smol-toml\/)|src\/(?:engine\/(?!entries)|source|packages|hypervisor|image|wire|http)\/?|src\/store\/(?:writer|packer|chunker|lane|check|repair|prune|lock|tree|blob|loaded-index|index|pack|zstd)|src\/cli\/(?:parse|commands\/(?!log\.ts))|src\/backend\/(?!all|disk-failure|local|location|repository-path|temporary-name)/
    assert.deepEqual(
      loaded.filter((path) => foreign.test(path)),
      [],
    )
  }
})

test('--version loads no command, no configuration and no logbook', async () => {
  await using home = await openTestHome({ logbook: false })
  const loaded = loadedBy(home, ['--version'])
  assert.deepEqual(
    loaded.filter((path) =>
      /node_modules|src\/(?:cli\/commands\/|cli\/parse|app|store|backend|engine)/.test(path),
    ),
    [],
  )
})

/** A machine over ssh whose home has histories and hooks, and that counts its sessions. */
async function openCountedMachine() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'vml-counted-')))
  const home = join(folder, 'home')
  const log = join(folder, 'sessions')
  const hooks = join(home, '.config/vml/facts.d')
  mkdirSync(join(home, 'work'), { recursive: true })
  mkdirSync(hooks, { recursive: true })
  writeFileSync(join(home, 'work', 'file'), 'x')
  for (const name of ['.bash_history', '.zsh_history', '.histfile'])
    writeFileSync(join(home, name), `${name}\n`)
  for (const name of ['10-one', '20-two', '30-three']) {
    writeFileSync(join(hooks, name), '#!/bin/sh\necho fact\n')
    chmodSync(join(hooks, name), 0o755)
  }
  const sshd = await startSshd({
    config: [
      `SetEnv HOME=${home}`,
      `ForceCommand echo session >> ${log}; exec sh -c "$SSH_ORIGINAL_COMMAND"`,
    ],
  })
  return {
    address: `ssh://${sshd.user}@127.0.0.1:${sshd.port}`,
    port: sshd.port,
    sshConfigFile: sshd.sshConfigFile,
    /** Since the last call. */
    countSessions(): number {
      const count = existsSync(log) ? readFileSync(log, 'utf8').split('\n').length - 1 : 0
      writeFileSync(log, '')
      return count
    },
    async [Symbol.asyncDispose]() {
      await sshd[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The one that holds the connection, in which one is asked after the other, and one for what is asked at the same time. */
const sessionsOfSave = 2

test('what a machine is asked before a scan takes two sessions, however many histories and hooks it has', async () => {
  await using machine = await openCountedMachine()
  await using shell = await openSshShell({
    address: { user: userInfo().username, host: '127.0.0.1', port: machine.port },
    options: { configFile: machine.sshConfigFile },
  })
  const address = { kind: 'ssh', host: '127.0.0.1', port: machine.port } as const
  await using home = await openTestHome({ logbook: false })
  await using open = await openMachine(
    {
      config: readConfig({}, { environment: { HOME: home.home }, workingFolder: home.home }),
      signal: new AbortController().signal,
      openShell: () => Promise.resolve(shell),
    },
    { name: 'counted', address },
  )
  assert.ok((await readMachinePackages(open.packageManagers, open.shell))?.packages.length)
  assert.equal(open.facts.history.length, 3)
  assert.deepEqual(
    open.facts.hooks.map(({ name, status }) => [name, status]),
    [
      ['10-one', 0],
      ['20-two', 0],
      ['30-three', 0],
    ],
  )
  assert.equal(machine.countSessions(), sessionsOfSave)
})

test('the sessions of a save over ssh are few, and do not grow with what there is', async () => {
  await using machine = await openCountedMachine()
  await using home = await openTestHome()
  const run = async (...args: readonly string[]) => {
    const done = await home.run(args, { env: { VML_SSH_CONFIG: machine.sshConfigFile } })
    assert.equal(done.status, 0, done.stderr)
  }
  await run('machine', 'add', 'lab', machine.address)
  machine.countSessions()
  await run('save', 'lab', '-m', 'first')
  const first = machine.countSessions()
  await run('save', 'lab', '-m', 'second')
  const second = machine.countSessions()
  assert.ok(first <= sessionsOfSave && second <= sessionsOfSave, `${first} and ${second} sessions`)
})
