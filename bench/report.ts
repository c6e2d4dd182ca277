// Medians and ratios of paired runs, as a table and as JSON.
import type { Measured } from './measure.ts'

export interface Run extends Measured {
  readonly who: string
  readonly pair: number
  /** Bytes of the repository or copy after the run; undefined where nothing is stored. */
  readonly storedBytes?: number
  /** What the other end of ssh took. */
  readonly serverCpuSeconds?: number
}

export interface CaseResult {
  readonly name: string
  readonly ours: string
  readonly peer: string
  readonly runs: readonly Run[]
  readonly figures: readonly Figure[]
}

/** A ratio is the median over the pairs of ours divided by the peer's, with its range. */
export interface Figure {
  readonly what: Column
  readonly ours: number
  readonly peer: number
  readonly ratio: number
  readonly ratioMin: number
  readonly ratioMax: number
}

const columns = ['cpuSeconds', 'wallSeconds', 'peakBytes', 'storedBytes', 'serverCpuSeconds'] as const
type Column = (typeof columns)[number]
const titles: Readonly<Record<Column, string>> = {
  cpuSeconds: 'CPU s',
  wallSeconds: 'wall s',
  peakBytes: 'peak MiB',
  storedBytes: 'stored MB',
  serverCpuSeconds: "server's CPU s",
}

export function figuresOf(runs: readonly Run[], { ours, peer }: { ours: string; peer: string }): Figure[] {
  return columns.flatMap((what) => {
    const pairs = runs
      .filter(({ who }) => who === ours)
      .flatMap((run) => {
        const other = runs.find(({ who, pair }) => who === peer && pair === run.pair)
        const mine = run[what]
        const theirs = other?.[what]
        return mine === undefined || theirs === undefined || theirs === 0 ? [] : [{ mine, theirs }]
      })
    if (pairs.length === 0) return []
    const ratios = pairs.map(({ mine, theirs }) => mine / theirs)
    return [
      {
        what,
        ours: median(pairs.map(({ mine }) => mine)),
        peer: median(pairs.map(({ theirs }) => theirs)),
        ratio: median(ratios),
        ratioMin: Math.min(...ratios),
        ratioMax: Math.max(...ratios),
      },
    ]
  })
}

/** As Markdown has tables, so that it can be pasted. */
export function renderTable(results: readonly CaseResult[]): string {
  const rows = results.flatMap(({ name, ours, peer, figures }) =>
    figures.map((figure) => [
      name,
      titles[figure.what],
      `${ours} ${inUnit(figure.what, figure.ours)}`,
      `${peer} ${inUnit(figure.what, figure.peer)}`,
      `${figure.ratio.toFixed(2)} (${figure.ratioMin.toFixed(2)}-${figure.ratioMax.toFixed(2)})`,
    ]),
  )
  const all = [['case', 'of', 'ours', 'peer', 'ratio (range)'], ...rows]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  const [head = [], ...body] = all
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...body.map(line)].join(
    '\n',
  )
}

function inUnit(what: Column, value: number): string {
  if (what === 'peakBytes') return (value / 2 ** 20).toFixed(0)
  if (what === 'storedBytes') return (value / 1e6).toFixed(value < 1e8 ? 2 : 0)
  return value.toFixed(2)
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}
