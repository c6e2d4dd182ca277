// What schedulers are given, read back by programs that are not ours: systemd-analyze, Python's plistlib and its XML parser.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { emptyPolicy } from '../model/policy.ts'
import { readConfig } from './config.ts'
import { isNothingToStop, runSchedule } from './run-schedule.ts'
import { crontabLine } from './schedule-crontab.ts'
import { planSchedule, scheduleRequest, type SchedulePlatform, type ScheduleRequest } from './schedule.ts'

const ticks = [60, 30, 20, 15, 10, 5, 2, 1] as const
const request: ScheduleRequest = {
  scope: 'user',
  command: ['/usr/bin/vml', 'policy', 'run', '--all', '--yes'],
  environment: {},
  everyMinutes: 60,
  home: '/home/ann',
  configHome: '/home/ann/.config',
  dataFolder: '/home/ann/.local/share/vml',
  stateFolder: '/home/ann/.local/state/vml',
  user: { name: 'ann', uid: 1000 },
}

/** What a path or a word may hold, with everything that some format reads in its own way. */
const word = fc.string({
  minLength: 1,
  maxLength: 20,
  unit: fc.constantFrom(...' %%"\'\\$;#&<>{}()*?~^`|!=,:@.-_aZ0é☃'),
})

function filesOf(platform: SchedulePlatform, change: Partial<ScheduleRequest> = {}) {
  const { install } = planSchedule(platform, { ...request, ...change })
  return install.flatMap((step) => (step.kind === 'write' ? [step] : []))
}

function python(script: string, input: Uint8Array): unknown {
  const output = execFileSync('/usr/bin/python3', ['-c', script], { input, stdio: ['pipe', 'pipe', 'pipe'] })
  return JSON.parse(output.toString())
}

test('systemd takes the units, whatever the path of the program is', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-systemd-'))
  try {
    const verify = (name: string, files: readonly { path: string; content: string }[]) => {
      mkdirSync(join(folder, 'units', name), { recursive: true })
      const paths = files.map(({ path, content }) => {
        const file = join(folder, 'units', name, path.slice(path.lastIndexOf('/') + 1))
        writeFileSync(file, content)
        return file
      })
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--user', ...paths], {
        env: { ...process.env, XDG_RUNTIME_DIR: folder },
      })
      return { status, said: stderr.toString() }
    }
    for (const [index, name] of [
      'plain',
      'a b',
      '100%h %%',
      '$HOME ${HOME}',
      'it\'s "q"',
      'back\\slash',
      '; é #',
    ].entries()) {
      const program = join(folder, name, 'vml')
      mkdirSync(dirname(program))
      writeFileSync(program, '#!/bin/sh\n')
      chmodSync(program, 0o755)
      const everyMinutes = ticks[index] ?? 1
      const files = filesOf('linux', {
        command: [program, 'policy', 'run', '--logbook', join(folder, name)],
        environment: { XDG_DATA_HOME: join(folder, name) },
        everyMinutes,
      })
      assert.deepEqual(verify(String(index), files), { status: 0, said: '' }, name)
      // That systemd looked for exactly this file: without it, it complains. Behind a shell it cannot know.
      rmSync(program)
      if (!/["'\\]/.test(name)) assert.match(verify(String(index), files).said, /not executable/, name)
    }
    assert.equal(verify('system', filesOf('linux', { scope: 'system', command: ['/bin/true'] })).status, 0)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('the words of a unit are read back as they were, by the rules of systemd.syntax(7)', () => {
  fc.assert(
    fc.property(fc.array(word, { minLength: 1 }), word, (words, value) => {
      const command = ['/usr/bin/vml', ...words]
      const [service] = filesOf('linux', { command, environment: { XDG_DATA_HOME: value } })
      const lines = service?.content.split('\n') ?? []
      const of = (key: string) => lines.find((line) => line.startsWith(key))?.slice(key.length) ?? ''
      assert.deepEqual(systemdWords(of('ExecStart=:')), command)
      assert.deepEqual(systemdWords(of('Environment=')), [`XDG_DATA_HOME=${value}`])
    }),
  )
})

/** Double-quoted words with escapes of C, then specifiers: of these only %% is used. */
function systemdWords(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"(?: |$)/g)].map(([, body = '']) => {
    const unescaped = body.replaceAll(/\\(.)/g, '$1')
    assert.doesNotMatch(unescaped.replaceAll('%%', ''), /%/)
    return unescaped.replaceAll('%%', '%')
  })
}

