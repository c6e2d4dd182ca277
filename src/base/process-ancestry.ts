// Which processes stand above one: proc(5), field 4 of `stat`.
import { readFileSync } from 'node:fs'

/** Deeper than any real one: a table that changes meanwhile cannot lead in a circle for ever. */
const depthMax = 1000

/** Whether one is the other, or was started by it, directly or through others that still run. */
export function isWithinProcess(pid: number, ancestor: number): boolean {
  let at = pid
  for (let depth = 0; at > 0 && depth < depthMax; depth++) {
    if (at === ancestor) return true
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
