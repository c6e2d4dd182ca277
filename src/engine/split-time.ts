// Nanoseconds since the epoch from seconds and the rest, written as a 64-bit integer without making one: a scan has two for each path.

const nsPerSecond = 1_000_000_000
const two16 = 2 ** 16
const two32 = 2 ** 32
/** From the epoch up to the year 2242: products of halves stay exact. */
const plainSecondsMax = 2 ** 33
/** Which of the two words of a 64-bit integer is its lower half, as this processor has them. */
export const lowHalf = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? 0 : 1

/** `longs` and `words` are two views of the same memory; `long` counts in the first. */
export function writeTime(
  {
    longs,
    words,
    long,
  }: { readonly longs: BigInt64Array; readonly words: Uint32Array; readonly long: number },
  seconds: number,
  nanoseconds: number,
): void {
  if (seconds < 0 || seconds >= plainSecondsMax) {
    longs[long] = BigInt(seconds) * BigInt(nsPerSecond) + BigInt(nanoseconds)
    return
  }
  const lower = (seconds % two16) * nsPerSecond + nanoseconds
  const upper = Math.floor(seconds / two16) * nsPerSecond
  const rest = (upper % two16) * two16 + lower
  words[2 * long + lowHalf] = rest % two32
  words[2 * long + 1 - lowHalf] = Math.floor(upper / two16) + Math.floor(rest / two32)
}
