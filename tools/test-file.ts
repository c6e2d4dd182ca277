// Runs one test file as a process of its own. It has passed only if it ended by itself and in time, and its report is whole.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { endStarted, leftOver, markVariable, type Started } from './test-processes.ts'
import { questionSignal, type ReportLine } from './test-report.ts'

export interface FileResult {
  readonly passed: number
  readonly failures: readonly Failure[]
  /** What its tests say of themselves, such as how many points they tried. */
  readonly remarks: readonly string[]
  readonly seconds: number
}

/** `where` is the file, with a line where it is one test that failed. */
export interface Failure {
  readonly where: string
  readonly name: string
  readonly text: string
}

export interface FileOptions {
  /** Relative to it is `file`, and it is where the file runs. */
  readonly cwd: string
  /** For one test of the file. */
  readonly testMs: number
  /** For the whole file. */
  readonly fileMs: number
  /** Ends the file as if its time were over. */
  readonly signal?: AbortSignal
}

interface Ending {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly inTime: boolean
  readonly left: readonly Started[]
}

const reporterFile = join(import.meta.dirname, 'test-report.ts')
// What an answer to a question may take.
const answerMs = 1000

export async function runTestFile(file: string, options: FileOptions): Promise<FileResult> {
  const started = performance.now()
  const folder = await mkdtemp(join(tmpdir(), 'vml-test-report-'))
  try {
    const reportFile = join(folder, 'report')
    const ending = await runProcess(file, reportFile, options)
    // A process that died early has not made the file.
    const text = await readFile(reportFile, 'utf8').catch(() => '')
    const seconds = (performance.now() - started) / 1000
    return { ...judge(file, parseReport(text), ending, options), seconds }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function runProcess(file: string, reportFile: string, options: FileOptions): Promise<Ending> {
  const mark = randomUUID()
  const { NODE_TEST_CONTEXT: _context, ...environment } = process.env
  const child = spawn(
    // The kernel ends it when this process is gone: also after a SIGKILL, when no line of ours runs.
    'setpriv',
    [
      '--pdeathsig',
      'SIGKILL',
      process.execPath,
      `--test-timeout=${options.testMs}`,
      `--test-reporter=${reporterFile}`,
      `--test-reporter-destination=${reportFile}`,
      file,
    ],
    {
      cwd: options.cwd,
      env: { ...environment, [markVariable]: mark },
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  )
  const ended = Promise.withResolvers<undefined>()
  child.on('error', ended.reject).on('exit', () => ended.resolve(undefined))
  const times = [
    AbortSignal.timeout(options.fileMs),
    ...(options.signal === undefined ? [] : [options.signal]),
  ]
  const over = once(AbortSignal.any(times), 'abort')
  const inTime = await Promise.race([ended.promise.then(() => true), over.then(() => false)])
  const left = inTime ? await leftOver(mark) : []
  if (!inTime) {
    child.kill(questionSignal)
    await Promise.race([ended.promise, sleep(answerMs)])
  }
  await endStarted(mark)
  await ended.promise
  return { status: child.exitCode, signal: child.signalCode, inTime, left }
}

/** A torn line is the last of a process that died; that the end is missing will be noticed. */
function parseReport(text: string): ReportLine[] {
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as ReportLine]
    } catch {
      return []
    }
  })
}

function judge(
  file: string,
  report: readonly ReportLine[],
  ending: Ending,
  { fileMs }: FileOptions,
): Omit<FileResult, 'seconds'> {
  const failures: Failure[] = []
  const running = new Map<string, number>()
  let passed = 0
  let ended = 0
  let counted: number | undefined
  for (const line of report) {
    if (line.kind === 'end') counted = line.tests
    if (line.kind === 'started') running.set(line.name, line.line)
    if (line.kind === 'passed') passed += 1
    const where = 'line' in line ? `${file}:${line.line}` : file
    if (line.kind === 'failed') failures.push({ where, name: line.name, text: line.text })
    if (line.kind === 'skipped') failures.push({ where, name: line.name, text: 'Skipped or left to do' })
    if (line.kind === 'started' || line.kind === 'said' || line.kind === 'end') continue
    ended += 1
    running.delete(line.name)
  }
  const fail = (name: string, ...details: readonly string[]) =>
    failures.push({ where: file, name, text: details.join('\n') })
  const said = report.flatMap((line) => (line.kind === 'said' ? [line.text] : []))
  const status = ending.signal ?? `status ${ending.status}`
  if (!ending.inTime) {
    const under = [...running].map(([name, line]) => `Under way: ${name} (line ${line})`)
    fail(
      `did not end in ${fileMs / 1000} s`,
      ...(under.length > 0 ? under : ['None of its tests is under way']),
    )
  } else if (report.length === 0 && ending.status === 0) fail('has reported no test')
  else if (counted === undefined)
    fail(`ended with ${status} before its report did`, `${ended} tests have ended`)
  // A hook that fails is told, and is no test.
  else if (counted > ended) fail(`has reported ${ended} tests of ${counted}`)
  else if (ended === 0) fail('has reported no test')
  else if (ending.status !== 0 && failures.length === 0)
    fail(`ended with ${status}, and no test failed`, ...said)
  if (ending.left.length > 0)
    fail('left processes running', ...ending.left.map(({ pid, command }) => `${pid} ${command}`))
  return { passed, failures, remarks: said }
}
