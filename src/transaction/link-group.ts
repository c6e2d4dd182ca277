// Names of one file come back as names of one file.
import type { Fingerprint } from '../model/transaction.ts'
import type { PlannedPath } from './undo-plan.ts'

/** Paths with one group become names of one file. Not where one of them keeps what it was given since, such as other rights: a file has them once. */
export function linkGroup(content: PlannedPath['content'], wanted: Fingerprint): string | undefined {
  if (content?.kind !== 'before') return undefined
  const { transaction, change } = content
  const { before } = change
  if (before?.type !== 'file' || (before.links ?? 1) < 2 || before.inode === undefined) return undefined
  const { mode, uid, gid, sha256, xattrs = [] } = wanted
  const attributes = xattrs.map(({ name, value }) => `${name}=${Buffer.from(value).toString('hex')}`)
  return JSON.stringify([
    ...[transaction.entry.id, String(before.deviceId), String(before.inode)],
    ...[mode, uid, gid, sha256, attributes.toSorted()],
  ])
}
