// A unified diff of two texts for people, safe to print on a terminal.
import { structuredPatch } from 'diff'
import { printable, rawFromBytes, asRaw } from '../base/raw-text.ts'

/** Beyond this nobody reads a diff, and finding it takes long. */
export const textDiffBytesMax = 1024 * 1024
/** Edits after which the shortest diff is not looked for any more: its cost grows with their square. */
const editsMax = 4000

export type TextDiff =
  | { readonly kind: 'text'; readonly lines: readonly string[] }
  | { readonly kind: 'same' }
  | { readonly kind: 'binary' }
  | { readonly kind: 'too-large'; readonly bytesMax: number }

/**
 * Hunks as `diff -u` writes them, without the two lines of file names; each line is fit for a terminal: control characters and
 * bytes that are no UTF-8 are escaped, tabs and backslashes stand as they are. Texts that have too little in common
 * come as one hunk that replaces all between their common beginning and end.
 */
export function textDiff(left: Uint8Array, right: Uint8Array, options: { context?: number } = {}): TextDiff {
  if (Buffer.compare(left, right) === 0) return { kind: 'same' }
  if (left.length > textDiffBytesMax || right.length > textDiffBytesMax)
    return { kind: 'too-large', bytesMax: textDiffBytesMax }
  if (left.includes(0) || right.includes(0)) return { kind: 'binary' }
  const context = options.context ?? 3
  const [before, after] = [rawFromBytes(left), rawFromBytes(right)]
  const patch = structuredPatch('', '', before, after, undefined, undefined, {
    context,
    maxEditLength: editsMax,
  })
  const hunks = patch?.hunks ?? [wholeHunk(splitLines(before), splitLines(after), context)]
  return {
    kind: 'text',
    lines: hunks.flatMap((hunk) => [
      `@@ -${range(hunk.oldStart, hunk.oldLines)} +${range(hunk.newStart, hunk.newLines)} @@`,
      ...hunk.lines.map(printableLine),
    ]),
  }
}

interface Hunk {
  readonly oldStart: number
  readonly oldLines: number
  readonly newStart: number
  readonly newLines: number
  readonly lines: readonly string[]
}

const noNewline = '\\ No newline at end of file'

function wholeHunk(left: readonly string[], right: readonly string[], context: number): Hunk {
  const shorter = Math.min(left.length, right.length)
  let head = 0
  while (head < shorter && left[head] === right[head]) head++
  let tail = 0
  while (tail < shorter - head && left.at(-1 - tail) === right.at(-1 - tail)) tail++
  const start = Math.max(0, head - context)
  const leftEnd = Math.min(left.length, left.length - tail + context)
  const rightEnd = Math.min(right.length, right.length - tail + context)
  const oldLines = leftEnd - start
  const newLines = rightEnd - start
  return {
    oldStart: start + 1,
    oldLines,
    newStart: start + 1,
    newLines,
    lines: [
      ...marked(' ', left.slice(start, head)),
      ...marked('-', left.slice(head, left.length - tail)),
      ...marked('+', right.slice(head, right.length - tail)),
      ...marked(' ', left.slice(left.length - tail, leftEnd)),
    ],
  }
}

/** Each with its newline, if it has one. */
function splitLines(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? []
}

function marked(mark: string, lines: readonly string[]): string[] {
  return lines.flatMap((line) =>
    line.endsWith('\n') ? [`${mark}${line.slice(0, -1)}`] : [`${mark}${line}`, noNewline],
  )
}

/** As diff counts: a side without lines stands before its first one. */
function range(first: number, lines: number): string {
  const start = lines === 0 ? first - 1 : first
  return lines === 1 ? `${start}` : `${start},${lines}`
}

function printableLine(line: string): string {
  return line
    .split(/([\t\\])/)
    .map((part) => (part === '\t' || part === '\\' ? part : printable(asRaw(part))))
    .join('')
}
