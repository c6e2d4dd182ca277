// A thinning in a process of its own, for kill-at-call.ts: the last two entries stay, and what has the tag `keep`.
import { openLocal } from '../src/backend/local.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { listEntries } from '../src/engine/entries.ts'
import { planForget, runForget } from '../src/engine/retain.ts'
import { emptyPolicy } from '../src/model/policy.ts'
import { openKilled } from './kill-at-call.ts'
import { reopen } from './store-fixture.ts'

const [address = '', at, when] = process.argv.slice(2)
const backend = openKilled(openLocal(address), at, when)
await using repository = await reopen(backend)
const logbook = { repository, catalog: openCatalog(':memory:') }
const policy = { ...emptyPolicy('lab', undefined), keep: { count: { last: 2 }, within: {}, tags: [] } }
const plans = planForget(await listEntries(logbook), [policy], { nowMs: Date.now(), localZone: () => 0 })
await runForget(logbook, plans)
process.stdout.write(String(backend.calls()))
