// A clock on which every pause is over at once, and has taken its time all the same.
import type { Clock } from '../src/base/clock.ts'

export function patientClock(
  start = Date.parse('2026-11-21T09:00:00Z'),
): Clock & { readonly slept: number[] } {
  let now = start
  const slept: number[] = []
  return {
    slept,
    now: () => now,
    async sleep(ms, { signal } = {}) {
      signal?.throwIfAborted()
      slept.push(ms)
      now += ms
    },
  }
}
