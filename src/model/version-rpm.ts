// The order in which rpm puts versions: `[epoch:]version[-release]`, each part by segments (rpm, docs/manual/dependencies.md).
import { compareDigits, compareText, type Order } from './version-digits.ts'

export function compareRpmVersions(left: string, right: string): Order {
  const a = split(left)
  const b = split(right)
  const order = compareRpmPart(a.epoch, b.epoch) || compareRpmPart(a.version, b.version)
  if (order !== 0 || a.release === undefined || b.release === undefined) return order
  return compareRpmPart(a.release, b.release)
}

/**
 * One part: runs of digits and runs of letters, whatever stands between them only separates. Digits are above
 * letters, longer is above shorter, `~` is below the end and `^` above the end but below anything else.
 */
export function compareRpmPart(left: string, right: string): Order {
  if (left === right) return 0
  let a = left
  let b = right
  while (a !== '' || b !== '') {
    a = a.replace(/^[^A-Za-z0-9~^]+/, '')
    b = b.replace(/^[^A-Za-z0-9~^]+/, '')
    if (a.startsWith('~') || b.startsWith('~')) {
      if (!a.startsWith('~')) return 1
      if (!b.startsWith('~')) return -1
    } else if (a.startsWith('^') || b.startsWith('^')) {
      if (a === '') return -1
      if (b === '') return 1
      if (!a.startsWith('^')) return 1
      if (!b.startsWith('^')) return -1
    } else {
      if (a === '' || b === '') break
      const order = compareSegments(segment(a, a), segment(b, a))
      if (order !== 0) return order
      b = b.slice(segment(b, a).length)
      a = a.slice(segment(a, a).length)
      continue
    }
    a = a.slice(1)
    b = b.slice(1)
  }
  if (a === '' && b === '') return 0
  return a === '' ? -1 : 1
}

function split(text: string): { epoch: string; version: string; release: string | undefined } {
  const epoch = /^(\d*):/.exec(text)
  const rest = epoch === null ? text : text.slice(epoch[0].length)
  const hyphen = rest.lastIndexOf('-')
  return {
    // An empty epoch counts as none.
    epoch: epoch?.[1] || '0',
    version: hyphen === -1 ? rest : rest.slice(0, hyphen),
    release: hyphen === -1 ? undefined : rest.slice(hyphen + 1),
  }
}

/** The run at the start of `text`, of the kind (digits or letters) that `like` starts with; may be empty. */
function segment(text: string, like: string): string {
  return (/^[0-9]/.test(like) ? /^[0-9]*/ : /^[A-Za-z]*/).exec(text)?.[0] ?? ''
}

/** `left` is never empty. An empty `right` is of the other kind: digits are newer than letters. */
function compareSegments(left: string, right: string): Order {
  const digits = /^[0-9]/.test(left)
  if (right === '') return digits ? 1 : -1
  return digits ? compareDigits(left, right) : compareText(left, right)
}
