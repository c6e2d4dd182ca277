// What of a commit that has ended was changed since: then taking it back would leave the machine neither as it was before nor as it is after it.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { ruleWhenChanged } from '../model/regeneration.ts'
import { cameIntoMade } from './came-since.ts'
import { isAs } from './changed-since.ts'
import { type CommitDisk, isFolder, modeBits } from './commit-disk.ts'
import { typeOf } from './fingerprint.ts'
import { below, type Journal, type Step } from './journal.ts'

/**
 * Fails with `conflict`, before anything is taken back. One path would stay as it is, and the others go back: of packages that are installed by then dpkg's list
 * would say one thing, and their files another. Files that programs make anew do not count.
 */
export function requireUnchangedAfter(disk: CommitDisk, journal: Journal): void {
  const [first, ...others] = changedAfter(disk, journal)
  if (first === undefined) return
  throw new VmlError(
    'conflict',
    `Cannot take back the commit: it had ended, and ${printable(first)}${others.length > 0 ? ` and ${others.length} more were` : ' was'} changed since`,
    {
      details: { paths: [first, ...others].map(printable) },
      hint: 'Nothing was changed. vml tx recover records it; whether it can be taken back then, and what stays, vml tx undo tells before it does anything',
    },
  )
}

function changedAfter(disk: CommitDisk, journal: Journal): RawPath[] {
  const changed = new Set<RawPath>()
  for (const step of journal.steps) if (!isDone(disk, journal, step)) changed.add(step.path)
  for (const [path, { after }] of journal.stamps ?? []) {
    const now = after && disk.look(below(journal.root, path))
    if (after && !(now && isAs('after', journal, path, now))) changed.add(path)
  }
  for (const path of cameIntoMade(disk, journal)) changed.add(path)
  return [...changed].filter((path) => ruleWhenChanged(path) === undefined && !path.endsWith('/__pycache__'))
}

/** What can be told without the stamps: whether something is there, and of what got other rights and owners those. */
function isDone(disk: CommitDisk, { root }: Journal, step: Step): boolean {
  const now = disk.look(below(root, step.path))
  switch (step.kind) {
    case 'delete':
      return now === undefined
    case 'create':
    case 'replace':
      return now !== undefined
    case 'retype':
      return now !== undefined && isFolder(now) === (step.to === 'folder')
    case 'attributes': {
      const { mode, uid, gid } = step.after
      if (now === undefined || typeOf(now.mode) !== step.type || now.uid !== uid || now.gid !== gid)
        return false
      return step.type === 'symlink' || (now.mode & modeBits) === mode
    }
  }
}
