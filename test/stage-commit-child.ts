// A commit, a take-back or a recovery that kills itself right before the n-th call by which it changes the disk; 0 is never.
// Prints how many such calls it made.
import { readFileSync } from 'node:fs'
import { rawFromString } from '../src/base/raw-text.ts'
import { openCommitDisk } from '../src/stage/commit-disk.ts'
import { recover } from '../src/stage/recover.ts'
import { watchedDisk } from './stage-commit-disk.ts'
import { runCommit, type StagedCase } from './stage-commit-case.ts'
import { testLibc } from './stage-commit-tree.ts'

const [file = '', action = '', at = '0'] = process.argv.slice(2)
const staged: StagedCase = JSON.parse(readFileSync(file, 'utf8'))
let calls = 0
const disk = watchedDisk(openCommitDisk(testLibc()), () => {
  if (++calls === Number(at)) process.kill(process.pid, 'SIGKILL')
})
if (action === 'commit') runCommit(disk, staged)
else recover(disk, rawFromString(staged.journal), action === 'backward' ? 'backward' : undefined)
process.stdout.write(String(calls))
