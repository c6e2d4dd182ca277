import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawFromString, type RawText } from '../base/raw-text.ts'
import { readEnvironment, parseEnvironment, type Environment } from './facts-environment.ts'
import { askHistory, historyBytesMax, historyFile, type HistoryFile } from './facts-history.ts'
import { hookNames, hookNamesPart, hookPart, hookResult, type HookResult } from './facts-hooks.ts'
import { runParts, type PartOutcome } from './guest-parts.ts'
import { parseOsRelease } from './facts-system.ts'
import { readFacts, type MachineUser } from './facts.ts'
import { openBench, prefixedShell, type Bench } from './userlands.fixture.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'

const userOf = (bench: Bench, loginShell: string): MachineUser => ({
  name: 'lab',
  uid: 0,
  gid: 0,
  home: bench.path('home'),
  loginShell: loginShell as RawPath,
})
const homeShell = (bench: Bench, ...more: string[]): Shell =>
  prefixedShell(['/usr/bin/env', `HOME=${bench.folder}/home`, ...more], 'home')
const noEnvironment = { variables: [] }

async function readHistory(
  shell: Shell,
  { user, environment }: { user: MachineUser; environment: Environment },
): Promise<HistoryFile[]> {
  const questions = askHistory(user, environment)
  const outcomes = await runParts(
    shell,
    questions.map(({ part }) => part),
  )
  return questions
    .map((question, index) => historyFile(question, outcomes[index] ?? unanswered))
    .filter((file) => file !== undefined)
}

const unanswered: PartOutcome = { status: undefined, stdout: Buffer.alloc(0) }

async function runHooks(shell: Shell, { user }: { user: MachineUser }): Promise<HookResult[]> {
  const [listed = unanswered] = await runParts(shell, [hookNamesPart()])
  const names = hookNames(shell, listed)
  const outcomes = await runParts(
    shell,
    names.map((name) => hookPart(user, name)),
  )
  return names.map((name, index) => hookResult(name, outcomes[index] ?? unanswered))
}

for (const userland of ['gnu', 'busybox'] as const) {
  test(`${userland}: a machine says who its user is, what system it runs, and what its environment holds`, async () => {
    using bench = openBench()
    bench.sh(`mkdir home; echo 'ls -la' > home/.bash_history`)
    const path = userland === 'busybox' ? [`PATH=${bench.busyboxPath}`] : []
    const facts = await readFacts(homeShell(bench, 'VML_SEEN=yes', 'SSH_CONNECTION=x', ...path))
    assert.equal(facts.user.name, bench.sh('id -un').trim())
    assert.equal(facts.user.uid, process.getuid?.())
    assert.equal(facts.user.home, bench.path('home'))
    assert.equal(facts.kernel, bench.sh('uname -r').trim())
    assert.equal(facts.architecture, bench.sh('uname -m').trim())
    assert.equal(facts.hostname, bench.sh('uname -n').trim())
    assert.equal(facts.os?.['PRETTY_NAME'], bench.sh('. /etc/os-release; echo "$PRETTY_NAME"').trim())
    assert.equal(
      `${facts.image?.name}@${facts.image?.version}`,
      bench.sh('. /etc/os-release; echo "$ID@$VERSION_ID"').trim(),
    )
    const names = facts.environment.variables.map(({ name }) => name)
    assert.ok(names.includes('VML_SEEN' as RawText) && names.includes('HOME' as RawText))
    assert.ok(!names.includes('SSH_CONNECTION' as RawText) && !names.includes('LC_ALL' as RawText))
    assert.deepEqual(names, names.toSorted())
    assert.deepEqual(
      facts.history.map((file) => `${file.shell} ${file.path} ${Buffer.from(file.content).toString()}`),
      [`bash ${bench.path('home')}/.bash_history ls -la\n`],
    )
    assert.deepEqual(facts.hooks, [])
  })
}

for (const [program, startFile, line] of [
  ['/bin/bash', '.bash_profile', 'export FROM_START="two\nlines =x"'],
  ['/bin/dash', '.profile', 'export FROM_START="two\nlines =x"'],
  ['/usr/bin/zsh', '.zprofile', 'export FROM_START="two\nlines =x"'],
  ['/usr/bin/fish', '.config/fish/config.fish', 'set -x FROM_START "two\nlines =x"'],
] as const) {
  test(`${program}: variables of the start files are told exactly, whatever the start files print`, async () => {
    using bench = openBench()
    bench.sh(
      `mkdir -p home/.config/fish; printf '%s\\n' "$1" 'echo hello' 'printf "NOISE=1\\0"' > home/${startFile}`,
      line,
    )
    const shell = homeShell(bench)
    const environment = await readEnvironment(shell, { user: userOf(bench, program) })
    assert.equal(environment.problem, undefined)
    assert.equal(environment.shell, program.slice(program.lastIndexOf('/') + 1))
    const values = new Map(environment.variables.map(({ name, value }) => [name as string, value as string]))
    assert.equal(values.get('FROM_START'), 'two\nlines =x')
    assert.equal(values.has('NOISE'), false)
  })
}

