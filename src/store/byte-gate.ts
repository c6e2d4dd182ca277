// Work under way, bounded by the bytes that it holds on to.

export interface ByteGate {
  /** Waits until `bytes` more may be held, then starts the task. A failure surfaces in the next `start` or in `drain`. */
  start(bytes: number, task: () => Promise<void>): Promise<void>
  drain(): Promise<void>
}

/** A single task may be larger than the bound; it then runs alone. */
export function openByteGate(bytesMax: number): ByteGate {
  const running = new Set<Promise<void>>()
  let held = 0
  let failure: { readonly error: unknown } | undefined
  const throwFailure = () => {
    if (failure) throw failure.error
  }
  return {
    async start(bytes, task) {
      while (running.size > 0 && held + bytes > bytesMax) await Promise.race(running)
      throwFailure()
      held += bytes
      const done = () => {
        held -= bytes
        running.delete(promise)
      }
      const promise: Promise<void> = task().then(done, (error: unknown) => {
        failure ??= { error }
        done()
      })
      running.add(promise)
    },
    async drain() {
      while (running.size > 0) await Promise.race(running)
      throwFailure()
    },
  }
}
