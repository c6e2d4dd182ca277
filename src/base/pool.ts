// Bounded concurrency: never more than `limit` tasks under way.

export interface Pool {
  /** Waits for a free place, then starts the task; resolves when the task has been started. A failure surfaces in `drain` or the next `start`. */
  start(task: () => Promise<void>): Promise<void>
  /** Waits until nothing is under way; throws the first failure. */
  drain(): Promise<void>
}

export function openPool(limit: number): Pool {
  const running = new Set<Promise<void>>()
  let failure: { error: unknown } | undefined
  return {
    async start(task) {
      while (running.size >= limit) await Promise.race(running)
      if (failure) throw failure.error
      const promise: Promise<void> = task().then(
        () => void running.delete(promise),
        (error: unknown) => {
          failure ??= { error }
          running.delete(promise)
        },
      )
      running.add(promise)
    },
    async drain() {
      while (running.size > 0) await Promise.race(running)
      if (failure) throw failure.error
    },
  }
}

/** Results in the order of the input, at most `limit` under way. */
export async function mapOrdered<In, Out>(
  items: Iterable<In>,
  limit: number,
  task: (item: In) => Promise<Out>,
): Promise<Out[]> {
  const results: Out[] = []
  const pool = openPool(limit)
  let index = 0
  for (const item of items) {
    const slot = index++
    await pool.start(async () => {
      results[slot] = await task(item)
    })
  }
  await pool.drain()
  return results
}
