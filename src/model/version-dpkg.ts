// The order in which dpkg puts versions: `[epoch:]upstream[-revision]` (deb-version(7); Debian Policy, 5.6.12).
import { compareDigits, type Order } from './version-digits.ts'

export function compareDpkgVersions(left: string, right: string): Order {
  const a = split(left)
  const b = split(right)
  return (
    compareDigits(a.epoch, b.epoch) ||
    comparePart(a.upstream, b.upstream) ||
    comparePart(a.revision, b.revision)
  )
}

/** A missing epoch is 0, a missing revision the empty one, which is equal to `0`. */
function split(version: string): { epoch: string; upstream: string; revision: string } {
  const colon = version.indexOf(':')
  const rest = version.slice(colon + 1)
  const hyphen = rest.lastIndexOf('-')
  return {
    epoch: colon === -1 ? '0' : version.slice(0, colon),
    upstream: hyphen === -1 ? rest : rest.slice(0, hyphen),
    revision: hyphen === -1 ? '' : rest.slice(hyphen + 1),
  }
}

/** Runs of other characters and runs of digits in turn: the first by `weight`, the second as numbers. */
function comparePart(left: string, right: string): Order {
  let i = 0
  let j = 0
  while (i < left.length || j < right.length) {
    while ((i < left.length && !isDigit(left, i)) || (j < right.length && !isDigit(right, j))) {
      const difference = weight(left, i) - weight(right, j)
      if (difference !== 0) return difference < 0 ? -1 : 1
      i++
      j++
    }
    const a = digitsFrom(left, i)
    const b = digitsFrom(right, j)
    const order = compareDigits(a, b)
    if (order !== 0) return order
    i += a.length
    j += b.length
  }
  return 0
}

/** Tilde before the end, the end (or a digit) before letters, letters before everything else. */
function weight(text: string, index: number): number {
  if (index >= text.length || isDigit(text, index)) return 0
  const character = text[index] ?? ''
  if (character === '~') return -1
  const code = character.charCodeAt(0)
  return /[A-Za-z]/.test(character) ? code : code + 256
}

function isDigit(text: string, index: number): boolean {
  const code = text.charCodeAt(index)
  return code >= 0x30 && code <= 0x39
}

function digitsFrom(text: string, start: number): string {
  let end = start
  while (end < text.length && isDigit(text, end)) end++
  return text.slice(start, end)
}
