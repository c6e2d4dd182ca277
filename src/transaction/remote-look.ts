// What lies on a machine over ssh now, for a plan that asks path by path: all that it will ask for is read ahead; what it asks for besides is read, and the plan is made again.
import { VmlError } from '../base/failure.ts'
import { asRaw, printable } from '../base/raw-text.ts'
import {
  isRawName,
  parentPath,
  parseRawPath,
  type RawName,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import { neededFor } from '../model/regeneration.ts'
import type { Fingerprint } from '../model/transaction.ts'
import { nulTerminated } from '../source/guest-script.ts'
import { withFoldersAbove } from '../stage/listed-disk.ts'
import { readRemoteContents } from './remote-contents.ts'
import { remoteFingerprints } from './remote-fingerprints.ts'
import { type RemoteMachine, statusesOf, work } from './remote-machine.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import { mergeBytesMax, type UndoView } from './undo-plan.ts'

/** Something was asked for that was not read yet: `fetch` reads it, then ask again. */
export class NotLookedAt extends Error {}

export interface RemoteLook extends Pick<UndoView, 'now' | 'contentNow' | 'names'> {
  /** What a plan that takes these back asks for. */
  readAhead(transactions: readonly ReadTransaction[]): Promise<void>
  /** What was asked for in vain. */
  fetch(): Promise<void>
}

/** Of all files that were changed since together. */
const mergedBytesMax = 1024 * 1024 * 1024

export function openRemoteLook(machine: RemoteMachine): RemoteLook {
  const states = new Map<RawPath, Fingerprint | undefined>()
  const contents = new Map<RawPath, Buffer>()
  const names = new Map<RawPath, readonly RawName[]>()
  const wanted = { states: new Set<RawPath>(), contents: new Set<RawPath>(), names: new Set<RawPath>() }
  const asked = <Known>(
    known: ReadonlyMap<RawPath, Known>,
    path: RawPath,
    missing: Set<RawPath>,
  ): Known | undefined => {
    if (known.has(path)) return known.get(path)
    missing.add(path)
    throw new NotLookedAt(printable(path))
  }
  const readStates = async (paths: readonly RawPath[], sums?: Parameters<typeof remoteFingerprints>[2]) => {
    const unknown = paths.filter((path) => !states.has(path))
    const above = await statusesOf(machine, [
      ...new Set(unknown.flatMap((path) => [...withFoldersAbove(parentPath(path))])),
    ])
    // Behind a link, or below what is no folder, nothing stands at the path itself.
    const there = unknown.filter((path) =>
      [...withFoldersAbove(parentPath(path))].every((folder) => above.get(folder)?.type === 'dir'),
    )
    const found = await remoteFingerprints(machine, there, sums)
    for (const path of unknown) states.set(path, found.get(path))
  }
  const readNames = async (folders: readonly RawPath[]) => {
    const unknown = folders.filter((path) => !names.has(path) && states.get(path)?.type === 'dir')
    const lists = new Map<RawPath, RawName[]>(folders.map((path) => [path, []]))
    if (unknown.length > 0) {
      const said = await work(machine, {
        script: `xargs -0 sh -c 'find "$@" -mindepth 1 -maxdepth 1 -printf "%p\\0" 2>/dev/null; :' sh`,
        stdin: nulTerminated(unknown),
        doing: 'list folders',
      })
      for (const text of said.split('\0').slice(0, -1)) {
        const path = parseRawPath(asRaw(text))
        const name = asRaw(text.slice(text.lastIndexOf('/') + 1))
        const list = path && lists.get(parentPath(path))
        if (list === undefined || !isRawName(name))
          throw new VmlError(
            'remote.protocol',
            `Cannot understand ${machine.name}: it lists a name that is none`,
          )
        list.push(name)
      }
    }
    for (const [path, list] of lists) if (!names.has(path)) names.set(path, list)
  }
  const readContents = async (paths: readonly RawPath[]) => {
    const files = paths.filter((path) => !contents.has(path) && states.get(path)?.type === 'file')
    const limits = { fileBytesMax: mergedBytesMax, allBytesMax: mergedBytesMax }
    for (const [path, bytes] of await readRemoteContents(machine, files, limits)) contents.set(path, bytes)
    for (const path of paths)
      if (!contents.has(path))
        throw new VmlError(
          'conflict',
          `Cannot read "${printable(path)}" on ${machine.name}: it went away meanwhile`,
          {
            hint: 'Nothing was changed. Repeat it',
          },
        )
  }
  return {
    now: (path) => asked(states, path, wanted.states),
    contentNow: (path) => asked(contents, path, wanted.contents) ?? Buffer.alloc(0),
    names: (path) => asked(names, path, wanted.names) ?? [],
    async readAhead(transactions) {
      const changes = transactions.flatMap((transaction) => transaction.changes)
      const last = new Map(changes.toReversed().map((change) => [change.path, change.after]))
      const parents = [...new Set(changes.map(({ path }) => parentPath(path)))]
      await readStates(
        [
          ...new Set([
            ...changes.flatMap(({ path }) => [path, ...neededFor(path).flat()]),
            ...parents,
            rootPath,
          ]),
        ],
        (path, now) => {
          // Nobody sets a time of change: the same inode with the same one was not written since.
          const after = last.get(path)
          const same = after?.ctimeNs !== undefined && after.ctimeNs === now.ctimeNs
          return same && after.inode === now.inode && after.size === now.size ? after.sha256 : undefined
        },
      )
      await readNames([
        ...new Set(changes.flatMap(({ path, after }) => (after?.type === 'dir' ? [path] : []))),
      ])
      await readContents([
        ...new Set(
          changes.filter((change) => mayBeMerged(change, states.get(change.path))).map(({ path }) => path),
        ),
      ])
    },
    async fetch() {
      await readStates([...wanted.states, ...wanted.contents, ...wanted.names])
      await readNames([...wanted.names])
      await readContents([...wanted.contents])
      for (const each of Object.values(wanted)) each.clear()
    },
  }
}

function mayBeMerged(
  { before, after }: { readonly before?: Fingerprint; readonly after?: Fingerprint },
  now: Fingerprint | undefined,
): boolean {
  if (now?.type !== 'file' || (now.size ?? 0) > mergeBytesMax) return false
  return now.sha256 !== before?.sha256 && now.sha256 !== after?.sha256
}
