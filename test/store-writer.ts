// A save in a process of its own, killed from inside at the n-th call of the backend: before the call, or after it took effect.
import { openLocal } from '../src/backend/local.ts'
import type { Backend } from '../src/backend/backend.ts'
import { noise, reopen, save } from './store-fixture.ts'

const [address = '', at = '0', when = 'before'] = process.argv.slice(2)
const contents = [0, 1, 2, 3].map((part) => noise(700_000, `file ${part}`))
const repository = await reopen(killedAt(openLocal(address), Number(at), when === 'before'), {
  packBytes: 1_000_000,
})
await save(repository, contents)

function killedAt(backend: Backend, count: number, before: boolean): Backend {
  let calls = 0
  const killing = async <T>(call: () => Promise<T>): Promise<T> => {
    const last = ++calls === count
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
