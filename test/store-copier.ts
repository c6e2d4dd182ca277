// A copy in a process of its own that kills itself at the n-th call of the target's backend; 0 is never. Then it tells the count of calls.
import { openLocal } from '../src/backend/local.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { copyAll, packBytes } from './copy-fixture.ts'
import { openDying } from './dying-backend.ts'
import { reopen } from './store-fixture.ts'

const [place = '', at = '0', when = 'before', source = ''] = process.argv.slice(2)
const backend = openDying(openLocal(place), {
  at: Number(at),
  when: when === 'before' ? 'before' : 'after',
  die: () => process.kill(process.pid, 'SIGKILL'),
})
const from = { repository: await reopen(openLocal(source)), catalog: openCatalog(':memory:') }
const into = { repository: await reopen(backend, { packBytes }), catalog: openCatalog(':memory:') }
await copyAll(from, into)
process.stdout.write(String(backend.calls()))
