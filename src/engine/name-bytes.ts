// Very many names in one piece of memory, each known by where it begins and how long it is.
import type { RawName } from '../model/raw-path.ts'

export class NameBytes {
  #bytes = Buffer.alloc(0)
  #used = 0

  /** Returns where it begins. */
  add(name: RawName): number {
    const start = this.#makeRoom(name.length)
    this.#bytes.write(name, start, 'latin1')
    return start
  }

  /** The same for a name that is bytes of `from`. */
  addBytes(from: Uint8Array, nameStart: number, nameEnd: number): number {
    const start = this.#makeRoom(nameEnd - nameStart)
    const { length } = from
    for (let at = nameStart; at < nameEnd && at < length; at++)
      this.#bytes[start + at - nameStart] = from[at] ?? 0
    return start
  }

  get(start: number, length: number): RawName {
    return this.#bytes.toString('latin1', start, start + length) as RawName
  }

  firstByte(start: number): number {
    return this.#bytes[start] ?? 0
  }

  holds(start: number, length: number, bytes: Uint8Array): boolean {
    const end = start + length - bytes.length
    for (let at = start; at <= end; at++) {
      let same = 0
      while (same < bytes.length && this.#bytes[at + same] === bytes[same]) same++
      if (same === bytes.length) return true
    }
    return false
  }

  copy(start: number, length: number, to: { readonly into: Buffer; readonly at: number }): void {
    this.#bytes.copy(to.into, to.at, start, start + length)
  }

  #makeRoom(bytes: number): number {
    if (this.#used + bytes > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(64 * 1024, Math.ceil(this.#bytes.length * 1.5) + bytes))
      this.#bytes.copy(larger, 0, 0, this.#used)
      this.#bytes = larger
    }
    const start = this.#used
    this.#used += bytes
    return start
  }
}
