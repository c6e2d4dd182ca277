// A storage whose files are read from itself alone, past any copy that this computer keeps: for checks.
import { setAsideOf } from './aside.ts'
import type { Backend } from './backend.ts'

export function openFresh(inner: Backend): Backend {
  return {
    location: inner.location,
    traits: inner.traits,
    create: async (...create) => await inner.create(...create),
    put: async (...put) => await inner.put(...put),
    get: async (file, range, options) => await inner.get(file, range, { ...options, fresh: true }),
    size: async (...size) => await inner.size(...size),
    list: (...list) => inner.list(...list),
    remove: async (...remove) => await inner.remove(...remove),
    ...setAsideOf(inner),
    [Symbol.asyncDispose]: async () => await inner[Symbol.asyncDispose](),
  }
}
