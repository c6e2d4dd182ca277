// Commits that the system refuses: of an immutable file, of a mount point, on a disk that is full, without a prepared thing.
import { execFileSync } from 'node:child_process'
import { rawFromString } from '../src/base/raw-text.ts'
import { VmlError } from '../src/base/failure.ts'
import { openCommitDisk } from '../src/stage/commit-disk.ts'
import { recover } from '../src/stage/recover.ts'
import { leftBehind, openCase, runCommit } from './stage-commit-case.ts'
import { testLibc } from './stage-commit-tree.ts'

export interface Refusal {
  readonly name: string
  readonly code: string
  readonly message: string
  readonly hint: string
  /** The tree afterwards, what is left of VML in it, and what a recovery finds. */
  readonly now: string
  readonly left: readonly string[]
  readonly found: string
}

const situations = {
  'immutable file': { make: 'chattr +i a/f1', end: 'chattr -i a/f1' },
  'immutable folder': { make: 'chattr +i gone', end: 'chattr -i gone' },
  'folder that nothing may come into': { make: 'chattr +i times', end: 'chattr -i times' },
  'mount in a folder that goes': { make: 'mount -t tmpfs tmpfs gone/deep/er', end: 'umount gone/deep/er' },
  'mount on a folder that goes': { make: 'mount --bind gone gone', end: 'umount gone' },
  'mount on a file': { make: 'mount --bind a/f1 a/f1', end: 'umount a/f1' },
  'full disk': { make: 'head -c 500m /dev/zero >../fill 2>/dev/null || :', end: 'rm ../fill' },
} as const

function refusals(folder: string): Refusal[] {
  using staged = openCase(folder)
  const disk = openCommitDisk(testLibc())
  return Object.entries(situations).map(([name, { make, end }]) => {
    staged.reset()
    const run = (script: string) => execFileSync('/bin/sh', ['-c', script], { cwd: staged.staged.root })
    run(make)
    let failure: unknown
    try {
      runCommit(disk, staged.staged)
    } catch (error) {
      failure = error
    }
    run(end)
    const known =
      failure instanceof VmlError ? failure : new VmlError('failed', `no VmlError: ${String(failure)}`)
    return {
      name,
      code: known.code,
      message: known.message,
      hint: known.hint ?? '',
      now: staged.now(),
      left: leftBehind(staged),
      found: recover(disk, rawFromString(staged.staged.journal)).found,
    }
  })
}

const [asked] = process.argv.slice(2)
if (asked !== undefined) {
  const { folder }: { folder: string } = JSON.parse(asked)
  process.stdout.write(JSON.stringify(refusals(folder)))
}
