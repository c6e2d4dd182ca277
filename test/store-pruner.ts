// A prune in a process of its own, killed from inside at the n-th call of the backend; 0 is never. Without a death it tells the count of calls.
import { openLocal } from '../src/backend/local.ts'
import { openMarksFile } from '../src/store/prune-marks.ts'
import { openDying } from './dying-backend.ts'
import { openForPrune, pruneOnce } from './prune-history.ts'

const [address = '', marksPath = '', now = '', at = '0', when = 'before'] = process.argv.slice(2)
const backend = openDying(openLocal(address), {
  at: Number(at),
  when: when === 'before' ? 'before' : 'after',
  die: () => process.kill(process.pid, 'SIGKILL'),
})
const repository = await openForPrune(backend)
await pruneOnce(repository, { marks: openMarksFile(marksPath, repository.id), now: now === 'now' })
process.stdout.write(String(backend.calls()))
