// What every command has in common: help, JSON, streams, signals, defects.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { openTestHome, type TestHome, vmlCommand, vmlEnvironment } from '../../test/cli.ts'
import { addEntry } from '../../test/entries.ts'
import { resticProgram } from '../../test/restic-peer.ts'
import type { Command } from './command.ts'
import { commands } from './commands.ts'
import { barWidth } from './progress.ts'

let home: TestHome

before(async () => {
  home = await openTestHome()
  await addEntry(home, {
    title: 'one',
    at: '2026-11-01T10:00:00Z',
    files: { '/home/lab/big': 'x'.repeat(3_000_000) },
  })
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

test('every command has three examples of itself or what comes next, and a description', async () => {
  for (const { name, command } of await allCommands()) {
    assert.ok(command.examples.length >= 3, name)
    assert.ok(command.description.length > 20, name)
    for (const { line } of command.examples)
      assert.ok(!/\s#\d/.test(line), `${name}: a shell takes # for a comment`)
  }
})

test('--help of every command prints its usage and examples, and needs no logbook', async () => {
  for (const { name } of await allCommands()) {
    const { status, stdout, stderr } = await home.run([...name.split(' '), '--help'], {
      env: { VML_LOGBOOK: '/nowhere' },
    })
    assert.deepEqual([status, stderr], [0, ''], name)
    assert.match(stdout, new RegExp(`^Usage: vml ${name}`))
    assert.match(stdout, /\nExamples:\n {2}/)
  }
})

test('vml alone prints the verbs by job', async () => {
  const { status, stdout } = await home.run([])
  assert.equal(status, 0)
  assert.match(stdout, /\nStart:\n[^]*\nLook:\n[^]*\nExamples:\n/)
  assert.equal(stdout, (await home.run(['--help'])).stdout)
  assert.equal(stdout, (await home.run(['help'])).stdout)
  for (const words of [['save'], ['machine', 'add']]) {
    const asked = await home.run(['help', ...words])
    assert.deepEqual(asked, await home.run([...words, '--help']))
    assert.match(asked.stdout, new RegExp(`^Usage: vml ${words.join(' ')} `))
  }
})

test('--json gives one document on success and one failure on standard error', async () => {
  for (const args of [
    ['log'],
    ['status'],
    ['machine', 'list'],
    ['show', '1'],
    ['ls', '1'],
    ['find', 'big'],
    ['reindex'],
    ['rm', '1', '--dry-run'],
  ]) {
    const { status, stdout, stderr } = await home.run([...args, '--json'])
    assert.deepEqual([status, stderr], [0, ''], args.join(' '))
    assert.match(stdout, /^\{\n {2}"schema": 1,/, args.join(' '))
    JSON.parse(stdout)
  }
  const failed = await home.run(['show', '9', '--json'])
  assert.equal(failed.stdout, '')
  const value: unknown = JSON.parse(failed.stderr)
  assert.ok(typeof value === 'object' && value !== null && 'message_type' in value && 'code' in value)
  assert.deepEqual([value.message_type, value.code], ['exit_error', 4])
})

test('flags that all commands take may stand before and after the verb', async () => {
  for (const args of [
    ['--json', '--logbook', home.logbook, 'log'],
    ['log', '--logbook', home.logbook, '--json'],
  ])
    assert.equal((await home.run(args, { env: { VML_LOGBOOK: '/nowhere' } })).status, 0, args.join(' '))
})

test('a reader that is gone ends the program without a word', async () => {
  for (const line of ['cat 1:/home/lab/big | head -c 10', 'log --json | head -c 1', '--help | head -c 1']) {
    const { stderr } = await shell(`"$NODE" "$VML" ${line} > /dev/null`)
    assert.equal(stderr, '', line)
  }
})

test('output that does not reach its file is no success', async () => {
  for (const line of ['cat 1:/home/lab/big', 'log', 'log --json', 'ls 1', '--help']) {
    const { status, stderr } = await shell(`"$NODE" "$VML" ${line} > /dev/full`)
    assert.equal(status, 31, `${line}: ${stderr}`)
    assert.match(stderr, /No space left for the output/, line)
    assert.doesNotMatch(stderr, /stored/, line)
  }
})

test('SIGTERM and SIGINT end a run with 130 and say what is known of this command then, and no more', async () => {
  // A password command that hangs holds the run at a known place.
  const env = vmlEnvironment({
    home: home.home,
    env: {
      VML_PASSWORD_COMMAND: 'echo ready >&2; exec sleep 30',
      VML_LOGBOOK: home.logbook,
      XDG_DATA_HOME: '/nowhere',
    },
  })
  for (const [signal, line, told] of [
    ['SIGTERM', 'log', /Cancelled: nothing was changed$/m],
    ['SIGINT', 'check --repair --yes', /Cancelled: nothing was changed$/m],
    ['SIGINT', 'restore 1 --to there', /Cancelled: nothing that was there was changed$/m],
    ['SIGINT', 'prune', /Cancelled: no entry is half written/],
  ] as const) {
    const [program = '', ...words] = vmlCommand
    const child = spawn(program, [...words, ...line.split(' ')], { env, stdio: ['ignore', 'ignore', 'pipe'] })
    let stderr = ''
    child.stderr.on('data', (part: Buffer) => {
      stderr += part.toString()
      if (stderr === 'ready\n') child.kill(signal)
    })
    const status = await new Promise((resolve) => child.on('close', resolve))
    assert.equal(status, 130, stderr)
    assert.match(stderr, told, line)
  }
})

test('without a terminal there is no colour and no question; with one NO_COLOR holds', async () => {
  const plain = await home.run(['log'])
  assert.ok(!plain.stdout.includes('\u001b'))
  const args = `"$NODE" "$VML" log`
  const colored = await shell(`script -qec '${args}' /dev/null`)
  assert.ok(colored.stdout.includes('\u001b[1m'), colored.stdout)
  for (const without of [`NO_COLOR=1 ${args}`, `${args} --no-color`])
    assert.ok(!(await shell(`script -qec '${without}' /dev/null`)).stdout.includes('\u001b'))
})

test('on a terminal rm asks, and a no changes nothing', async () => {
  const { stdout } = await shell(
    `(sleep 1; printf n) | script -qec 'stty cols 100; "$NODE" "$VML" rm 1' /dev/null; echo`,
  )
  assert.match(stdout, /Remove 1 entry\?/)
  assert.match(stdout, /Cancelled: nothing was changed/)
  assert.equal((await home.run(['show', '1'])).status, 0)
})

test('Ctrl-D at a question cancels it as Ctrl-C does, and nothing is written', async () => {
  await using fresh = await openTestHome({ logbook: false })
  for (const [line, question, word] of [
    [`init ${fresh.logbook}`, 'Recovery key', 'written'],
    [`--logbook ${home.logbook} log`, 'Password of', 'written'],
    [`--logbook ${home.logbook} --password-file ${home.passwordFile} rm 1`, 'Remove 1 entry', 'changed'],
  ] as const)
    for (const key of ['\u0004', '\u0003']) {
      const told = await atTerminal(line, fresh.home, { question, key })
      assert.ok(told.includes(question), told)
      assert.match(told, new RegExp(`Cancelled: nothing was ${word}[^]*status 130`))
      assert.ok(!told.includes('top-level await'), told)
      // The cursor that a question hides is shown again.
      assert.ok(told.lastIndexOf('\u001b[?25h') > told.lastIndexOf('\u001b[?25l'), told)
    }
  assert.ok(!existsSync(fresh.logbook))
  assert.equal((await home.run(['show', '1'])).status, 0)
})

test('on a terminal init makes up a recovery key, shows it once, and stock restic takes it', async () => {
  await using fresh = await openTestHome({ logbook: false })
  const stdout = await atTerminal(`init ${fresh.logbook}`, fresh.home, {
    question: 'Recovery key',
    key: '\r',
  })
  const [key] = /(?:[0-9a-z]{5}-){7}[0-9a-z]{5}/.exec(stdout) ?? []
  assert.ok(key, stdout)
  await writeFile(join(fresh.home, 'key'), key)
  const { status, stderr } = await shell(
    `${resticProgram('0.14')} -q -r ${fresh.logbook} --password-file key check`,
    fresh.home,
  )
  assert.equal(status, 0, stderr)
})

test('what nobody foresaw is a defect: 70, with the stack in a log of the state folder', async () => {
  const folder = join(home.home, '.cache/vml')
  // No code of ours makes a defect on purpose; a config file that is a folder of the wrong kind does not either.
  const { reportFailure } = await import('./failures.ts')
  const { plainStyle } = await import('./style.ts')
  let printed = ''
  const status = await reportFailure(new TypeError('boom\u001b[31m'), {
    json: false,
    style: plainStyle(false),
    print: (text) => (printed += text),
    stateFolder: folder,
  })
  assert.equal(status, 70)
  assert.match(printed, /A defect of VML: boom\\x1b\[31m\n.*vml\.log/)
  assert.match(readFileSync(join(folder, 'vml.log'), 'utf8'), /TypeError: boom[^]*frame\.test\.ts/)
})

test('a program that waits for what cannot come any more ends as a defect, and not without a word', () => {
  const endless = `data:text/javascript,${encodeURIComponent(`
    import { registerHooks } from 'node:module'
    const source = 'export const main = () => new Promise(() => {})'
    const load = (url, context, next) =>
      url.endsWith('/main.ts') ? { format: 'module', shortCircuit: true, source } : next(url, context)
    registerHooks({ load })`)}`
  const [program = '', ...words] = vmlCommand
  const { status, stderr } = spawnSync(program, ['--import', endless, ...words, 'log'], { encoding: 'utf8' })
  assert.equal(status, 70, stderr)
  assert.match(stderr, /^vml: A defect of VML: .* ended before its work was done\n.*not done/m)
})

test('a cache folder that cannot be written is no reason to fail', async () => {
  await using fresh = await openTestHome()
  await mkdir(join(fresh.home, '.cache'), { recursive: true })
  await chmod(join(fresh.home, '.cache'), 0o500)
  const cache = join(fresh.home, 'no-folder')
  await writeFile(cache, '')
  const { status, stderr } = await fresh.run(['log'], { env: { XDG_CACHE_HOME: cache } })
  assert.equal(status, 0, stderr)
})

test('no line of a progress bar is wider than the terminal', () => {
  const event = {
    phase: 'reading',
    filesDone: 8123,
    filesTotal: 75_000,
    bytesDone: 2 ** 30,
    bytesTotal: 2 ** 31,
    item: '/home/lab/日本語/'.repeat(20),
  }
  for (const columns of [20, 40, 80, 200]) assert.ok(barWidth(event, 60_000, columns) < columns)
})

async function allCommands(): Promise<{ name: string; command: Command }[]> {
  const all: { name: string; command: Command }[] = []
  for (const entry of commands) {
    const loaded = await entry.load()
    if (loaded.kind === 'verb') all.push({ name: entry.name, command: loaded.command })
    else
      for (const [verb, { load }] of Object.entries(loaded.noun.verbs))
        all.push({ name: `${entry.name} ${verb}`, command: await load() })
  }
  return all
}

/** A terminal that answers with one key as soon as it is asked. */
async function atTerminal(
  line: string,
  folder: string,
  { question, key }: { readonly question: string; readonly key: string },
): Promise<string> {
  const [NODE = '', VML = ''] = vmlCommand
  const env = { ...vmlEnvironment({ home: folder }), NODE, VML, TERM: 'xterm', SHELL: '/bin/sh' }
  const command = `stty cols 100; "$NODE" "$VML" ${line}; echo status $?`
  const child = spawn('script', ['-qec', command, '/dev/null'], { env, cwd: folder, stdio: 'pipe' })
  let told = ''
  let answered = false
  child.stdin.on('error', () => {}) // The program may have ended.
  child.stdout.on('data', (part: Buffer) => {
    told += part.toString()
    // The line is drawn before keys are read: with the cursor hidden both are done.
    if (answered || !told.includes(question)) return
    answered = true
    setTimeout(() => child.stdin.write(key), 300)
  })
  await new Promise((resolve) => child.on('close', resolve))
  return told
}

async function shell(line: string, folder = home.home) {
  const [NODE = '', VML = ''] = vmlCommand
  const env = { ...vmlEnvironment({ home: folder }), NODE, VML, TERM: 'xterm', SHELL: '/bin/sh' }
  const child = spawn('/bin/sh', ['-c', line], { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (part: Buffer) => (stdout += part.toString()))
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString()))
  const status = await new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? -1)))
  return { status, stdout, stderr }
}
