// The order in which apk puts versions: `1.2.3a_rc1~hash-r4` (apk-package(5), "Package names and versions").
import { compareDigits, compareText, type Order } from './version-digits.ts'

/** In the order of the grammar: where one version goes on and the other does not, the place decides. */
type Place =
  | 'first'
  | 'number'
  | 'letter'
  | 'suffix'
  | 'suffix-number'
  | 'hash'
  | 'revision'
  | 'end'
  | 'invalid'
const places: readonly Place[] = [
  'first',
  'number',
  'letter',
  'suffix',
  'suffix-number',
  'hash',
  'revision',
  'end',
  'invalid',
]

interface Token {
  readonly place: Place
  readonly text: string
  readonly rest: string
}

/** Those before the empty one make a version older than without, those after it newer. */
const suffixes: readonly string[] = ['alpha', 'beta', 'pre', 'rc', '', 'cvs', 'svn', 'git', 'hg', 'p']

/** What is not a version is compared as far as it is one, as apk does. */
export function compareApkVersions(left: string, right: string): Order {
  let a = firstToken(left)
  let b = firstToken(right)
  while (a.place === b.place && a.place !== 'end' && a.place !== 'invalid') {
    const order = compareTokens(a, b)
    if (order !== 0) return order
    a = nextToken(a)
    b = nextToken(b)
  }
  if (a.place === b.place) return 0
  if (isPrerelease(a)) return -1
  if (isPrerelease(b)) return 1
  return rank(a) > rank(b) ? -1 : 1
}

function rank(token: Token): number {
  return places.indexOf(token.place)
}

function isPrerelease(token: Token): boolean {
  return token.place === 'suffix' && suffixes.indexOf(token.text) < suffixes.indexOf('')
}

function compareTokens(left: Token, right: Token): Order {
  switch (left.place) {
    case 'suffix':
      return sign(suffixes.indexOf(left.text) - suffixes.indexOf(right.text))
    case 'number':
      // A leading zero makes it a fraction: 1.01 lies before 1.1.
      if (left.text.startsWith('0') || right.text.startsWith('0')) return compareText(left.text, right.text)
      return compareDigits(left.text, right.text)
    case 'first':
    case 'suffix-number':
    case 'revision':
      return compareDigits(left.text, right.text)
    default:
      return compareText(left.text, right.text)
  }
}

function firstToken(version: string): Token {
  return take('first', /^[0-9]+/, version)
}

function nextToken({ place, rest }: Token): Token {
  if (rest === '') return { place: 'end', text: '', rest }
  const here = places.indexOf(place)
  const before = (other: Place) => here <= places.indexOf(other)
  const head = rest[0] ?? ''
  if (/[a-z]/.test(head) && before('number')) return take('letter', /^[a-z]/, rest)
  if (head === '.' && before('number')) return take('number', /^\.([0-9]+)/, rest)
  if (/[0-9]/.test(head)) {
    if (before('number')) return take('number', /^[0-9]+/, rest)
    if (place === 'suffix') return take('suffix-number', /^[0-9]+/, rest)
  }
  if (head === '_' && before('suffix-number')) {
    const suffix = take('suffix', /^_([a-z]+)/, rest)
    return suffixes.includes(suffix.text) ? suffix : { place: 'invalid', text: '', rest }
  }
  if (head === '~' && before('suffix-number')) return take('hash', /^~([0-9a-f]+)/, rest)
  if (head === '-' && before('hash')) return take('revision', /^-r([0-9]+)/, rest)
  return { place: 'invalid', text: '', rest }
}

function take(place: Place, pattern: RegExp, from: string): Token {
  const match = pattern.exec(from)
  if (match === null) return { place: 'invalid', text: '', rest: from }
  return { place, text: match[1] ?? match[0], rest: from.slice(match[0].length) }
}

function sign(difference: number): Order {
  return difference === 0 ? 0 : difference < 0 ? -1 : 1
}
