// Which data of services an undo has to bring to another form: where a hook knows the package, its version goes to one of another form, and the data was used since (C05, C06).
import { lstatSync, readdirSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes, rawFromString, rawToBytes } from '../base/raw-text.ts'
import { isRawName, isWithin, joinPath, outermost, parseRawPath, type RawPath } from '../model/raw-path.ts'
import { changesForm, dataOf, type StateHook } from '../model/state-hook.ts'
import type { Fingerprint } from '../model/transaction.ts'
import { sha256Of } from '../stage/fingerprint.ts'
import { statusOfPath } from './path-status.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import { inRoot, type Workplace } from './workplace.ts'

export interface StateTransfer {
  readonly hook: StateHook
  readonly package: string
  /** The version that is there now, and the one that it goes to. */
  readonly from: string
  readonly to: string
  /** Folders that are there; none lies in another one. */
  readonly data: readonly RawPath[]
  /** Of the data now: what the exported state and the data made of it may take each. */
  readonly bytes: number
}

/** Each is looked at once; a data folder with more is a file store, and its hook should name what of it has a form. */
const pathsMax = 10_000_000

/**
 * Data that nobody used since is not transferred: what the transaction itself did to it is taken back exactly, as all else.
 * Transactions newest first; `stays` names packages that are not changed. Reads only.
 */
export async function planStateTransfers(
  place: Workplace,
  hooks: readonly StateHook[],
  transactions: readonly ReadTransaction[],
  stays: (name: string) => boolean,
): Promise<readonly StateTransfer[]> {
  const transfers: StateTransfer[] = []
  const taken = new Set<RawPath>()
  for (const { name, from, to } of versionsOf(transactions)) {
    if (stays(name)) continue
    for (const hook of hooks) {
      if (!changesForm(hook, from, to)) continue
      const data = dataFolders(place, hook, name)
      // Two packages of one service have its data in common: it goes once.
      if (data.length === 0 || data.some((folder) => taken.has(folder))) continue
      const { bytes, isUsed } = await lookAtData(place, data, transactions)
      if (!isUsed) continue
      for (const folder of data) taken.add(folder)
      transfers.push({ hook, package: name, from, to, data, bytes })
    }
  }
  return transfers
}

/** Of packages that are there before and after: the version that the newest one brought, and the one before the oldest. */
function versionsOf(transactions: readonly ReadTransaction[]): { name: string; from: string; to: string }[] {
  const versions = new Map<string, { name: string; from: string; to: string | undefined }>()
  const gone = new Set<string>()
  for (const { document } of transactions)
    for (const { name, architecture, from, to } of document.packages) {
      const key = `${name}:${architecture}`
      const known = versions.get(key)
      if (known) versions.set(key, { ...known, to: from })
      else if (to === undefined) gone.add(key)
      else if (!gone.has(key)) versions.set(key, { name, from: to, to: from })
    }
  return [...versions.values()].flatMap(({ name, from, to }) =>
    to === undefined || to === from ? [] : [{ name, from, to }],
  )
}

/** Those of a package's data that are there and hold something; none where the hook is not about it. */
export function dataFolders(place: Workplace, hook: StateHook, name: string): readonly RawPath[] {
  const named = dataOf(hook, name) ?? []
  return outermost(named.flatMap((folder) => dataFolder(place, hook, folder) ?? []))
}

function dataFolder(place: Workplace, hook: StateHook, text: string): RawPath | undefined {
  const path = parseRawPath(rawFromString(text))
  if (path === undefined) return undefined
  const direct = statusOfPath(place, path)
  if (direct === undefined || (direct.mode & typeBits) !== folderBits) {
    if (!lstatSync(rawToBytes(inRoot(place, path)), { throwIfNoEntry: false })) return undefined
    throw new VmlError(
      'unsupported',
      `Cannot transfer the state of ${hook.name}: "${text}" is no folder, or lies behind a link`,
      {
        details: { hook: hook.name, path: text },
        hint: 'Nothing was changed. Name the folder itself in /etc/vml/state.d; --leave-data leaves the data as it is',
      },
    )
  }
  return readdirSync(rawToBytes(inRoot(place, path))).length === 0 ? undefined : path
}

const typeBits = 0o170000
const folderBits = 0o040000

/**
 * Used: a path is not as the transactions left it, or one that they did not touch was written after the oldest of them began. What a service did at its start, right
 * after a commit, counts. Of folders only what was put in or taken out after the newest one ended is seen.
 */
export async function lookAtData(
  place: Workplace,
  folders: readonly RawPath[],
  transactions: readonly ReadTransaction[],
): Promise<{ readonly bytes: number; readonly isUsed: boolean }> {
  const left = new Map<RawPath, Fingerprint | undefined>()
  for (const { changes } of transactions)
    for (const { path, after } of changes)
      if (!left.has(path) && folders.some((folder) => isWithin(path, folder))) left.set(path, after)
  const [newest, oldest] = [transactions[0], transactions.at(-1)]
  const beganMs = Date.parse(oldest?.document.startedAt ?? '')
  const endedMs = Date.parse(newest?.document.endedAt ?? '')
  let bytes = 0
  let isUsed = false
  let paths = 0
  const open: RawPath[] = [...folders]
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    place.signal?.throwIfAborted()
    if (++paths > pathsMax)
      throw new VmlError(
        'unsupported',
        `Cannot transfer a state: "${printable(path)}" is one of too many paths`,
      )
    const host = rawToBytes(inRoot(place, path))
    const status = lstatSync(host, { throwIfNoEntry: false })
    if (status === undefined) continue
    if (status.isDirectory()) {
      isUsed ||= status.ctimeMs > endedMs
      for (const name of readdirSync(host, { encoding: 'buffer' })) {
        const raw = rawFromBytes(name)
        if (isRawName(raw)) open.push(joinPath(path, raw))
      }
    } else {
      bytes += status.size
      if (!isUsed)
        isUsed = left.has(path) ? !(await isAsLeft(place, path, left.get(path))) : status.ctimeMs >= beganMs
    }
    left.delete(path)
  }
  // What they left, and is not there any more.
  return { bytes, isUsed: isUsed || [...left.values()].some((after) => after !== undefined) }
}

async function isAsLeft(place: Workplace, path: RawPath, after: Fingerprint | undefined): Promise<boolean> {
  const status = statusOfPath(place, path)
  if (status === undefined || after === undefined) return false
  if (after.type !== 'file') return (status.mode & typeBits) !== folderBits
  if (status.size !== after.size) return false
  if (status.ctimeNs === after.ctimeNs && status.inode === after.inode) return true
  return (await sha256Of(inRoot(place, path), () => {})) === after.sha256
}
