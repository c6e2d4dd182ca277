// A copy in a process of its own, for kill-at-call.ts: what counts is the target's backend.
import { openLocal } from '../src/backend/local.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { copyAll, packBytes } from './copy-fixture.ts'
import { openKilled } from './kill-at-call.ts'
import { reopen } from './store-fixture.ts'

const [place = '', at, when, source = ''] = process.argv.slice(2)
const backend = openKilled(openLocal(place), at, when)
const from = { repository: await reopen(openLocal(source)), catalog: openCatalog(':memory:') }
const into = { repository: await reopen(backend, { packBytes }), catalog: openCatalog(':memory:') }
await copyAll(from, into)
process.stdout.write(String(backend.calls()))
