// A storage that nothing is written to, whatever asks for it.
import { VmlError } from '../base/failure.ts'
import type { Backend } from './backend.ts'

/** `put`, `remove` and `create` fail with `unsupported` before anything is asked of the storage. */
export function openReadOnly(inner: Backend): Backend {
  const refuse = async (): Promise<never> => {
    throw new VmlError('unsupported', `Cannot write to "${inner.location}": it was opened to read`, {
      hint: 'Leave --read-only, VML_READ_ONLY or read_only of config.toml out',
    })
  }
  return {
    location: inner.location,
    traits: { ...inner.traits, readOnly: true },
    create: refuse,
    put: refuse,
    remove: refuse,
    get: async (...get) => await inner.get(...get),
    size: async (...size) => await inner.size(...size),
    list: (...list) => inner.list(...list),
    [Symbol.asyncDispose]: async () => await inner[Symbol.asyncDispose](),
  }
}
