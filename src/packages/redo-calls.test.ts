import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vml-redo-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const fixture = join(import.meta.dirname, 'redo-calls.fixture.ts')

interface Call {
  readonly argv: readonly string[]
  readonly environment?: string
  readonly stdin?: string
}

/** As the wrapper of dpkg keeps them; `dpkg` is a script, `before` opens descriptors in the shell that starts VML. */
function redo(calls: readonly Call[], dpkg: string, before = ''): { status: number | null; told: string[] } {
  for (const [at, { argv, environment = '', stdin }] of calls.entries()) {
    const call = join(folder, 'calls', String(at + 1).padStart(4, '0'))
    mkdirSync(call, { recursive: true })
    writeFileSync(join(call, 'argv'), argv.map((word) => `${word}\0`).join(''))
    writeFileSync(join(call, 'cwd'), `${folder}\n`)
    writeFileSync(join(call, 'environment'), `export PATH='/usr/bin:/bin'\n${environment}`)
    if (stdin !== undefined) writeFileSync(join(call, 'stdin'), stdin)
  }
  writeFileSync(join(folder, 'dpkg'), `#!/bin/sh\n${dpkg}\n`, { mode: 0o755 })
  const script = `${before}\n"$1" "$2" "$3" "$3/dpkg"\nexit $?`
  const { status, stderr } = spawnSync('/bin/sh', ['-c', script, 'sh', process.execPath, fixture, folder], {
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', FOLDER: folder },
  })
  assert.equal(stderr, '')
  return { status, told: readFileSync(join(folder, 'told'), 'utf8').split('\n').slice(0, -1) }
}

test('calls are made again with their words, folder, environment and input, in their order', () => {
  const { status, told } = redo(
    [
      { argv: ['--set-selections'], stdin: 'tiny install\n' },
      { argv: ['-i', 'a b', "it's"], environment: `export FRONTEND='it'\\''s mine'\n` },
    ],
    `[ "$1" != --set-selections ] || cat >>told\nfor word; do echo "$word" >>told; done; echo "$FRONTEND" >>told`,
  )
  assert.equal(status, 0)
  assert.deepEqual(told, ['tiny install', '--set-selections', '', '-i', 'a b', "it's", "it's mine"])
})

test('the first that fails is the last, and its status the answer', () => {
  const { status, told } = redo(
    [{ argv: ['one'] }, { argv: ['two'] }, { argv: ['three'] }],
    'echo $1 >>told; [ $1 != two ] || exit 3',
  )
  assert.equal(status, 3)
  assert.deepEqual(told, ['one', 'two'])
})

test('the descriptor that apt reads progress from is passed on under its number, and is not asked for where it is closed', () => {
  const argv = ['--status-fd', '17', '--unpack', 'x']
  const dpkg = 'echo "$*" >>told; [ "$1" != --status-fd ] || eval "echo status >&$2"'
  // dash knows descriptors of one digit only.
  const open = redo([{ argv: ['--status-fd', '7', 'x'] }], dpkg, 'exec 7>>"$FOLDER/told"')
  assert.deepEqual([open.status, open.told], [0, ['--status-fd 7 x', 'status']])
  rmSync(join(folder, 'told'))
  const closed = redo([{ argv }], dpkg)
  assert.deepEqual([closed.status, closed.told], [0, ['--unpack x']])
})
