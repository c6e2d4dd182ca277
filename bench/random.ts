// Numbers, noise, text and tables from a seed: the same on every computer.
import { createCipheriv, createHash } from 'node:crypto'

export interface Random {
  /** An integer from 0, below `limit`. */
  below(limit: number): number
  /** Mean 0, variance 1. */
  normal(): number
  word(): string
}

/** splitmix32: small, quick, and the same everywhere. */
export function openRandom(start: number): Random {
  let state = start
  const next = (): number => {
    state = (state + 0x9e37_79b9) | 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0_aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97)
    return (mixed ^ (mixed >>> 15)) >>> 0
  }
  const below = (limit: number) => Math.floor((next() / 2 ** 32) * limit)
  const syllables = ['ka', 'lo', 'mi', 'ren', 'su', 'ta', 'vel', 'no', 'dra', 'pi', 'hu', 'es']
  return {
    below,
    normal: () => {
      const radius = Math.sqrt(-2 * Math.log((next() + 1) / (2 ** 32 + 1)))
      return radius * Math.cos((2 * Math.PI * next()) / 2 ** 32)
    },
    word: () => {
      let word = ''
      for (let left = 2 + below(2); left > 0; left--) word += syllables[below(syllables.length)] ?? ''
      return word
    },
  }
}

/** The key stream of AES, which nothing can compress. */
export function openNoise(start: number): (length: number) => Buffer {
  const stream = createCipheriv(
    'aes-256-ctr',
    createHash('sha256').update(`${start}`).digest(),
    Buffer.alloc(16),
  )
  return (length) => stream.update(Buffer.alloc(length))
}

/** Lines of words, some common and most rare: it compresses about as source text does. */
export function openText(random: Random): (length: number) => Buffer {
  const words = Array.from({ length: 6000 }, () =>
    Buffer.from(
      `${random.word()}${random.below(3) === 0 ? random.below(1000) : ''}${random.below(9) === 0 ? '\n' : ' '}`,
    ),
  )
  return (length) => {
    const content = Buffer.alloc(length)
    for (let at = 0; at < length;) {
      const rank = Math.floor(words.length ** (random.below(1_000_000) / 1_000_000)) - 1
      at += (words[rank] ?? words[0])?.copy(content, at) ?? length
    }
    return content
  }
}

/** Rows of numbers that wander, as measurements do: little-endian, 8 bytes each. */
export function makeTable(random: Random, length: number): Buffer {
  const content = Buffer.alloc(length)
  let value = 1000
  for (let at = 0; at + 8 <= length; at += 8) {
    value += random.below(64) - 32
    content.writeInt32LE(value, at)
    content.writeUInt16LE(at & 0xffff, at + 4)
  }
  return content
}
