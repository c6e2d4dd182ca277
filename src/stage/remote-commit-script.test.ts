import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { asRaw, rawFromString } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Journal } from './journal.ts'
import {
  changedStatus,
  commitScript,
  forgetScript,
  prepareScript,
  sumsScript,
} from './remote-commit-script.ts'

const folder = mkdtempSync(join(tmpdir(), 'vml-commit-script-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const nasty = join(folder, 'it\'s $(touch owned)\n-n "x"')
const place = (...names: string[]) => rawFromString(join(folder, ...names)) as string as RawPath
const raw = (text: string) => rawFromString(text) as string as RawPath

function run(script: string | Buffer, ...words: string[]) {
  return spawnSync('/bin/sh', ['-c', script.toString('latin1'), 'vml', ...words], {
    encoding: 'utf8',
    cwd: folder,
  })
}

/** A file, and a journal that replaces it; recover.sh only says that it was called. */
function prepare(): { journal: Journal; commit: () => ReturnType<typeof run> } {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(join(folder, 'journal'), { recursive: true })
  writeFileSync(nasty, 'old')
  for (const state of ['PREPARED', 'COMMITTING', 'FORGOTTEN'])
    writeFileSync(join(folder, 'journal', `state.${state}`), `${state}\n`)
  writeFileSync(join(folder, 'journal/recover.sh'), 'echo recovering\n')
  writeFileSync(join(folder, 'list'), `${nasty}\0`)
  writeFileSync(join(folder, 'gone'), '')
  const journal: Journal = {
    root: asRaw('/'),
    folder: place('journal'),
    keeps: [{ folder: place('journal', 'keep'), made: [place('journal', 'keep')], aboveMtimeNs: 0n }],
    steps: [
      { kind: 'replace', path: raw(nasty), made: place('new'), kept: place('journal', 'keep', '0', 'name') },
      { kind: 'create', path: raw(`${nasty}-new`), made: place('new2') },
    ],
    times: [],
  }
  assert.equal(run(prepareScript(journal, [])).status, 0)
  const sums = run(sumsScript, join(folder, 'list'), join(folder, 'gone')).stdout.split('\n')
  const [full = '', lasting = ''] = sums.map((line) => line.slice(0, 64))
  const script = commitScript(journal, { list: place('list'), gone: place('gone'), full, lasting })
  return { journal, commit: () => run(script) }
}

const state = () => readFileSync(join(folder, 'journal/state'), 'utf8')

test('the commit keeps the old thing and becomes recover.sh, whatever the names are', () => {
  const { journal, commit } = prepare()
  assert.equal(state(), 'PREPARED\n')
  const { status, stdout, stderr } = commit()
  assert.deepEqual([status, stdout, state()], [0, 'recovering\n', 'COMMITTING\n'], stderr)
  assert.equal(readFileSync(join(folder, 'journal/keep/0/name'), 'utf8'), 'old')
  assert.ok(!existsSync(join(folder, 'owned')))
  assert.equal(run(forgetScript(journal)).status, 1)
  writeFileSync(join(folder, 'journal/state'), 'COMMITTED\n')
  assert.equal(run(forgetScript(journal)).status, 0)
  assert.ok(!existsSync(join(folder, 'journal')))
})

test('a file that was written to since, or came to a name that was free, stops it before anything is changed', () => {
  for (const change of [
    () => writeFileSync(nasty, 'mine'),
    () => writeFileSync(`${nasty}-new`, 'mine'),
    () => rmSync(nasty),
  ]) {
    const { journal, commit } = prepare()
    change()
    assert.equal(commit().status, changedStatus)
    assert.equal(state(), 'PREPARED\n')
    assert.equal(run(forgetScript(journal)).status, 0)
    assert.ok(!existsSync(join(folder, 'journal')))
  }
})

test('what came into a folder that was kept is not removed with it, and nothing else is before it was moved away', () => {
  const { journal: prepared } = prepare()
  const gone = place('journal', 'keep', '1', 'gone')
  const journal: Journal = {
    ...prepared,
    steps: [...prepared.steps, { kind: 'delete', path: raw('/gone'), kept: gone }],
    inside: new Set([raw('/gone/in'), raw('/gone/in/file'), raw('/made/file')]),
  }
  mkdirSync(join(folder, 'journal/keep/1/gone/in'), { recursive: true })
  for (const path of ['0/name', '1/gone/in/file', '1/gone/mine'])
    writeFileSync(join(folder, 'journal/keep', path), '')
  writeFileSync(join(folder, 'journal/state'), 'COMMITTED\n')
  const { status, stderr } = run(forgetScript(journal))
  assert.deepEqual([status, state()], [1, 'COMMITTED\n'])
  assert.match(stderr, /journal\/keep" that was not kept there: move it/)
  rmSync(join(folder, 'journal/keep/1/gone/mine'))
  assert.equal(run(forgetScript(journal)).status, 0)
  assert.ok(!existsSync(join(folder, 'journal')))
})

test('names of one file are names of one file where they are copied to another file system, alone or in a folder', () => {
  const { journal } = prepare()
  const from = join(folder, "it's new")
  mkdirSync(join(from, 'in'), { recursive: true })
  writeFileSync(join(from, 'a'), 'content', { mode: 0o640 })
  for (const name of ['-b\nc', 'in/d']) linkSync(join(from, 'a'), join(from, name))
  writeFileSync(join(folder, 'journal/state'), 'NONE\n')
  rmSync(join(folder, 'journal/keep'), { recursive: true })
  writeFileSync(join(folder, 'journal/state.PREPARED'), 'PREPARED\n')
  const to = (name: string) => join(folder, 'journal/keep/1', name)
  const copies = [
    ['a', 'a'],
    ['-b\nc', 'b'],
    ['in', 'in'],
  ].map(([name = '', target = '']) => ({ from: raw(join(from, name)), to: raw(to(target)) }))
  const { status, stderr } = run(prepareScript(journal, copies))
  assert.equal(status, 0, stderr)
  const [first, ...others] = ['a', 'b', 'in/d'].map((name) => statSync(to(name)))
  assert.deepEqual([first?.nlink, first?.mode, first?.size], [3, 0o100640, 7])
  for (const other of others) assert.equal(other.ino, first?.ino)
  assert.deepEqual(readdirSync(join(folder, 'journal/keep')).toSorted(), ['0', '1'])
})
