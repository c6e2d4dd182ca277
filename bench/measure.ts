// Runs one program to its end and says what it and everything that it started took: CPU, time, memory.
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

export interface Measured {
  /** User and system, of the whole process tree. */
  readonly cpuSeconds: number
  readonly wallSeconds: number
  /** Resident memory of the largest process at its highest. */
  readonly peakBytes: number
}

export interface Work {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
}

/** What goes to standard error is kept up to here, for the message of a run that failed. */
const saidBytesMax = 64 * 1024

/** How long a program that was asked to end may take over it. */
const endingMs = 5000

/**
 * Every process of the tree is counted when it has been waited for, as getrusage(RUSAGE_CHILDREN) does it. Orphans would
 * escape, so the measuring process adopts them (PR_SET_CHILD_SUBREAPER) and waits for all before it counts. Perl, since
 * Debian always has it and it reaches both calls; the wall time is that of the program itself.
 */
const watcher = `
use POSIX; use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
my ($prctl, $getrusage) = (POSIX::uname())[4] eq "x86_64" ? (157, 98) : (167, 165);
syscall($prctl, 36, 1, 0, 0, 0) == 0 or die "prctl: $!";
my $started = clock_gettime(CLOCK_MONOTONIC);
my $child = fork() // die "fork: $!";
if (!$child) { exec { $ARGV[0] } @ARGV; print STDERR "exec $ARGV[0]: $!\\n"; POSIX::_exit(127) }
my ($status, $ended);
while ((my $pid = wait()) != -1) {
  ($status, $ended) = ($?, clock_gettime(CLOCK_MONOTONIC)) if $pid == $child;
}
my $usage = "\\0" x 144;
syscall($getrusage, -1, $usage) == 0 or die "getrusage: $!";
my ($us, $uu, $ss, $su, $rss) = unpack("q5", $usage);
open(my $report, ">&=3") or die "report: $!";
printf $report '{"status":%d,"cpuSeconds":%.3f,"wallSeconds":%.3f,"peakBytes":%d}',
  $status, $us + $ss + ($uu + $su) / 1e6, $ended - $started, $rss * 1024;
`

/** Fails where the program does: a failed run is no measurement. */
export async function measure(work: Work, signal: AbortSignal): Promise<Measured> {
  const { status, said, report } = await launch(
    { ...work, command: ['perl', '-e', watcher, ...work.command] },
    { signal, listen: false },
  )
  if (status !== 0) throw new Error(`Cannot measure ${work.command.join(' ')}: ${said}`)
  const { status: own, ...measured } = JSON.parse(report) as Measured & { status: number }
  if (own !== 0) throw new Error(`${work.command.join(' ')} ended with wait status ${own}: ${said}`)
  return measured
}

/** Not measured. Gives what the program wrote to standard output. */
export async function run(work: Work, signal: AbortSignal): Promise<string> {
  const { status, said, output } = await launch(work, { signal, listen: true })
  if (status !== 0) throw new Error(`${work.command.join(' ')} ended with ${status}: ${said}`)
  return output
}

interface Outcome {
  readonly status: number | null
  readonly output: string
  readonly said: string
  readonly report: string
}

/** In a process group of its own, which ends as a whole when the signal comes. Without `listen` its output goes nowhere. */
async function launch(
  { command, env, cwd }: Work,
  { signal, listen }: { readonly signal: AbortSignal; readonly listen: boolean },
): Promise<Outcome> {
  signal.throwIfAborted()
  const [program = '', ...args] = command
  const child = spawn(program, args, {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', listen ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  })
  let said = ''
  let report = ''
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-saidBytesMax)))
  child.stdio[3]?.on('data', (chunk: Buffer) => (report += chunk.toString()))
  let late: NodeJS.Timeout | undefined
  const end = () => {
    killGroup(child, 'SIGTERM')
    late = setTimeout(() => killGroup(child, 'SIGKILL'), endingMs)
  }
  signal.addEventListener('abort', end, { once: true })
  const closed = Promise.withResolvers<number | null>()
  child.on('error', closed.reject).on('close', closed.resolve)
  try {
    const status = await closed.promise
    signal.throwIfAborted()
    return { status, output, said, report }
  } finally {
    signal.removeEventListener('abort', end)
    clearTimeout(late)
  }
}

function killGroup({ pid }: ChildProcess, signal: NodeJS.Signals) {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // It has ended by itself.
  }
}

/** CPU seconds of a server and of all its children that have ended, from /proc (proc(5), `stat`). */
export function readServerCpu(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [utime, stime, cutime, cstime] = fields.slice(11, 15).map(Number)
  return ((utime ?? 0) + (stime ?? 0) + (cutime ?? 0) + (cstime ?? 0)) / ticksPerSecond
}

/** USER_HZ is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100
