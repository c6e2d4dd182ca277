// Runs everything that can be checked: `npm test`; `npm test -- PATTERN...` runs the test files whose path has one of the patterns.
// `npm run test:long` runs those of `test/long/` instead, which take longer than a change should wait for.
import { globSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { mapOrdered } from '../src/base/pool.ts'
import { renderCheck, runChecks } from './check.ts'
import { runTestFile } from './test-file.ts'
import { runFolderVariable } from './test-processes.ts'

interface Tally {
  passed: number
  failed: number
}

const root = dirname(import.meta.dirname)

// A test that plays a story in guests or chroots takes a minute, four on a computer with other work; one that takes longer than this hangs.
const testMs = 8 * 60_000
// The slowest file takes five minutes on a busy computer, and all of them 25.
const fileMs = 15 * 60_000
const allFilesMs = 60 * 60_000
const longMs = { testMs: 2 * 3600_000, fileMs: 4 * 3600_000, allFilesMs: 12 * 3600_000 }
const longFolder = 'test/long/'
const startsGuests = /^test\/e2e\/(?:demo|guests|open|open-refused|qemu)\.test\.ts$/
// Above this the name and time of a file help to find what is slow.
const slowFileSeconds = 20

// Some two hundred files and a thousand programs load the same modules: what was compiled once is found by all.
const cacheFolder =
  process.env['VML_TEST_CACHE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'vml-build')
process.env['NODE_COMPILE_CACHE'] ??= join(cacheFolder, 'code')

const words = process.argv.slice(2)
const long = words[0] === '--long'
const runFolder = mkdtempSync(join(tmpdir(), 'vml-test-run-'))
process.env[runFolderVariable] = runFolder
try {
  process.exitCode = await main(long ? words.slice(1) : words)
} finally {
  rmSync(runFolder, { recursive: true, force: true })
}

async function main(patterns: readonly string[]): Promise<number> {
  const tally: Tally = { passed: 0, failed: 0 }
  if (patterns.length === 0 && !long) {
    for (const result of await runChecks()) {
      process.stdout.write(renderCheck(result))
      count(tally, result.passed)
    }
  }
  const found = globSync(['{src,test,tools}/**/*.test.{ts,tsx}'], { cwd: root })
    .filter((file) => file.startsWith(longFolder) === long)
    .toSorted()
  const files = found.filter(
    (file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)),
  )
  for (const pattern of patterns) {
    if (files.some((file) => file.includes(pattern))) continue
    console.log(`FAIL no test file has "${pattern}" in its path`)
    count(tally, false)
  }
  if (found.length === 0) {
    console.log('FAIL no test file')
    count(tally, false)
  }
  // What takes long begins first: a core that waits at the end for a last file is a core that rests.
  const inOrder = [...files.filter(isLong), ...files.filter((file) => !isLong(file))]
  // An emulated guest takes a core for itself: of the files that start any, one at a time, beside the others.
  const withGuests = inOrder.filter((file) => startsGuests.test(file))
  const without = inOrder.filter((file) => !withGuests.includes(file))
  const signal = AbortSignal.timeout(long ? longMs.allFilesMs : allFilesMs)
  await Promise.all([
    mapOrdered(withGuests, 1, async (file) => await runFile(file, signal, tally)),
    // Many wait for programs and for times to pass: three more than there are cores keep those busy.
    mapOrdered(without, availableParallelism() + 3, async (file) => await runFile(file, signal, tally)),
  ])
  console.log(`${tally.passed} passed, ${tally.failed} failed`)
  return tally.failed === 0 ? 0 : 1
}

function isLong(file: string): boolean {
  return !file.startsWith('src/')
}

async function runFile(file: string, signal: AbortSignal, tally: Tally) {
  if (signal.aborted) {
    console.log(`FAIL ${file}: was not run, the time for all files was over`)
    count(tally, false)
    return
  }
  const limits = long ? longMs : { testMs, fileMs }
  const { passed, failures, remarks, seconds } = await runTestFile(file, { cwd: root, ...limits, signal })
  tally.passed += passed
  for (const { where, name, text } of failures) {
    console.log(`FAIL ${where}: ${name}`)
    if (text !== '') console.log(text.replaceAll(/^/gm, '     '))
    count(tally, false)
  }
  // Long tests count what they tried.
  if (long) for (const remark of remarks) console.log(`${file}: ${remark}`)
  if (seconds > slowFileSeconds) console.log(`slow ${file} (${seconds.toFixed(0)} s)`)
}

function count(tally: Tally, passed: boolean) {
  if (passed) tally.passed += 1
  else tally.failed += 1
}
