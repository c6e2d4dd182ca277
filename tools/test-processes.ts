// The processes that a test file has started, found by a mark in their environment, or as children of such: for an end that leaves none.
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Started {
  readonly pid: number
  readonly command: string
}

/** Every process inherits it, those too that outlive the process that started them. */
export const markVariable = 'TEST_FILE_MARK'

/** A folder that all files of a run share, for what is made once. */
export const runFolderVariable = 'TEST_RUN_FOLDER'

// Ends that were asked for take some milliseconds, on a busy computer more.
const endsMs = 3000
const betweenMs = 50

/** What still runs of a mark after a while in which what is ending may end. */
export async function leftOver(mark: string): Promise<Started[]> {
  const until = performance.now() + endsMs
  for (;;) {
    const left = findStarted(mark)
    if (left.length === 0 || performance.now() > until) return left
    await sleep(betweenMs)
  }
}

/** Ends all of a mark, and what they start meanwhile. */
export async function endStarted(mark: string): Promise<void> {
  const until = performance.now() + endsMs
  for (;;) {
    const running = findStarted(mark)
    if (running.length === 0) return
    if (performance.now() > until)
      throw new Error(`Cannot end process ${running[0]?.pid}: ${running[0]?.command}`)
    for (const { pid } of running) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended by itself.
      }
    }
    await sleep(betweenMs)
  }
}

function findStarted(mark: string): Started[] {
  const parents = new Map<number, number>()
  const found = new Set<number>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const parent = parentOf(pid)
    if (parent === undefined) continue
    parents.set(pid, parent)
    if (`\0${read(pid, 'environ')}`.includes(`\0${markVariable}=${mark}\0`)) found.add(pid)
  }
  // A child with an environment of its own counts, too.
  for (let before = -1; before !== found.size;) {
    before = found.size
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid)
  }
  return [...found].map((pid) => ({ pid, command: read(pid, 'cmdline').replaceAll('\0', ' ').trim() }))
}

/** Undefined for a process that has ended and only waits for its parent to ask. */
function parentOf(pid: number): number | undefined {
  // The name stands in parentheses, and can have any byte.
  const stat = read(pid, 'stat')
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return state === undefined || state === '' || state === 'Z' || state === 'X' ? undefined : Number(parent)
}

/** Empty for what has gone, and for what belongs to somebody else. */
function read(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return ''
  }
}
