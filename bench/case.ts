// What a case is: a name, the room it needs, and runs by turns, ours first: A B A B.
import { setTimeout } from 'node:timers/promises'
import { join } from 'node:path'
import { measure, type Measured, readServerCpu, run, type Work } from './measure.ts'
import { figuresOf, type PairedResult, type Result, type Run } from './report.ts'
import type { DataRequest, DataSet } from './data.ts'
import type { Space } from './space.ts'

export type PeerName = 'restic' | 'borg'

export interface Bench {
  /** On the file system of the data; removed afterwards. */
  readonly work: string
  readonly programs: Readonly<Record<PeerName | 'rsync', string>>
  /** Whom saves and restores are measured against. */
  readonly peers: readonly PeerName[]
  /** As it was asked for; each case has its own default. */
  readonly pairs: number | undefined
  readonly scale: number
  /** Folders that were used stay where they are. */
  readonly keep: boolean
  readonly signal: AbortSignal
  data(request: DataRequest): Promise<DataSet>
  /** Told of each run as it ends. */
  onRun(name: string, run: Run): void
}

export interface CaseNeeds {
  readonly data: readonly DataRequest[]
  /** Repositories and restored files, at their most; for `pairs` pairs where they stay. */
  readonly work: Space
}

/** Steps that share repositories: what the first one wrote is what the next one begins from. */
export interface Case {
  readonly title: string
  readonly steps: readonly string[]
  /** With these alone it can be compared. Undefined: no program is asked for by name. */
  readonly peers?: readonly PeerName[]
  needs(asked: Asked): CaseNeeds
  run(bench: Bench, steps: ReadonlySet<string>): Promise<Result[]>
}

export interface Asked {
  readonly scale: number
  readonly pairs: number | undefined
  readonly keep: boolean
  readonly peers: readonly PeerName[]
  readonly steps: ReadonlySet<string>
}

/** A part of a whole number of files or blobs, and never so few that nothing can be seen. */
export function scaled(count: number, { scale }: { readonly scale: number }): number {
  return Math.max(100, Math.round(count * scale))
}

export interface Collector {
  add(who: string, pair: number, work: Work, stored?: Stored): Promise<Measured>
  /** One for each peer, over the same runs of ours. */
  results(peers: readonly string[], noteOf?: (result: PairedResult) => string): PairedResult[]
}

/** What of a repository is told with a run: its size afterwards, or how much it grew. */
export interface Stored {
  readonly folder: string
  readonly what: 'all' | 'added'
}

/** Below this scale seconds say nothing anyway. */
const settledFromScale = 0.1

export function collect(bench: Bench, name: string, serverPid?: number): Collector {
  const runs: Run[] = []
  const { signal } = bench
  return {
    async add(who, pair, work, stored) {
      const before = stored?.what === 'added' ? await bytesBelow(bench, stored.folder) : 0
      // What earlier runs wrote must not be paid for by this one; a quick look does not wait for a disk that others use.
      if (bench.scale >= settledFromScale) await run({ command: ['sync'], env: {}, cwd: '/' }, signal)
      const serverBefore = serverPid === undefined ? 0 : readServerCpu(serverPid)
      const measured = await measure(work, signal)
      const serverCpu =
        serverPid === undefined ? {} : { serverCpuSeconds: readServerCpu(serverPid) - serverBefore }
      const bytes = stored && (await bytesBelow(bench, stored.folder)) - before
      const size =
        bytes === undefined ? {} : stored?.what === 'added' ? { addedBytes: bytes } : { storedBytes: bytes }
      const taken: Run = { who, pair, ...measured, ...serverCpu, ...size }
      runs.push(taken)
      bench.onRun(name, taken)
      return measured
    },
    results: (peers, noteOf) =>
      peers.map((peer) => {
        const result: PairedResult = {
          kind: 'pairs',
          name,
          ours: 'vml',
          peer,
          runs: runs.filter(({ who }) => who === 'vml' || who === peer),
          figures: figuresOf(runs, { ours: 'vml', peer }),
        }
        return noteOf ? { ...result, note: noteOf(result) } : result
      }),
  }
}

/** Reads all of a folder, so that the first program does not pay for the disk. */
export async function warm(bench: Bench, folder: string): Promise<void> {
  const command = ['sh', '-c', 'tar -cf - -C "$1" . | cat >/dev/null', 'sh', folder]
  await run({ command, env: pathOnly(), cwd: '/' }, bench.signal)
}

/** Contents by checksum; types, modes, owners, times, links: rsync names what differs. */
export async function compareBytes(bench: Bench, left: string, right: string): Promise<void> {
  const command = [
    bench.programs.rsync,
    '-ancH',
    '--delete',
    '--itemize-changes',
    join(left, '/'),
    join(right, '/'),
  ]
  const differences = await run({ command, env: pathOnly(), cwd: bench.work }, bench.signal)
  if (differences !== '') throw new Error(`${right} is not what was saved:\n${differences.slice(0, 2000)}`)
}

/** Restored files, repositories and copies of a pair, unless they are to stay. */
export async function discard(bench: Bench, folder: string): Promise<void> {
  if (bench.keep) return
  await run({ command: ['rm', '-rf', '--', folder], env: pathOnly(), cwd: bench.work }, bench.signal)
}

/** RECENTCY_MIN of fs/ext4/ialloc.c, and a second. */
const deletionsCountMs = 61_000

/**
 * ext4 without a journal gives the number of a deleted file to no new one for a minute, and looks at each of them again
 * for every file that is made: whoever writes next would pay for what was removed before.
 */
export async function outliveDeletions(bench: Bench, deletedAtMs: number): Promise<void> {
  const leftMs = deletedAtMs + deletionsCountMs - performance.now()
  if (bench.scale >= settledFromScale && leftMs > 0)
    await setTimeout(leftMs, undefined, { signal: bench.signal })
}

export function pathOnly(): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' }
}

async function bytesBelow(bench: Bench, folder: string): Promise<number> {
  const command = [
    'sh',
    '-c',
    `find "$1" -type f -printf '%s\\n' | awk '{ sum += $1 } END { printf "%.0f", sum }'`,
    'sh',
    folder,
  ]
  return Number(await run({ command, env: pathOnly(), cwd: '/' }, bench.signal))
}
