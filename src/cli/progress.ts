// Shows progress events: a bar on a terminal, a plain line from time to time elsewhere, JSON lines under --json.
import type { Writable } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import type { ProgressEvent, Reporter } from '../base/progress.ts'
import { formatBytes, formatCount, plural } from './format.ts'
import type { Output } from './output.ts'
import { displayWidth, truncate } from './style.ts'

export interface ProgressOptions {
  readonly out: Output
  readonly stderr: Writable
  readonly clock: Clock
  /** Columns of the terminal on standard error; undefined where it is none. */
  readonly width: (() => number) | undefined
}

export interface ProgressReporter extends Reporter {
  /** Removes the bar. */
  end(): void
}

/** A bar that is redrawn more often is not read but costs. */
const barMs = 100
const linesMs = 10_000
const jsonMs = 1000
const barColumns = 20
/** A rate needs some time before it says anything. */
const rateAfterMs = 2000

export function openProgress(options: ProgressOptions): ProgressReporter {
  const { out, clock, stderr, width } = options
  const mode = out.json ? 'json' : out.quiet ? 'silent' : width ? 'bar' : 'lines'
  const every = mode === 'json' ? jsonMs : mode === 'bar' ? barMs : linesMs
  let started = clock.now()
  let phase: string | undefined
  let last = clock.now()
  let drawn = false

  const clear = () => {
    if (drawn) stderr.write('\r\u001b[K')
    drawn = false
  }
  out.onPrint(clear)
  return {
    progress(event) {
      if (mode === 'silent') return
      const now = clock.now()
      const changed = event.phase !== phase
      if (changed) {
        phase = event.phase
        started = now
      }
      if (!changed && now - last < every) return
      if (mode === 'lines' && changed && now - last < every) return
      last = now
      if (mode === 'json') out.message({ message_type: 'status', ...statusFields(event, now - started) })
      else if (mode === 'lines') out.note(describe(event, now - started))
      else if (width) {
        stderr.write(`\r${truncate(bar(event, now - started), width() - 1)}\u001b[K`)
        drawn = true
      }
    },
    warn(event) {
      const text = event.item === undefined ? event.warning : `${event.warning}: ${event.item}`
      if (mode === 'json')
        out.message({ message_type: 'error', error: { message: event.warning }, item: event.item })
      else {
        clear()
        // A warning is a result for whoever asked for quiet: it tells what is not as it should be.
        stderr.write(`${out.noteStyle.yellow('warning:')} ${text}\n`)
      }
    },
    note: (text) => out.note(text),
    end: clear,
  }
}

function bar(event: ProgressEvent, elapsedMs: number): string {
  const share = shareDone(event)
  if (share === undefined) return describe(event, elapsedMs)
  const filled = Math.round(share * barColumns)
  const drawn = `[${'#'.repeat(filled)}${'-'.repeat(barColumns - filled)}]`
  return `${drawn} ${String(Math.floor(share * 100)).padStart(3)} %  ${describe(event, elapsedMs)}`
}

function describe(event: ProgressEvent, elapsedMs: number): string {
  const parts: string[] = [event.phase]
  if (event.bytesDone !== undefined)
    parts.push(
      event.bytesTotal === undefined
        ? formatBytes(event.bytesDone)
        : `${formatBytes(event.bytesDone)} of ${formatBytes(event.bytesTotal)}`,
    )
  if (event.filesDone !== undefined)
    parts.push(
      event.filesTotal === undefined
        ? plural(event.filesDone, 'file')
        : `${formatCount(event.filesDone)} of ${plural(event.filesTotal, 'file')}`,
    )
  if (elapsedMs >= rateAfterMs) {
    if (event.bytesDone !== undefined && event.bytesDone > 0)
      parts.push(`${formatBytes((event.bytesDone / elapsedMs) * 1000)}/s`)
    const share = shareDone(event)
    if (share !== undefined && share > 0 && share < 1)
      parts.push(`ETA ${formatClock((elapsedMs / share) * (1 - share))}`)
  }
  if (event.item !== undefined) parts.push(event.item)
  return parts.join('  ')
}

/** Names as restic's JSON has them, so that programs written for it understand. */
function statusFields(event: ProgressEvent, elapsedMs: number): Record<string, unknown> {
  return {
    phase: event.phase,
    seconds_elapsed: Math.round(elapsedMs / 1000),
    percent_done: shareDone(event),
    files_done: event.filesDone,
    total_files: event.filesTotal,
    bytes_done: event.bytesDone,
    total_bytes: event.bytesTotal,
    current_files: event.item === undefined ? undefined : [event.item],
  }
}

function shareDone(event: ProgressEvent): number | undefined {
  const [done, total] =
    event.bytesTotal !== undefined && event.bytesTotal > 0
      ? [event.bytesDone ?? 0, event.bytesTotal]
      : [event.filesDone ?? 0, event.filesTotal ?? 0]
  return total > 0 ? Math.min(1, done / total) : undefined
}

function formatClock(ms: number): string {
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

/** For tests of the frame: no line of a bar is wider than the terminal. */
export function barWidth(event: ProgressEvent, elapsedMs: number, columns: number): number {
  return displayWidth(truncate(bar(event, elapsedMs), columns - 1))
}
