// A copy, or a change of keys, in a process of its own that kills itself at the n-th call of the backend; 0 is never. Then it tells the count of calls.
import { openLocal } from '../src/backend/local.ts'
import { changePassword, findLogbookKey, listLogbookKeys } from '../src/app/logbook-keys.ts'
import { addComputerKey, addPasswordKey, removeLogbookKey } from '../src/app/logbook-keys.ts'
import { readConfig } from '../src/app/config.ts'
import { systemClock } from '../src/base/clock.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { copyAll, packBytes } from './copy-fixture.ts'
import { openDying } from './dying-backend.ts'
import { reopen } from './store-fixture.ts'

const [work = '', place = '', at = '0', when = 'before', argument = '', second = ''] = process.argv.slice(2)
const backend = openDying(openLocal(place), {
  at: Number(at),
  when: when === 'before' ? 'before' : 'after',
  die: () => process.kill(process.pid, 'SIGKILL'),
})
const repository = await reopen(backend, { packBytes })
const config = readConfig({})

if (work === 'copy') {
  const from = { repository: await reopen(openLocal(argument)), catalog: openCatalog(':memory:') }
  await copyAll(from, { repository, catalog: openCatalog(':memory:') })
} else if (work === 'add') {
  await addComputerKey(config, systemClock, repository)
} else if (work === 'add password') {
  await addPasswordKey(config, repository, Buffer.from(argument))
} else if (work === 'password') {
  const old = findLogbookKey(await listLogbookKeys(config, repository), argument)
  await changePassword(config, repository, { old, password: Buffer.from(second) })
} else if (work === 'remove') {
  const key = findLogbookKey(await listLogbookKeys(config, repository), argument)
  await removeLogbookKey(config, repository, { key, proof: undefined })
}
process.stdout.write(String(backend.calls()))
