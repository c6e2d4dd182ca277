// A test file counts as passed only if its whole report has come and its process ended by itself: every other end is a failure.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runTestFile, type FileResult } from './test-file.ts'

const begin = `import { test } from 'node:test'\nimport { spawn } from 'node:child_process'\n`
const passing = `test('one', () => {})\ntest('two', () => {})\n`

test('every test of a file is counted, those too that are in another', async () => {
  const { passed, failures } = await run(
    `${passing}test('three', async (t) => { await t.test('inner', () => {}) })\n`,
  )
  assert.deepEqual([passed, failures], [4, []])
})

test('a test that fails is told with its line, and not once more for the test around it', async () => {
  const { passed, failures } = await run(
    `${passing}test('outer', async (t) => { await t.test('inner', () => { throw new Error('wrong') }) })\n`,
  )
  assert.equal(passed, 2)
  assert.deepEqual(
    failures.map(({ where, name }) => [where, name]),
    [['a.test.ts:5', 'inner']],
  )
  assert.match(failures[0]?.text ?? '', /^Error: wrong/)
})

test('a test that is skipped or left to do is a failure', async () => {
  const { passed, failures } = await run(
    `${passing}test('later', { todo: true }, () => {})\ntest.skip('never', () => {})\n`,
  )
  assert.equal(passed, 2)
  assert.deepEqual(
    failures.map(({ name }) => name),
    ['later', 'never'],
  )
})

test('a file without a test is a failure, whether or not it could have one', async () => {
  for (const text of ['', begin, `export const a = 1\n`]) {
    assert.deepEqual(names(await run(text, { begin: '' })), ['has reported no test'])
  }
})

test('a file that cannot be read is a failure', async () => {
  const { passed, failures } = await run(`test('one', () => {\n`)
  assert.equal(passed, 0)
  assert.match(failures[0]?.name ?? '', /^ended with status 1/)
})

test('a file whose process ends or dies after half of its tests is a failure, even with status 0', async () => {
  for (const [end, status] of [
    ['process.exit(0)', 'status 0'],
    ['process.exit(3)', 'status 3'],
    [`process.kill(process.pid, 'SIGKILL')`, 'SIGKILL'],
  ]) {
    const result = await run(`${passing}test('third', () => { ${end} })\ntest('fourth', () => {})\n`)
    // How much of its report had been written by then is not known.
    assert.match(
      names(result).join(),
      new RegExp(`^(?:ended with ${status} before its report did|has reported no test)$`),
    )
  }
})

test('what fails after the last test is a failure', async () => {
  const { failures } = await run(
    `${passing}test('late', () => { setTimeout(() => { throw new Error('x') }, 20) })\n`,
  )
  assert.deepEqual(
    failures.map(({ name }) => name),
    ['ended with status 1, and no test failed'],
  )
})

test('a status other than 0 is a failure, though every test passed', async () => {
  const result = await run(`${passing}test('three', () => { process.exitCode = 4 })\n`)
  assert.deepEqual(names(result), ['ended with status 4, and no test failed'])
})

test('a test that hangs is ended after its time, and is the one that failed', async () => {
  const result = await run(
    `${passing}test('hangs', async () => { await new Promise((r) => setTimeout(r, 500)) })\n`,
    {
      testMs: 100,
    },
  )
  assert.deepEqual([result.passed, names(result)], [2, ['hangs']])
})

test('a file that something keeps after its last test is a failure, and all that it started is ended', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vml-runner-'))
  try {
    const children = join(folder, 'children')
    // A child of its own session, and one with an environment of its own.
    const result = await run(
      `${passing}test('three', () => {
        const ids = [{ detached: true }, { env: { PATH: process.env.PATH } }].map((options) =>
          spawn('sleep', ['1000'], { ...options, stdio: 'ignore' }).pid)
        writeFileSync(${JSON.stringify(children)}, ids.join(' '))
      })
      setInterval(() => {}, 1000)\n`,
      { begin: `${begin}import { writeFileSync } from 'node:fs'\n`, fileMs: 3000 },
    )
    assert.deepEqual([result.passed, names(result)], [3, ['did not end in 3 s']])
    assertGone(readFileSync(children, 'utf8'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('a file that is stuck in a loop is ended', async () => {
  const result = await run(`${passing}test('loop', () => { for (;;); })\n`, { fileMs: 2000 })
  assert.deepEqual(names(result), ['did not end in 2 s'])
})

test('a file whose processes outlive it is a failure, and they are ended', async () => {
  const { failures } = await run(
    `${passing}test('three', () => { spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' }).unref() })\n`,
  )
  assert.deepEqual(
    failures.map(({ name }) => name),
    ['left processes running'],
  )
  const [pid = ''] = (failures[0]?.text ?? '').split(' ')
  assert.match(pid, /^\d+$/)
  assertGone(pid)
})

async function run(
  text: string,
  options: { begin?: string; testMs?: number; fileMs?: number } = {},
): Promise<FileResult> {
  const folder = await mkdtemp(join(tmpdir(), 'vml-runner-'))
  try {
    await writeFile(join(folder, 'a.test.ts'), `${options.begin ?? begin}${text}`)
    const { testMs = 60_000, fileMs = 120_000 } = options
    return await runTestFile('a.test.ts', { cwd: folder, testMs, fileMs })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function names({ failures }: FileResult): string[] {
  return failures.map(({ name }) => name)
}

/** The number of a process that has ended can be given to another. */
function assertGone(pids: string) {
  for (const pid of pids.split(' ')) {
    const file = `/proc/${pid}/cmdline`
    assert.doesNotMatch(existsSync(file) ? readFileSync(file, 'utf8') : '', /^sleep/, pid)
  }
}

test('what a test says of itself comes with the result', async () => {
  const { passed, remarks } = await run(`test('one', (t) => { t.diagnostic('17 kills at 17 points') })\n`)
  assert.deepEqual({ passed, remarks }, { passed: 1, remarks: ['17 kills at 17 points'] })
})
