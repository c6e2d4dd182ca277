// Measures VML against its peers: `npm run bench -- small big-first [--json FILE]`. See docs/performance.md.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench, PeerName } from './case.ts'
import { cases, chooseCases, describeCases } from './cases.ts'
import { isMade, openData, spaceOf } from './data.ts'
import { run } from './measure.ts'
import { renderResults, type Result } from './report.ts'
import { addSpace, judgeSpace, mostSpace, type Space } from './space.ts'

const usage = `npm run bench -- CASE... [--peer restic|borg]... [--pairs N] [--scale X] [--json FILE] [--keep]
Cases, and steps of them that can be named alone:
${describeCases()}
  all      every case, one after the other
Options:
  --peer NAME  whom saves and restores are measured against; may be given twice (restic)
  --pairs N    runs of each program, by turns (3; noop and memory 5, start 15)
  --scale X    a part of the data, for a quick look (1), up to 10
  --json FILE  every run, for programs
  --keep       leave repositories and restored files where they are
VML_BENCH_RESTIC, VML_BENCH_BORG and VML_BENCH_RSYNC name other programs than those of tools/setup.`

/** As a shell says of a program that ctrl-c ended. */
const cancelledStatus = 130
const pairsMax = 1000

type Asked = NonNullable<ReturnType<typeof parseWords>>

process.exitCode = await main()

async function main(): Promise<number> {
  const asked = parseWords(process.argv.slice(2))
  if (!asked) {
    console.error(usage)
    return 2
  }
  for (const [name] of asked.chosen) {
    const peers = cases.get(name)?.peers
    const without = asked.peers.find((peer) => peers && !peers.includes(peer))
    if (without === undefined || asked.all) continue
    console.error(`${name} is not measured against ${without}`)
    return 2
  }
  const { programs, cache } = readPlaces()
  mkdirSync(cache, { recursive: true, mode: 0o700 })
  removeLeftovers(cache)
  const space = judgeSpace(cache, spaceNeeded(cache, asked))
  console.error(space.says)
  if (!space.enough) {
    console.error('That is not enough. Nothing was made; choose fewer cases or a smaller --scale')
    return 1
  }
  const cancel = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => cancel.abort(new Error(`Cancelled by ${name}`)))
  const work = mkdtempSync(join(cache, `run-${process.pid}-`))
  try {
    const { results, versions } = await runCases({ asked, work, cache, programs, signal: cancel.signal })
    console.log(renderResults(results))
    if (asked.json !== undefined)
      writeFileSync(asked.json, `${JSON.stringify(describeRun(asked, versions, results), undefined, 2)}\n`)
    return 0
  } catch (error) {
    if (!cancel.signal.aborted) throw error
    console.error('Cancelled; what was made for it is removed')
    return cancelledStatus
  } finally {
    if (asked.keep && !cancel.signal.aborted) console.error(`Kept ${work}`)
    else rmSync(work, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
  }
}

function parseWords(words: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: [...words],
      allowPositionals: true,
      options: {
        pairs: { type: 'string' },
        scale: { type: 'string', default: '1' },
        peer: { type: 'string', multiple: true, default: ['restic'] },
        json: { type: 'string' },
        keep: { type: 'boolean', default: false },
      },
    })
    const all = positionals.includes('all')
    const chosen = chooseCases(all ? [...cases.keys()] : positionals)
    const pairs = values.pairs === undefined ? undefined : Number(values.pairs)
    const scale = Number(values.scale)
    const peers = [...new Set(values.peer)].filter((name) => name === 'restic' || name === 'borg')
    if (chosen === undefined || chosen.size === 0 || !(scale > 0 && scale <= 10)) return undefined
    if (pairs !== undefined && !(Number.isSafeInteger(pairs) && pairs >= 1 && pairs <= pairsMax))
      return undefined
    if (peers.length < new Set(values.peer).size) return undefined
    return { all, chosen, pairs, scale, peers, json: values.json, keep: values.keep }
  } catch {
    return undefined
  }
}

interface RunOptions {
  readonly asked: Asked
  readonly work: string
  readonly cache: string
  readonly programs: Bench['programs']
  readonly signal: AbortSignal
}

