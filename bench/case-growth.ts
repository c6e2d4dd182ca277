// Whether a path costs the same among a thousand as among a million: saves of trees of growing size.
import { type Asked, type Bench, type Case, collect, discard, scaled, warm } from './case.ts'
import type { DataRequest } from './data.ts'
import { spaceOf } from './data.ts'
import { checkWithRestic, openKeeper } from './programs.ts'
import { type GrowthRow, median, type Result } from './report.ts'
import { mostSpace, timesSpace } from './space.ts'

const pairsDefault = 3
const sizes = [1000, 10_000, 100_000, 1_000_000]

export const growthCase: Case = {
  title: 'what a file costs in trees of 1,000 to 1,000,000; VML alone',
  steps: ['first', 'unchanged'],
  needs(asked) {
    const data = requestsOf(asked)
    const times = asked.keep ? (asked.pairs ?? pairsDefault) : 1
    return { data, work: timesSpace(mostSpace(data.map(spaceOf)), times) }
  },
  async run(bench, steps) {
    const rows = []
    for (const request of requestsOf(bench)) rows.push(...(await measureSize(bench, request, steps)))
    const results: Result[] = []
    for (const step of ['first', 'unchanged'].filter((name) => steps.has(name))) {
      const own = rows.filter((row) => row.step === step)
      results.push({ kind: 'growth', name: `growth-${step}`, rows: own, note: describeGrowth(own) })
    }
    return results
  },
}

/** Two sizes may become one at a small scale. */
function requestsOf(asked: Pick<Asked, 'scale'>): DataRequest[] {
  return [...new Set(sizes.map((files) => scaled(files, asked)))].map((size) => ({ kind: 'tree', size }))
}

async function measureSize(
  bench: Bench,
  request: DataRequest,
  steps: ReadonlySet<string>,
): Promise<GrowthRow[]> {
  const { pairs = pairsDefault } = bench
  const { folder, files } = await bench.data(request)
  await warm(bench, folder)
  const names = ['first', 'unchanged'].filter((step) => steps.has(step))
  const taken = new Map(names.map((step) => [step, { cpu: [0], wall: [0], peak: [0] }]))
  for (const part of taken.values()) for (const values of Object.values(part)) values.length = 0
  for (let pair = 1; pair <= pairs; pair++) {
    const vml = await openKeeper(bench, 'vml', `growth-${files}-${pair}`)
    for (const step of ['first', 'unchanged']) {
      const { cpuSeconds, wallSeconds, peakBytes } = await collect(
        bench,
        `growth-${step}, ${files} files`,
      ).add('vml', pair, vml.save(folder))
      const own = taken.get(step)
      own?.cpu.push(cpuSeconds)
      own?.wall.push(wallSeconds)
      own?.peak.push(peakBytes)
    }
    if (pair === pairs) await checkWithRestic(bench, vml)
    await discard(bench, vml.folder)
  }
  return [...taken].map(([step, { cpu, wall, peak }]) => ({
    step,
    files,
    cpuMicrosecondsPerFile: (median(cpu) / files) * 1e6,
    wallMicrosecondsPerFile: (median(wall) / files) * 1e6,
    peakBytes: median(peak),
  }))
}

/** Between two sizes, so that what each save costs whatever it saves is not counted. */
function describeGrowth(rows: readonly GrowthRow[]): string {
  const steps = rows.slice(1).map((row, index) => {
    const before = rows[index] ?? row
    const cpu = row.cpuMicrosecondsPerFile * row.files - before.cpuMicrosecondsPerFile * before.files
    return `${(cpu / (row.files - before.files)).toFixed(1)} µs of CPU for each further file up to ${row.files}`
  })
  return steps.length === 0 ? 'one size only' : steps.join(', ')
}
