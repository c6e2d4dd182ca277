// A set of SHA-256 ids in typed arrays: some 32 bytes each, where JavaScript's own takes four times as much.

export interface IdSet {
  /** False where it was there already. */
  add(id: string): boolean
  has(id: string): boolean
  readonly size: number
}

// Half of a SHA-256 tells any two of 2^40 ids apart but once in 2^49 logbooks.
const idWords = 4

export function openIdSet(): IdSet {
  let slots = new Uint32Array(1024 * idWords)
  let size = 0
  const key = new Uint32Array(8)
  const keyBytes = Buffer.from(key.buffer)

  /** Where the id in `key` is, or the free place where it belongs; linear probing, at most 3/4 full. */
  const probe = (): number => {
    const mask = slots.length / idWords - 1
    for (let slot = (key[0] ?? 0) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * idWords
      if (isFree(slots, at) || isSame(slots, at, key)) return at
    }
  }
  const take = (id: string) => {
    keyBytes.write(id, 0, 'hex')
    // All zeros mark a free place; no content is known that has such a hash.
    if (isFree(key, 0)) key[idWords - 1] = 1
  }
  const grow = () => {
    const old = slots
    slots = new Uint32Array(old.length * 2)
    for (let at = 0; at < old.length; at += idWords) {
      if (isFree(old, at)) continue
      key.set(old.subarray(at, at + idWords))
      slots.set(key.subarray(0, idWords), probe())
    }
  }
  return {
    add(id) {
      take(id)
      let at = probe()
      if (!isFree(slots, at)) return false
      if ((size + 1) * 4 > (slots.length / idWords) * 3) {
        grow()
        take(id)
        at = probe()
      }
      slots.set(key.subarray(0, idWords), at)
      size++
      return true
    },
    has(id) {
      take(id)
      return !isFree(slots, probe())
    },
    get size() {
      return size
    },
  }
}

function isFree(words: Uint32Array, at: number): boolean {
  for (let word = 0; word < idWords; word++) if (words[at + word] !== 0) return false
  return true
}

function isSame(words: Uint32Array, at: number, key: Uint32Array): boolean {
  for (let word = 0; word < idWords; word++) if (words[at + word] !== key[word]) return false
  return true
}
