// A save in a process of its own, for kill-at-call.ts.
import { openLocal } from '../src/backend/local.ts'
import { openKilled } from './kill-at-call.ts'
import { noise, reopen, save } from './store-fixture.ts'

const [address = '', at, when] = process.argv.slice(2)
const contents = [0, 1, 2, 3].map((part) => noise(700_000, `file ${part}`))
const backend = openKilled(openLocal(address), at, when)
// Two of the files to a pack, which is more than a writer keeps in memory: they are staged.
await save(await reopen(backend, { packBytes: 1_500_000 }), contents)
process.stdout.write(String(backend.calls()))