async function runCases({ asked, work, cache, programs, signal }: RunOptions) {
  const { pairs, scale, keep, peers, chosen } = asked
  const fingerprints = new Map<string, string>()
  const bench: Bench = {
    work,
    programs,
    peers,
    pairs,
    scale,
    keep,
    signal,
    async data(request) {
      if (!isMade(cache, request)) console.error(`Making the data: ${request.kind} of ${request.size}`)
      const data = await openData(cache, request, signal)
      fingerprints.set(`${request.kind}-${request.size}`, data.fingerprint)
      return data
    },
    onRun(name, { who, pair, cpuSeconds, wallSeconds, peakBytes }) {
      console.error(
        `${name}  ${who} ${pair}: CPU ${cpuSeconds.toFixed(2)} s, wall ${wallSeconds.toFixed(2)} s, peak ${(peakBytes / 2 ** 20).toFixed(0)} MiB`,
      )
    },
  }
  const peerVersions: Record<string, string> = {}
  for (const name of new Set<PeerName | 'rsync'>(['restic', 'rsync', ...peers]))
    peerVersions[name] = await versionOf(programs[name], name === 'restic' ? 'version' : '--version', signal)
  const results: Result[] = []
  for (const [name, steps] of chosen) {
    const taken = await cases.get(name)?.run(bench, steps)
    results.push(...(taken ?? []))
  }
  return { results, versions: { peers: peerVersions, data: Object.fromEntries(fingerprints) } }
}

/** All data stays; of the cases, each removes what it wrote before the next one begins, unless told otherwise. */
function spaceNeeded(cache: string, { chosen, scale, pairs, keep, peers }: Asked): Space {
  const missing = new Map<string, Space>()
  const works: Space[] = []
  for (const [name, steps] of chosen) {
    const needs = cases.get(name)?.needs({ scale, pairs, keep, peers, steps })
    if (!needs) continue
    works.push(needs.work)
    for (const request of needs.data)
      if (!isMade(cache, request)) missing.set(`${request.kind}-${request.size}`, spaceOf(request))
  }
  return addSpace(...missing.values(), keep ? addSpace(...works) : mostSpace(works))
}

/** What a run that was killed has left, known by the number of its process. */
function removeLeftovers(cache: string) {
  for (const name of readdirSync(cache)) {
    const pid = /^run-(\d+)-/.exec(name)?.[1]
    if (pid === undefined || isRunning(Number(pid))) continue
    console.error(`Removing ${name}, which a run that was killed has left`)
    rmSync(join(cache, name), { recursive: true, force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH')
  }
}

function readPlaces(): { cache: string; programs: Bench['programs'] } {
  const setup = join(import.meta.dirname, '../tools/setup')
  const places = JSON.parse(execFileSync(setup, ['--print'], { encoding: 'utf8' })) as Record<string, string>
  const { env } = process
  const restic = env['VML_BENCH_RESTIC'] || places['restic019']
  const borg = env['VML_BENCH_BORG'] || places['borg14']
  const { cache } = places
  if (cache === undefined || restic === undefined || borg === undefined)
    throw new Error('tools/setup does not say where things are')
  return {
    cache: join(cache, 'bench'),
    programs: { restic, borg, rsync: env['VML_BENCH_RSYNC'] || 'rsync' },
  }
}

function describeRun(
  { pairs, scale }: Asked,
  versions: Awaited<ReturnType<typeof runCases>>['versions'],
  results: readonly Result[],
) {
  return {
    schema: 2,
    at: new Date().toISOString(),
    machine: describeMachine(),
    ...versions,
    pairs: pairs ?? 'of each case',
    scale,
    cache: 'warm',
    results,
  }
}

function describeMachine(): Record<string, string | number> {
  const osRelease = readFileSync('/etc/os-release', 'utf8')
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: release(),
    system: /^PRETTY_NAME="(.*)"$/m.exec(osRelease)?.[1] ?? 'unknown',
    node: process.version,
    loadAverage: readFileSync('/proc/loadavg', 'latin1').split(' ')[0] ?? '',
  }
}

async function versionOf(program: string, flag: string, signal: AbortSignal): Promise<string> {
  const { PATH = '/usr/bin:/bin' } = process.env
  const said = await run({ command: [program, flag], env: { PATH }, cwd: '/' }, signal)
  return said.split('\n')[0] ?? ''
}
