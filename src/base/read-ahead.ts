// Reads some items of a list ahead of the one in hand.

/** Each item with what was read of it, in order; at most `ahead` more are under way or wait. A failure comes in its turn. */
export async function* readAhead<Item, Read>(
  items: Iterable<Item>,
  ahead: number,
  read: (item: Item) => Promise<Read>,
): AsyncIterable<readonly [Item, Read]> {
  const queue: (readonly [Item, Promise<Read>])[] = []
  const source = items[Symbol.iterator]()
  try {
    for (;;) {
      while (queue.length <= ahead) {
        const next = source.next()
        if (next.done === true) break
        const reading = read(next.value)
        // Waited for in its turn; until then its failure is nobody's.
        reading.catch(() => {})
        queue.push([next.value, reading])
      }
      const first = queue.shift()
      if (!first) return
      yield [first[0], await first[1]]
    }
  } finally {
    await Promise.allSettled(queue.map(([, reading]) => reading))
  }
}
