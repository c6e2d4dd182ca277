// Completion in the real shells: what they offer after a tab.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { openTestHome, type TestHome, vmlCommand, vmlEnvironment } from '../../test/cli.ts'
import { addEntry } from '../../test/entries.ts'

let home: TestHome
let environment: Record<string, string>

before(async () => {
  home = await openTestHome()
  await addEntry(home, {
    title: 'fit v1',
    tags: ['paper'],
    project: 'thesis',
    at: '2026-11-01T10:00:00Z',
    files: { '/home/lab/fit.C': 'x' },
  })
  await home.run(['machine', 'add', 'lab', 'ssh://lab@vm1'])
  const bin = join(home.home, 'bin')
  await mkdir(bin)
  await writeFile(join(bin, 'vml'), `#!/bin/sh\nexec '${vmlCommand.join("' '")}' "$@"\n`, { mode: 0o755 })
  await symlink('vml', join(bin, 'other'))
  const base = vmlEnvironment({ home: home.home })
  environment = { ...base, PATH: `${bin}:${base['PATH'] ?? ''}`, TERM: 'dumb' }
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

/** What is typed, and a word that must be offered for it. */
const cases: readonly (readonly [string, string])[] = [
  ['vml sho', 'show'],
  ['vml machine a', 'add'],
  ['vml log --mach', '--machine'],
  ['vml log --machine l', 'lab'],
  ['vml log --project th', 'thesis'],
  ['vml log --tag p', 'paper'],
  ['vml show 1', '1'],
  ['vml ls lab@', 'lab@latest'],
  ['vml ls 1:/home/lab/f', '1:/home/lab/fit.C'],
]

test('vml itself offers verbs, options, names and paths, and titles with them', async () => {
  for (const [typed, wanted] of cases) {
    const words = typed.split(' ').slice(1)
    const { stdout } = await home.run(['__complete', '--', ...words])
    assert.ok(
      stdout.split('\n').some((line) => line.split('\t')[0] === wanted),
      `${typed}: ${stdout}`,
    )
  }
  assert.match((await home.run(['__complete', '--', 'show', ''])).stdout, /^1\t2026-11-01 10:00 lab fit v1$/m)
})

test('where the logbook does not open nothing is asked and nothing is printed', async () => {
  const { status, stdout, stderr } = await home.run(['__complete', '--', 'show', ''], {
    env: { VML_LOGBOOK: '/nowhere', VML_PASSWORD_COMMAND: 'echo asked >&2; false' },
  })
  assert.deepEqual([status, stdout, stderr], [0, '', ''])
})

test('bash completes, with the colons and signs that it cuts words at', async () => {
  for (const [typed, wanted] of cases) {
    // As readline would call it: COMP_WORDS are cut at COMP_WORDBREAKS, the answer replaces the last of them.
    const script = `
source <(vml completion bash)
COMP_LINE=$1 COMP_POINT=\${#1}
IFS=' ' read -ra COMP_WORDS <<<"\${1//:/ : }"
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_vml 2>&1
printf '%s\\n' "\${COMPREPLY[@]}"`
    const answers = (await run('bash', ['--norc', '-c', script, 'bash', typed])).split('\n')
    const afterColon = wanted.slice(wanted.lastIndexOf(':') + 1)
    assert.ok(answers.includes(afterColon), `${typed}: ${answers.join(' ')}`)
  }
})

test('zsh completes on a tab', async () => {
  const script = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT=; autoload -U compinit; compinit -u -D; source <(vml completion zsh); echo READ''Y"
zpty -r -m z line '*READY*'
zpty -w -n z "$1"$'\\t'
sleep 1
zpty -w -n z $'\\x15'"echo DON''E"$'\\n'
zpty -r -m z line '*DONE*'
print -r -- "$line"`
  for (const [typed, wanted] of cases.filter(([line]) => /sho|machine l|fit|ls 1/.test(line))) {
    const shown = await run('zsh', ['-f', '-c', script, 'zsh', typed])
    assert.ok(shown.includes(wanted.slice(typed.split(' ').at(-1)?.length ?? 0)), `${typed}: ${shown}`)
    assert.ok(!shown.includes('command not found: compdef'), shown)
  }
})

test('fish completes, with descriptions', async () => {
  for (const [typed, wanted] of cases) {
    const answers = await run('fish', [
      '--no-config',
      '-c',
      'vml completion fish | source; complete -C $argv[1]',
      typed,
    ])
    assert.ok(
      answers.split('\n').some((line) => line.split('\t')[0] === wanted),
      `${typed}: ${answers}`,
    )
  }
})

async function run(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, {
    env: environment,
    cwd: home.home,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let stdout = ''
  child.stdout.on('data', (part: Buffer) => (stdout += part.toString()))
  await new Promise((resolve) => child.on('close', resolve))
  return stdout
}
