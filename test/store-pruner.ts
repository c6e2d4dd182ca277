// A prune in a process of its own, for kill-at-call.ts: of the folder `logbook`, with the marks beside it.
import { join } from 'node:path'
import { openLocal } from '../src/backend/local.ts'
import { openMarksFile } from '../src/store/prune-marks.ts'
import { openKilled } from './kill-at-call.ts'
import { openForPrune, pruneOnce } from './prune-history.ts'

const [folder = '', at, when, now] = process.argv.slice(2)
const backend = openKilled(openLocal(join(folder, 'logbook')), at, when)
const repository = await openForPrune(backend)
await pruneOnce(repository, {
  marks: openMarksFile(join(folder, 'marks.json'), repository.id),
  now: now === 'now',
})
process.stdout.write(String(backend.calls()))
