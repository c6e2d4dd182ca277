// Which processes stand above one: proc(5), field 4 of `stat`.
import { readFileSync } from 'node:fs'
import { numberInProc } from './process-mark.ts'

/** Deeper than any real one: a table that changes meanwhile cannot lead in a circle for ever. */
const depthMax = 1000

/** Whether one is the other, or was started by it, directly or through others that still run. */
export function isWithinProcess(pid: number, ancestor: number): boolean {
  if (pid === ancestor) return true
  const above = numberInProc(ancestor)
  let at = above === undefined ? 0 : (numberInProc(pid) ?? 0)
  for (let depth = 0; at > 0 && depth < depthMax; depth++) {
    if (at === above) return true
    at = parentOf(at)
  }
  return false
}

function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return 0
  }
}
