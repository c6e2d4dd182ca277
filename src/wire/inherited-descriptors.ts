// Descriptors that this process was started with, so that a program can be started with the same ones: Node closes them for its children (uv_disable_stdio_inheritance).
import { readdirSync, readlinkSync } from 'node:fs'
import { systemErrorCode } from '../base/failure.ts'

/** Each `open` of a shell, and whatever a front end keeps open; a process has 1024 by default. */
const descriptorsMax = 1024

/**
 * Numbers from 3 upwards that are the same open thing here and in the process that started this one. What Node has opened for itself is none of them, as long
 * as that process waits and is no Node.
 */
export function inheritedDescriptors(): number[] {
  const [own, starter] = [descriptorsOf('self'), descriptorsOf(String(process.ppid))]
  return [...own]
    .filter(([number, target]) => number > 2 && number < descriptorsMax && starter.get(number) === target)
    .map(([number]) => number)
    .toSorted((one, other) => one - other)
}

/** For `spawn`: every one of them under its own number, and nothing in between. */
export function stdioWith(
  first: readonly [number, number, number],
  more: readonly number[],
): (number | 'ignore')[] {
  const length = Math.max(2, ...more) + 1
  const known = new Set(more)
  return Array.from({ length }, (_, number) => first[number] ?? (known.has(number) ? number : 'ignore'))
}

function descriptorsOf(process: string): Map<number, string> {
  const folder = `/proc/${process}/fd`
  const found = new Map<number, string>()
  try {
    for (const name of readdirSync(folder)) {
      try {
        found.set(Number(name), readlinkSync(`${folder}/${name}`))
      } catch (error) {
        // The one with which the folder was read.
        if (systemErrorCode(error) !== 'ENOENT') throw error
      }
    }
  } catch (error) {
    if (!['ENOENT', 'EACCES'].includes(systemErrorCode(error) ?? '')) throw error
  }
  return found
}
