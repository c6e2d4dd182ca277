// Whether what a transaction changes can be an entry of the logbook: asked before anything is committed, since afterwards it must be one.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { vmlPath } from '../engine/vml-path.ts'
import {
  compareRaw,
  entryPathsMax,
  isRawName,
  isWithin,
  nearestIn,
  parentPath,
  pathParts,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import {
  estimateLineBytes,
  isRecordable,
  parseChanges,
  writtenBytesMax,
} from '../model/transaction-record.ts'

/** Fails with `unsupported`: what an entry has of its own lies at that name, and a machine's own things would lie among it. */
export function requireNoVmlPath(changes: readonly Pick<PathChange, 'path'>[]): void {
  const bad = changes.find(({ path }) => isWithin(path, vmlPath))
  if (bad === undefined) return
  throw new VmlError(
    'unsupported',
    `Cannot commit the transaction: it changes "${printable(bad.path)}", and what entries of a logbook tell of themselves lies at "${vmlPath}"`,
    { hint: 'Nothing was changed. Give that folder another name before' },
  )
}

/** Fails with `unsupported`: a record that cannot be read is none. `what` follows "Cannot". */
export function requireRecordable(changes: readonly PathChange[], what = 'commit the transaction'): void {
  const bad = changes.find((change) => !isRecordable(change))
  if (bad)
    throw new VmlError(
      'unsupported',
      `Cannot ${what}: "${printable(bad.path)}" has more extended attributes than a record holds`,
      { hint: 'Nothing was changed. getfattr -d -m- shows them' },
    )
  const bytes = changes.reduce((sum, change) => sum + estimateLineBytes(change), 0)
  if (bytes <= writtenBytesMax && changes.length <= entryPathsMax) return
  throw new VmlError(
    'unsupported',
    `Cannot ${what}: it changes ${changes.length} paths, which is more than a record holds`,
    { details: { paths: changes.length }, hint: 'Nothing was changed. Do it in parts, one after the other' },
  )
}

/** What another machine says that it changes, as it was written down: paths in their order, each once, none below what is no folder. `name` is the machine's. */
export function readToldChanges(name: string, bytes: Uint8Array): readonly PathChange[] {
  const bad = (why: string, cause?: unknown) =>
    new VmlError('remote.protocol', `Cannot understand ${name}: what a transaction changes there ${why}`, {
      cause,
      hint: `Nothing was recorded. See on ${name} which of its tools lie. Where it was committed already: vml tx recover --on ${name} --backward`,
    })
  let changes: readonly PathChange[]
  try {
    changes = parseChanges(bytes)
  } catch (cause) {
    throw bad('cannot be kept in a record', cause)
  }
  requireNoVmlPath(changes)
  for (const [at, { path }] of changes.entries()) {
    if (!pathParts(path).every(isRawName)) throw bad('has a name that is none')
    const before = changes[at - 1]
    if (before && compareRaw(before.path, path) >= 0) throw bad(`has "${printable(path)}" out of its place`)
  }
  for (const side of ['before', 'after'] as const) {
    const noFolders = new Set<RawPath>()
    for (const { path, [side]: state } of changes) {
      if (state === undefined) continue
      // In the order of their bytes a folder comes before what lies in it.
      if (path !== rootPath && nearestIn(parentPath(path), noFolders) !== undefined)
        throw bad(`has "${printable(path)}" below what is no folder`)
      if (state.type !== 'dir') noFolders.add(path)
    }
  }
  return changes
}
