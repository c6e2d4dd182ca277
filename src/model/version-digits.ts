// What the version orders share: numbers of any length, since versions hold dates and hashes that no number type holds.

export type Order = -1 | 0 | 1

/** Runs of digits by their value; the empty run is 0. */
export function compareDigits(left: string, right: string): Order {
  const a = withoutLeadingZeros(left)
  const b = withoutLeadingZeros(right)
  if (a.length !== b.length) return a.length < b.length ? -1 : 1
  return compareText(a, b)
}

/** Character by character, as memcmp does. */
export function compareText(left: string, right: string): Order {
  return left === right ? 0 : left < right ? -1 : 1
}

function withoutLeadingZeros(digits: string): string {
  let start = 0
  while (digits.charCodeAt(start) === 0x30) start++
  return start === 0 ? digits : digits.slice(start)
}
