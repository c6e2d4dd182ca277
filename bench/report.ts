// Medians and ratios of paired runs, as a table and as JSON.
import type { Measured } from './measure.ts'

export interface Run extends Measured {
  readonly who: string
  readonly pair: number
  /** Bytes of the repository or copy after the run; undefined where nothing is stored. */
  readonly storedBytes?: number
  /** By how much the repository grew. */
  readonly addedBytes?: number
  /** What the other end of ssh took. */
  readonly serverCpuSeconds?: number
}

export interface PairedResult {
  readonly kind: 'pairs'
  readonly name: string
  readonly ours: string
  readonly peer: string
  readonly runs: readonly Run[]
  readonly figures: readonly Figure[]
  /** A sentence for the table, where a ratio says too little. */
  readonly note?: string
}

/** What one path costs among few and among many; ours alone. */
export interface GrowthResult {
  readonly kind: 'growth'
  readonly name: string
  readonly rows: readonly GrowthRow[]
  readonly note: string
}

export interface GrowthRow {
  readonly step: string
  readonly files: number
  readonly cpuMicrosecondsPerFile: number
  readonly wallMicrosecondsPerFile: number
  readonly peakBytes: number
}

/** Figures that are no pairs: rows of text, for people. */
export interface TableResult {
  readonly kind: 'table'
  readonly name: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly note?: string
}

export type Result = PairedResult | GrowthResult | TableResult

/** A ratio is the median over the pairs of ours divided by the peer's, with its range. */
export interface Figure {
  readonly what: Column
  readonly ours: number
  readonly peer: number
  readonly ratio: number
  readonly ratioMin: number
  readonly ratioMax: number
}

const columns = [
  'cpuSeconds',
  'wallSeconds',
  'peakBytes',
  'storedBytes',
  'addedBytes',
  'serverCpuSeconds',
] as const
type Column = (typeof columns)[number]
const titles: Readonly<Record<Column, string>> = {
  cpuSeconds: 'CPU s',
  wallSeconds: 'wall s',
  peakBytes: 'peak MiB',
  storedBytes: 'stored MB',
  addedBytes: 'added MB',
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
export function renderResults(results: readonly Result[]): string {
  const paired = results.filter((result) => result.kind === 'pairs')
  const growth = results.filter((result) => result.kind === 'growth')
  const parts: string[] = []
  if (paired.length > 0) {
    const rows = paired.flatMap(({ name, ours, peer, figures }) =>
      figures.map((figure) => [
        name,
        titles[figure.what],
        `${ours} ${inUnit(figure.what, figure.ours)}`,
        `${peer} ${inUnit(figure.what, figure.peer)}`,
        `${figure.ratio.toFixed(2)} (${figure.ratioMin.toFixed(2)}-${figure.ratioMax.toFixed(2)})`,
      ]),
    )
    parts.push(table([['case', 'of', 'ours', 'peer', 'ratio (range)'], ...rows]))
  }
  for (const { name, rows } of growth) {
    const cells = rows.map((row) => [
      name,
      String(row.files),
      row.cpuMicrosecondsPerFile.toFixed(1),
      row.wallMicrosecondsPerFile.toFixed(1),
      inUnit('peakBytes', row.peakBytes),
    ])
    parts.push(table([['case', 'files', 'CPU µs per file', 'wall µs per file', 'peak MiB'], ...cells]))
  }
  for (const { name, head, rows } of results.filter((result) => result.kind === 'table'))
    parts.push(table([['case', ...head], ...rows.map((row) => [name, ...row])]))
  const notes = results.flatMap(({ name, note }) => (note === undefined ? [] : [`${name}: ${note}`]))
  return [...parts, ...notes].join('\n\n')
}

function table([head = [], ...body]: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) => Math.max(...[head, ...body].map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...body.map(line)].join(
    '\n',
  )
}

function inUnit(what: Column, value: number): string {
  if (what === 'peakBytes') return (value / 2 ** 20).toFixed(0)
  if (what === 'storedBytes' || what === 'addedBytes')
    return (value / 1e6).toFixed(Math.abs(value) < 1e6 ? 4 : Math.abs(value) < 1e8 ? 2 : 0)
  return value.toFixed(value < 1 ? 3 : 2)
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}