test('start files that never end, or end the shell, leave the view of sh and a sentence', async () => {
  using bench = openBench()
  bench.sh(`mkdir home; echo 'exec sleep 60' > home/.bash_profile`)
  const started = performance.now()
  const slow = await readEnvironment(homeShell(bench, 'KEPT=1'), { user: userOf(bench, '/bin/bash') })
  assert.ok(performance.now() - started < 40_000)
  assert.match(slow.problem ?? '', /within 10 s/)
  assert.ok(slow.variables.some(({ name }) => name === 'KEPT'))
  bench.sh(`echo 'exit 3' > home/.bash_profile`)
  const ended = await readEnvironment(homeShell(bench, 'KEPT=1'), { user: userOf(bench, '/bin/bash') })
  assert.ok(ended.problem !== undefined && ended.variables.some(({ name }) => name === 'KEPT'))
  const none = await readEnvironment(homeShell(bench), { user: userOf(bench, '/usr/sbin/nologin') })
  assert.ok(none.problem !== undefined && none.shell === 'sh')
})

test('histories of bash, zsh and fish are found where they lie, and nothing but a regular file is opened', async () => {
  using bench = openBench()
  bench.sh(`mkdir -p home/.local/share/fish home/z; echo b > home/mine; echo z > home/z/.zsh_history
    echo h > home/.histfile; echo f > home/.local/share/fish/fish_history; mkfifo home/.bash_history`)
  const environment = {
    variables: parseEnvironment(`HISTFILE=${bench.folder}/home/mine\0ZDOTDIR=${bench.folder}/home/z\0`),
  }
  const user = userOf(bench, '/bin/bash')
  const files = await readHistory(homeShell(bench), { user, environment })
  assert.deepEqual(
    files.map(({ shell, path, content, cut }) => [
      shell,
      path.slice(bench.folder.length),
      Buffer.from(content).toString(),
      cut,
    ]),
    [
      ['bash', '/home/mine', 'b\n', false],
      ['zsh', '/home/z/.zsh_history', 'z\n', false],
      ['zsh', '/home/.histfile', 'h\n', false],
      ['fish', '/home/.local/share/fish/fish_history', 'f\n', false],
    ],
  )
})

test('of a history that is too long the end is kept', async () => {
  using bench = openBench()
  bench.sh(
    `mkdir home; truncate -s ${historyBytesMax} home/.bash_history; echo the end >> home/.bash_history`,
  )
  const [file] = await readHistory(homeShell(bench), {
    user: userOf(bench, '/bin/sh'),
    environment: noEnvironment,
  })
  assert.ok(file?.cut)
  assert.equal(file.content.length, historyBytesMax)
  assert.equal(Buffer.from(file.content.slice(-8)).toString(), 'the end\n')
})

test('hooks run in order on the machine, in the home, and those that are slow or loud are ended', async () => {
  using bench = openBench()
  bench.sh(`mkdir -p home/.config/vml/facts.d; cd home/.config/vml/facts.d
    printf '#!/bin/sh\\npwd; echo to-stderr >&2; exit 3\\n' > 10-first
    printf '#!/bin/sh\\necho before; exec sleep 60\\n' > 20-slow
    printf '#!/bin/sh\\nexec cat /dev/zero\\n' > 30-loud
    printf '#!/bin/sh\\nprintf "a\\\\0b"\\n' > 40-bytes
    printf '#!/bin/sh\\necho no\\n' > 'not plain'; printf '#!/bin/sh\\necho no\\n' > ./-x
    echo no > not-executable; mkdir folder; chmod +x 10-first 20-slow 30-loud 40-bytes 'not plain' ./-x`)
  const results = await runHooks(homeShell(bench), { user: userOf(bench, '/bin/sh') })
  assert.deepEqual(
    results.map(({ name, status, limit, output }) => [name, status, limit, output.length]),
    [
      ['10-first', 3, undefined, bench.folder.length + '/home\n'.length],
      ['20-slow', undefined, 'time', 'before\n'.length],
      ['30-loud', undefined, 'output', 1024 * 1024],
      ['40-bytes', 0, undefined, 3],
    ],
  )
})

test('os-release is read with its quotes, and what is no assignment is passed over', () => {
  const text = `NAME="A \\"B\\" \\$C"\nID=debian\n# no\nVERSION_ID='12'\nlower=1\nPRETTY_NAME=caf\xe9\n`
  assert.deepEqual(parseOsRelease(text), {
    NAME: 'A "B" $C',
    ID: 'debian',
    VERSION_ID: '12',
    PRETTY_NAME: 'caf\ufffd',
  })
  assert.deepEqual(parseOsRelease(rawFromString('NAME="Ünï"\n')), { NAME: 'Ünï' })
})
