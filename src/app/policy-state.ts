// What one run of the policies leaves for the next: when a machine was found unchanged or measured, and whether space waits to be freed.
//
// All of it may be lost: then a machine is looked at, or a prune run, once more than needed.
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import type { RepositoryId } from '../model/ids.ts'

export interface PolicyState {
  /** By the policy's name: when nothing had changed since the entry before, in milliseconds since 1970. */
  readonly looked: Readonly<Record<string, number>>
  /** By the policy's name: when its budget was looked at. */
  readonly measured: Readonly<Record<string, number>>
  /** Entries went since the last prune, or it left something to delete. */
  readonly pruneWanted: boolean
  readonly prunedAtMs: number
}

const nothingYet: PolicyState = { looked: {}, measured: {}, pruneWanted: false, prunedAtMs: 0 }

export function policyStateFile(stateFolder: string, repository: RepositoryId): string {
  return join(stateFolder, 'policy', `${repository}.json`)
}

export async function readPolicyState(path: string): Promise<PolicyState> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'))
    if (typeof value !== 'object' || value === null) return nothingYet
    const { looked, measured, pruneWanted, prunedAtMs } = value as Record<string, unknown>
    return {
      looked: timesOf(looked),
      measured: timesOf(measured),
      pruneWanted: pruneWanted === true,
      prunedAtMs: typeof prunedAtMs === 'number' ? prunedAtMs : 0,
    }
  } catch {
    return nothingYet
  }
}

function timesOf(value: unknown): Readonly<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(value ?? {}).filter((pair): pair is [string, number] => Number.isFinite(pair[1])),
  )
}

export async function writePolicyState(path: string, state: PolicyState): Promise<void> {
  await makePrivateFolder(dirname(path))
  await writeFileDurable(path, `${JSON.stringify({ schema: 1, ...state })}\n`)
}
