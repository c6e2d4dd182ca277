// Numbers of 16 bits in place of those of file systems, of which a machine has few.

/** A machine of more file systems than this is none; what it says of further ones is left out. */
const numbersMax = 0xffff

export class DeviceNumbers {
  readonly #ids: bigint[] = []
  readonly #numbers = new Map<bigint, number>()
  #lastId: bigint | undefined
  #lastNumber = 0

  /** The same for the same one. */
  numberOf(id: bigint): number {
    if (id === this.#lastId) return this.#lastNumber
    const known = this.#numbers.get(id)
    if (known === undefined && this.#ids.length >= numbersMax) return numbersMax
    const number = known ?? this.#ids.push(id) - 1
    if (known === undefined) this.#numbers.set(id, number)
    this.#lastId = id
    this.#lastNumber = number
    return number
  }

  /** Undefined for one that was left out. */
  idOf(number: number): bigint | undefined {
    return this.#ids[number]
  }
}
