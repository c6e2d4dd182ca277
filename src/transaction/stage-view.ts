// The machine as the open stage would leave it: where what stands at a path then lies on this host now.
import { constants, lstatSync, openSync, readlinkSync, readSync, closeSync } from 'node:fs'
import { asRaw, rawFromBytes, type RawText, rawToBytes } from '../base/raw-text.ts'
import { parentPath, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import type { LookedStage } from './end-stage.ts'
import { inRoot, type Workplace } from './workplace.ts'

export interface StageView {
  readonly changes: ReadonlyMap<RawPath, PathChange>
  /** Undefined where nothing would stand. The last part may be a link. */
  placeOf(path: RawPath): RawText | undefined
  /** The same of what a link leads to, as it would be; undefined where that is nothing. */
  resolve(path: RawPath): RawPath | undefined
}

/** As the kernel has it (path_resolution(7)). */
const linksMax = 40

export function openStageView(place: Workplace, { changeSet }: LookedStage): StageView {
  const changes = new Map(changeSet.changes.map((change) => [change.path, change]))
  const placeOf = (path: RawPath): RawText | undefined => {
    const change = changes.get(path)
    if (change) return change.after ? changeSet.prepared(path) : undefined
    const live = inRoot(place, path)
    return lstatSync(rawToBytes(live), { throwIfNoEntry: false }) ? live : undefined
  }
  return {
    changes,
    placeOf,
    resolve(path) {
      let at: RawPath | undefined = path
      for (let links = 0; links < linksMax && at !== undefined; links++) {
        const found = placeOf(at)
        if (found === undefined) return undefined
        if (!lstatSync(rawToBytes(found)).isSymbolicLink()) return at
        const target = rawFromBytes(readlinkSync(rawToBytes(found), { encoding: 'buffer' }))
        at = joined(target.startsWith('/') ? target : asRaw(`${parentPath(at)}/${target}`))
      }
      return undefined
    },
  }
}

/** Without `.` and `..`: folders on the way are no links where libraries and programs lie. */
function joined(path: RawText): RawPath | undefined {
  const parts: string[] = []
  for (const part of path.split('/'))
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  return parseRawPath(asRaw(`/${parts.join('/')}`))
}

/** Calls `use` with a reader of parts of a file, which gives fewer bytes only at its end. */
export async function withRanges<Result>(
  file: RawText,
  use: (read: (offset: number, length: number) => Promise<Uint8Array>) => Promise<Result>,
): Promise<Result> {
  const opened = openSync(rawToBytes(file), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    return await use((offset, length) => {
      // A buffer of its own: who reads it takes it from its first byte.
      const bytes = new Uint8Array(length)
      return Promise.resolve(bytes.subarray(0, readSync(opened, bytes, 0, length, offset)))
    })
  } finally {
    closeSync(opened)
  }
}
