// Colours, and nothing where there are none.

export interface Style {
  bold(text: string): string
  dim(text: string): string
  red(text: string): string
  green(text: string): string
  yellow(text: string): string
  cyan(text: string): string
}

/** ECMA-48 "select graphic rendition"; `util.styleText` would look at the environment by itself. */
export function plainStyle(color: boolean): Style {
  const paint = (on: number, off: number) => (text: string) =>
    color && text !== '' ? `\u001b[${on}m${text}\u001b[${off}m` : text
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    yellow: paint(33, 39),
    cyan: paint(36, 39),
  }
}

// oxlint-disable-next-line no-control-regex -- the escape character is what colours start with
const colours = /\u001b\[\d+m/g
const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u
const zeroWidth = /\p{M}|\u200b|\u200d|\ufe0f/u

/** Columns that a text takes on a terminal; colours take none. */
export function displayWidth(text: string): number {
  const bare = text.replace(colours, '')
  if (/^[ -~]*$/.test(bare)) return bare.length
  let width = 0
  for (const character of bare) width += zeroWidth.test(character) ? 0 : wide.test(character) ? 2 : 1
  return width
}

export function padEnd(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)))
}

export function padStart(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - displayWidth(text))) + text
}

/** At most `width` columns, the end replaced by `…`. For text without colours. */
export function truncate(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  let kept = ''
  let used = 0
  for (const character of text) {
    used += displayWidth(character)
    if (used > width - 1) break
    kept += character
  }
  return `${kept}…`
}

export function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = []
  for (const row of rows)
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, displayWidth(cell))
    })
  return widths
}

/** Columns of equal width with two spaces between; the last one is not padded. What is longer than `widthMax` moves its own row alone. */
export function table(
  rows: readonly (readonly string[])[],
  align: readonly ('left' | 'right')[] = [],
  widthMax = Number.POSITIVE_INFINITY,
): string[] {
  const widths = columnWidths(rows).map((width) => Math.min(width, widthMax))
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0
        if (align[column] === 'right') return padStart(cell, width)
        return column === row.length - 1 ? cell : padEnd(cell, width)
      })
      .join('  ')
      .trimEnd(),
  )
}
