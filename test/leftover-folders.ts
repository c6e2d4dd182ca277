// Temporary folders that have the number of their process in their name: what a killed one left behind is removed by the next.
import { readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { processExists } from '../src/base/process-mark.ts'

/** Those that begin with `prefix` and the number of a process that is not there any more. */
export function leftoverFolders(prefix: string): string[] {
  return readdirSync(tmpdir())
    .filter((name) => {
      const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length).split('-')[0]) : Number.NaN
      return pid >= 1 && !processExists(pid)
    })
    .map((name) => join(tmpdir(), name))
}

export function removeLeftoverFolders(prefix: string): void {
  for (const folder of leftoverFolders(prefix)) rmSync(folder, { recursive: true, force: true })
}
