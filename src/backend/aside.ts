// What a wrapper of a storage does with the one call that not every storage has.
import type { Backend } from './backend.ts'

type SetAside = NonNullable<Backend['setAside']>

/** Absent where the inner one has none; `around` is what the wrapper does with each of its calls. */
export function setAsideOf(
  inner: Backend,
  around: (call: () => Promise<string>, ...args: Parameters<SetAside>) => Promise<string> = async (call) =>
    await call(),
): Pick<Backend, 'setAside'> {
  const { setAside } = inner
  if (!setAside) return {}
  return {
    setAside: async (...args) => await around(async () => await setAside.call(inner, ...args), ...args),
  }
}