test('a timer ticks as often as it is asked to, and makes up for what was missed', () => {
  for (const everyMinutes of ticks) {
    const [, timer] = filesOf('linux', { everyMinutes })
    const [, calendar = ''] = /^OnCalendar=(.*)$/m.exec(timer?.content ?? '') ?? []
    assert.match(timer?.content ?? '', /^Persistent=true$/m)
    const output = execFileSync('systemd-analyze', ['calendar', '--iterations=3', calendar], {
      env: { ...process.env, TZ: 'UTC' },
    }).toString()
    const times = [...output.matchAll(/(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC/g)].map(([, at]) =>
      Date.parse(`${at}Z`),
    )
    assert.ok(times.length >= 3, output)
    for (const [index, at] of times.entries())
      if (index > 0) assert.equal(at - (times[index - 1] ?? 0), everyMinutes * 60_000)
  }
})

test('a property list says what was asked, to the program that macOS would read it with', () => {
  const samples = fc.sample(fc.tuple(fc.array(word, { minLength: 1 }), word), 20)
  for (const [index, [words, value]] of samples.entries()) {
    const everyMinutes = ticks[index % ticks.length] ?? 1
    const command = ['/a b/vml', ...words]
    const environment = { XDG_DATA_HOME: value }
    const [file] = filesOf('macos', { command, environment, everyMinutes })
    const list = python(
      'import plistlib,sys,json; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))',
      Buffer.from(file?.content ?? ''),
    ) as Record<string, unknown>
    assert.deepEqual(list['ProgramArguments'], command)
    assert.equal((list['EnvironmentVariables'] as Record<string, unknown>)['XDG_DATA_HOME'], value)
    assert.equal((list['StartCalendarInterval'] as unknown[]).length, 60 / everyMinutes)
    assert.equal(list['Umask'], 0o077)
  }
})

test('a Windows task is well formed in the encoding that schtasks wants, and its words come apart as they were', () => {
  const samples = fc.sample(
    fc.array(
      word.filter((text) => !/[%$]/.test(text)),
      { minLength: 1 },
    ),
    20,
  )
  for (const words of samples) {
    const program = 'C:\\Program Files\\a & b\\node.exe'
    const [file] = filesOf('windows', { command: [program, ...words], everyMinutes: 15 })
    const [read, line, interval, catchUp] = python(
      `import sys,json,xml.etree.ElementTree as E
n='{http://schemas.microsoft.com/windows/2004/02/mit/task}'
t=E.fromstring(sys.stdin.buffer.read())
print(json.dumps([t.find('.//'+n+k).text for k in ('Command','Arguments','Interval','StartWhenAvailable')]))`,
      Buffer.from(file?.content ?? '', file?.encoding),
    ) as [string, string, string, string]
    assert.equal(read, program)
    assert.deepEqual(windowsWords(line), words)
    assert.equal(interval, 'PT15M')
    assert.equal(catchUp, 'true')
  }
})

/** As Microsoft describes it under "Parsing C command-line arguments". */
function windowsWords(line: string): string[] {
  const words: string[] = []
  let word: string | undefined
  let quoted = false
  for (let at = 0; at < line.length; at++) {
    const character = line[at] ?? ''
    if (character === '\\') {
      const [slashes = ''] = /^\\+/.exec(line.slice(at)) ?? []
      const beforeQuote = line[at + slashes.length] === '"'
      word = (word ?? '') + (beforeQuote ? '\\'.repeat(Math.floor(slashes.length / 2)) : slashes)
      at += slashes.length - 1
      if (beforeQuote && slashes.length % 2 === 1) {
        word += '"'
        at++
      }
    } else if (character === '"') {
      quoted = !quoted
      word ??= ''
    } else if (character === ' ' && !quoted) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? '') + character
  }
  return word === undefined ? words : [...words, word]
}

