// A storage that is asked after each write whether the file is there in its whole length.
import { VmlError } from '../base/failure.ts'
import { setAsideOf } from './aside.ts'
import type { Backend } from './backend.ts'

/**
 * A server may answer that it wrote and have written half, or nothing: a proxy in between, a disk that filled up, a bucket
 * with a rule of its own. Then nobody would know before the file is read. One question for each file, which is a pack of
 * 16 MiB as a rule, finds out while the content is still at hand: the failure is one that a retry can help.
 */
export function openConfirmed(inner: Backend): Backend {
  return {
    location: inner.location,
    traits: inner.traits,
    create: async (...create) => await inner.create(...create),
    async put(file, data, options) {
      await inner.put(file, data, options)
      const size = await inner.size(file, options)
      if (size === data.length) return
      throw new VmlError(
        'unavailable.network',
        `Cannot rely on "${inner.location}": it took ${file.kind} ${file.name.slice(0, 8)} and ` +
          (size === undefined ? 'does not have it' : `has ${size} of ${data.length} bytes`),
        { hint: 'Look at the free space and the rules of that storage' },
      )
    },
    get: async (...get) => await inner.get(...get),
    size: async (...size) => await inner.size(...size),
    list: (...list) => inner.list(...list),
    remove: async (...remove) => await inner.remove(...remove),
    ...setAsideOf(inner),
    [Symbol.asyncDispose]: async () => await inner[Symbol.asyncDispose](),
  }
}
