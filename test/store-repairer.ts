// A repair in a process of its own, for kill-at-call.ts.
import { openLocal } from '../src/backend/local.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { repairIt } from './damage.ts'
import { openKilled } from './kill-at-call.ts'
import { reopen } from './store-fixture.ts'

const [address = '', at, when] = process.argv.slice(2)
const backend = openKilled(openLocal(address), at, when)
const repository = await reopen(backend)
using catalog = openCatalog(':memory:')
await repairIt({ repository, catalog })
process.stdout.write(String(backend.calls()))
