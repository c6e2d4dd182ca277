// A thinning in a process of its own, killed from inside at the n-th call of the backend: before the call, or after it took effect.
import { openLocal } from '../src/backend/local.ts'
import type { Backend } from '../src/backend/backend.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { listEntries } from '../src/engine/entries.ts'
import { planForget, runForget } from '../src/engine/retain.ts'
import { emptyPolicy } from '../src/model/policy.ts'
import { reopen } from './store-fixture.ts'

/** Keeps the last two entries, and what has the tag `keep`; returns how often the storage was called. */
export async function thin(backend: Backend, killAt: number, when: string): Promise<number> {
  const counter = { calls: 0 }
  await using repository = await reopen(killedAt(backend, counter, killAt, when === 'before'))
  const logbook = { repository, catalog: openCatalog(':memory:') }
  const policy = { ...emptyPolicy('lab', undefined), keep: { count: { last: 2 }, within: {}, tags: [] } }
  const plans = planForget(await listEntries(logbook), [policy], { nowMs: Date.now(), localZone: () => 0 })
  await runForget(logbook, plans)
  return counter.calls
}

function killedAt(backend: Backend, counter: { calls: number }, count: number, before: boolean): Backend {
  const killing = async <T>(call: () => Promise<T>): Promise<T> => {
    const last = ++counter.calls === count
    if (last && before) process.kill(process.pid, 'SIGKILL')
    const result = await call()
    if (last) process.kill(process.pid, 'SIGKILL')
    return result
  }
  return {
    ...backend,
    put: async (...put) => await killing(async () => await backend.put(...put)),
    get: async (...get) => await killing(async () => await backend.get(...get)),
    size: async (...size) => await killing(async () => await backend.size(...size)),
    remove: async (...remove) => await killing(async () => await backend.remove(...remove)),
  }
}

if (import.meta.main) {
  const [address = '', at = '0', when = 'before'] = process.argv.slice(2)
  await thin(openLocal(address), Number(at), when)
}
