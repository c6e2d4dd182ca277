// Measures VML against its peers: `npm run bench -- save-local save-ssh restore [--json FILE]`. See docs/performance.md.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Bench, cases } from './cases.ts'
import { makeDataSet } from './data.ts'
import { renderTable } from './report.ts'

const usage = `npm run bench -- CASE... [--pairs N] [--scale X] [--json FILE] [--keep]
Cases: ${[...cases.keys()].join(', ')}
  --pairs N    runs of each program, by turns (3)
  --scale X    a part of the data, for a quick look (1: 75,000 files, 2.5 GB)
  --json FILE  every run, for programs
  --keep       leave repositories and restored files where they are
VML_BENCH_RESTIC names another restic than the one of tools/setup.`

process.exitCode = await main()

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      pairs: { type: 'string', default: '3' },
      scale: { type: 'string', default: '1' },
      json: { type: 'string' },
      keep: { type: 'boolean', default: false },
    },
  })
  const pairs = Number(values.pairs)
  const scale = Number(values.scale)
  const unknown = positionals.filter((name) => !cases.has(name))
  if (positionals.length === 0 || unknown.length > 0 || !(pairs >= 1) || !(scale > 0 && scale <= 10)) {
    console.error(usage)
    return 2
  }
  const places = readPlaces()
  console.error('Making the data')
  const data = makeDataSet(places.cache, scale)
  const parent = join(places.cache, 'bench')
  mkdirSync(parent, { recursive: true })
  const work = mkdtempSync(join(parent, 'work-'))
  const bench: Bench = {
    data,
    work,
    restic: places.restic,
    pairs,
    onRun: (name, run) => {
      const { who, pair, cpuSeconds, wallSeconds, peakBytes } = run
      console.error(
        `${name}  ${who} ${pair}/${pairs}: CPU ${cpuSeconds.toFixed(2)} s, wall ${wallSeconds.toFixed(2)} s, peak ${(peakBytes / 2 ** 20).toFixed(0)} MiB`,
      )
    },
  }
  // Warm: all of it lies in the page cache from the first run on.
  execFileSync('sh', ['-c', 'tar -cf - -C "$1" . | cat >/dev/null', 'sh', data.folder])
  try {
    const results = []
    for (const name of new Set(positionals)) results.push(...((await cases.get(name)?.(bench)) ?? []))
    console.log(renderTable(results))
    if (values.json !== undefined) {
      const { fingerprint, files, bytes } = data
      const document = {
        schema: 1,
        at: new Date().toISOString(),
        machine: describeMachine(),
        peers: { restic: versionOf(places.restic, 'version'), rsync: versionOf('rsync', '--version') },
        pairs,
        data: { scale, fingerprint, files, bytes },
        cache: 'warm',
        results,
      }
      writeFileSync(values.json, `${JSON.stringify(document, undefined, 2)}\n`)
    }
    return 0
  } finally {
    if (values.keep) console.error(`Kept ${work}`)
    else rmSync(work, { recursive: true, force: true })
  }
}

function readPlaces(): { cache: string; restic: string } {
  const setup = join(import.meta.dirname, '../tools/setup')
  const places = JSON.parse(execFileSync(setup, ['--print'], { encoding: 'utf8' })) as Record<string, string>
  const restic = process.env['VML_BENCH_RESTIC'] || places['restic019']
  const { cache } = places
  if (cache === undefined || restic === undefined)
    throw new Error('tools/setup does not say where things are')
  return { cache, restic }
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

function versionOf(program: string, flag: string): string {
  return execFileSync(program, [flag], { encoding: 'utf8' }).split('\n')[0] ?? ''
}
