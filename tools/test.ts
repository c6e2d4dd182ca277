// Runs everything that can be checked: `npm test`; `npm test -- PATTERN` runs the test files whose path has the pattern.
// `npm run test:long` runs those of `test/long/` instead, which take longer than a change should wait for.
import { globSync } from 'node:fs'
import { availableParallelism, homedir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { run } from 'node:test'
import { renderCheck, runChecks } from './check.ts'

interface Tally {
  passed: number
  failed: number
}

const root = dirname(import.meta.dirname)

// A test that boots a guest under load takes half a minute; one that takes longer than this hangs.
const timeoutMs = 240_000
const longTimeoutMs = 2 * 3600_000
// Ends even a file that is stuck in a loop, with everything it started.
const allTestsMs = 30 * 60_000
const longTestsMs = 12 * 3600_000
const longFolder = 'test/long/'
const startsGuests = /^test\/e2e\/(?:demo|guests|open|open-refused|qemu)\.test\.ts$/
// Above this the name and time of a file help to find what is slow.
const slowFileMs = 20_000
const attemptsMax = 3

// Some two hundred files and a thousand programs load the same modules: what was compiled once is found by all.
const cacheFolder =
  process.env['VML_TEST_CACHE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'vml-build')
process.env['NODE_COMPILE_CACHE'] ??= join(cacheFolder, 'code')

const words = process.argv.slice(2)
const long = words[0] === '--long'
process.exitCode = await main(long ? words[1] : words[0])

async function main(pattern: string | undefined): Promise<number> {
  const tally: Tally = { passed: 0, failed: 0 }
  if (pattern === undefined && !long) {
    for (const result of await runChecks()) {
      process.stdout.write(renderCheck(result))
      count(tally, result.passed)
    }
  }
  const found = globSync(['{src,test,tools}/**/*.test.{ts,tsx}'], { cwd: root })
    .filter((file) => file.startsWith(longFolder) === long)
    .toSorted()
  const files = found.filter((file) => pattern === undefined || file.includes(pattern))
  if (files.length === 0) {
    console.log(`FAIL no test file${pattern === undefined ? '' : ` has "${pattern}" in its path`}`)
    count(tally, false)
  }
  // An emulated guest takes a core for itself: of the files that start any, one at a time, beside the others.
  const withGuests = files.filter((file) => startsGuests.test(file))
  const without = files.filter((file) => !withGuests.includes(file))
  await Promise.all([
    runFiles(withGuests, { atOnce: 1, tally }),
    // Many wait for programs: one more than there are cores keeps those busy.
    runFiles(without, { atOnce: availableParallelism() + 1, tally }),
  ])
  console.log(`${tally.passed} passed, ${tally.failed} failed`)
  return tally.failed === 0 ? 0 : 1
}

async function runFiles(
  files: readonly string[],
  { atOnce, tally, attempt = 1 }: { atOnce: number; tally: Tally; attempt?: number },
) {
  if (files.length === 0) return
  const silent: string[] = []
  const seen = new Map<string, number>()
  const events = run({
    files,
    cwd: root,
    concurrency: atOnce,
    timeout: long ? longTimeoutMs : timeoutMs,
    signal: AbortSignal.timeout(long ? longTestsMs : allTestsMs),
    // Without it a file whose test has timed out waits on for what that test waited for.
    execArgv: attempt === 1 ? ['--test-force-exit'] : [],
  })
  events.on('test:stderr', ({ message }) => process.stderr.write(message))
  events.on('test:pass', ({ name, file, details, skip, todo }) => {
    if (details.type === 'suite' || isFile(name)) return
    note(file, details.duration_ms)
    // A test that did not run has proven nothing.
    const ran = skip === undefined && todo === undefined
    if (!ran) console.log(`FAIL ${name} (${place(file)}): skipped or left to do`)
    count(tally, ran)
  })
  events.on('test:fail', ({ name, file, line, details }) => {
    // A suite fails because of its tests, which are counted; a file fails by itself only where it could not run.
    if (details.type === 'suite' || failedThroughSubtests(details.error)) return
    note(file, details.duration_ms)
    console.log(`FAIL ${isFile(name) ? place(name) : `${name} (${place(file)}:${line ?? '?'})`}`)
    console.log(describe(details.error).replaceAll(/^/gm, '     '))
    count(tally, false)
  })
  const ended = Promise.withResolvers<undefined>()
  events.on('end', () => ended.resolve(undefined)).on('error', ended.reject)
  events.resume()
  await ended.promise
  for (const file of files) {
    const ms = seen.get(file)
    // A process that is made to exit can lose the last of what it said: a quick file is asked again, and may end by itself.
    if (ms === undefined && attempt < attemptsMax) silent.push(file)
    else if (ms === undefined) {
      console.log(`FAIL ${file}: has no test`)
      count(tally, false)
    } else if (ms > slowFileMs) console.log(`slow ${file} (${(ms / 1000).toFixed(0)} s)`)
  }
  await runFiles(silent, { atOnce: 1, tally, attempt: attempt + 1 })

  function note(file: string | undefined, ms: number) {
    if (file !== undefined) seen.set(place(file), (seen.get(place(file)) ?? 0) + ms)
  }
}

function count(tally: Tally, passed: boolean) {
  if (passed) tally.passed += 1
  else tally.failed += 1
}

function isFile(name: string): boolean {
  return /\.test\.tsx?$/.test(name)
}

function place(file: string | undefined): string {
  return file === undefined ? '?' : file.startsWith('/') ? relative(root, file) : file
}

function failedThroughSubtests(error: Error): boolean {
  return 'failureType' in error && error.failureType === 'subtestsFailed'
}

function describe(error: Error): string {
  const cause = error.cause instanceof Error ? error.cause : error
  return cause.stack ?? cause.message
}