test('what a format cannot hold is refused, and nothing is written', () => {
  const refused = (platform: SchedulePlatform, change: Partial<ScheduleRequest>) =>
    assert.throws(
      () => planSchedule(platform, { ...request, ...change }),
      (error) => isFailure(error, 'unsupported'),
    )
  for (const platform of ['linux', 'macos', 'windows'] as const) refused(platform, { command: ['/a\nb'] })
  refused('windows', { command: ['C:\\node.exe', '%PATH%'] })
  refused('windows', { command: ['C:\\node.exe', '$(Arg0)'] })
  refused('windows', { scope: 'system' })
  refused('windows', { environment: { XDG_DATA_HOME: 'D:\\x' } })
})

test('a timer calls with the logbook that was meant, and as often as the shortest policy', () => {
  const policies = [
    { ...emptyPolicy('lab', undefined), everyMs: 86_400_000 },
    { ...emptyPolicy('web', undefined), everyMs: 25 * 60_000 },
  ]
  const environment = { HOME: '/home/ann', XDG_DATA_HOME: '/data', VML_LOGBOOK: '/l b' }
  const config = readConfig({}, { environment, workingFolder: '/' })
  const made = scheduleRequest(config, policies, { scope: 'user', platform: 'linux' })
  assert.equal(made.everyMinutes, 20)
  assert.deepEqual(made.command.slice(1), ['policy', 'run', '--all', '--yes', '--logbook', '/l b'])
  assert.ok(readFileSync(made.command[0] ?? '').length > 0)
  assert.deepEqual(made.environment, { XDG_DATA_HOME: '/data' })
  assert.equal(scheduleRequest(config, [], { scope: 'user', platform: 'linux' }).everyMinutes, 60)
})

test('a logbook whose location has a password in it is never a word of a command', () => {
  for (const location of ['rest:https://ana:secret-word@nas/lab/', 'rclone::sftp,pass=secret-word:lab']) {
    const environment = { HOME: '/home/lab', VML_LOGBOOK: location }
    const config = readConfig({}, { environment, workingFolder: '/home/lab' })
    assert.throws(
      () => scheduleRequest(config, [], { scope: 'user', platform: 'linux' }),
      (error) => isFailure(error, 'usage') && !error.message.includes('secret-word'),
    )
  }
})

test('a line for cron is split by the shell into the words that were meant', () => {
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), word, (words, value) => {
      const command = ['/usr/bin/printf', String.raw`%s\0`, ...words]
      const line = crontabLine({ ...request, command, environment: { XDG_DATA_HOME: value } })
      const [, typed = ''] = /^0 \* \* \* \* (.*)$/s.exec(line) ?? []
      // cron(8) takes an unescaped % for the end of the line, and takes the backslash away.
      assert.doesNotMatch(typed, /(^|[^\\])%/)
      const said = execFileSync('/bin/sh', ['-c', typed.replaceAll(String.raw`\%`, '%')]).toString()
      assert.deepEqual(said.split('\0'), [...words, '--quiet', ''])
    }),
    { numRuns: 50 },
  )
  assert.match(crontabLine({ ...request, everyMinutes: 15 }), /^\*\/15 \* /)
})

test('a manager that cannot be reached has nothing to stop; what else it says is told', () => {
  for (const said of [
    'systemctl --user daemon-reload failed: Failed to connect to bus: No medium found',
    'systemctl disable failed: Unit file vml-policy.timer does not exist.',
    'systemctl daemon-reload failed: No such file or directory',
  ])
    assert.ok(isNothingToStop(said), said)
  assert.ok(!isNothingToStop('systemctl disable failed: Access denied'))
})

test('steps are carried out in order, end at what fails, and can be repeated', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-schedule-'))
  try {
    const file = join(folder, 'deep/er/unit')
    const { signal } = new AbortController()
    const write = { kind: 'write', path: file, content: 'x\n', encoding: 'utf8' } as const
    const run = (optional: boolean, ...argv: string[]) => ({ kind: 'run', argv, optional }) as const
    await assert.rejects(
      runSchedule([write, run(false, 'sh', '-c', 'echo no bus >&2; exit 1'), run(false, 'rm', file)], signal),
      (error) => isFailure(error, 'failed') && error.message.includes('no bus'),
    )
    assert.equal(readFileSync(file, 'utf8'), 'x\n')
    const complaints = await runSchedule(
      [write, run(true, 'false'), run(true, '/no/such/program'), { kind: 'remove', path: file }],
      signal,
    )
    assert.equal(complaints.length, 2)
    assert.throws(() => readFileSync(file))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
