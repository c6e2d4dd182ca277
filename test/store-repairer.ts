// A repair in a process of its own, killed from inside at the n-th call of the backend; 0 is never. Without a death it tells the count of calls.
import { openLocal } from '../src/backend/local.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { repairIt } from './damage.ts'
import { openDying } from './dying-backend.ts'
import { reopen } from './store-fixture.ts'

const [address = '', at = '0', when = 'before'] = process.argv.slice(2)
const backend = openDying(openLocal(address), {
  at: Number(at),
  when: when === 'before' ? 'before' : 'after',
  die: () => process.kill(process.pid, 'SIGKILL'),
})
const repository = await reopen(backend)
using catalog = openCatalog(':memory:')
await repairIt({ repository, catalog })
process.stdout.write(String(backend.calls()))
