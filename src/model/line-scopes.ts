// In which block each line of a configuration stands: below a `[header]`, a `Match` of ssh, in `<Tag>` or braces, indented under another line.

/** Of each line the one that opens the block it stands in, -1 where it stands in none. The opener has one of its own, and so on up. */
export function openersOf(lines: readonly string[]): number[] {
  const open: Opener[] = []
  return lines.map((text, line) => openerOf(open, text.trimEnd(), line))
}

/** What a line stands in has no say in these: a comment may be indented as it likes. */
export function isWithoutScope(line: string): boolean {
  return /^\s*(?:[#;]|$)/.test(line)
}

interface Opener {
  readonly line: number
  readonly kind: 'header' | 'tag' | 'brace' | 'indent'
  readonly level: number
}

/** A line of more is no configuration; each would be kept in memory. */
const bracesMax = 100
/** A section up to the next one, whatever is indented how. */
const header = /^\s*\[.*\]\s*(?:[#;].*)?$/
/** Words that begin a section in files without headers: ssh, interfaces(5), records of apt. */
const headerWord = /^(?:(?:match|host|iface|mapping)\s|(?:package|types):)/i

/** `open` is changed to what is open after the line. */
function openerOf(open: Opener[], text: string, line: number): number {
  if (isWithoutScope(text)) return open.at(-1)?.line ?? -1
  const braces = text
    .replace(/(?:^|\s)#.*$/, '')
    .replace(/[^{}]+/g, '')
    .slice(0, bracesMax)
  const isHeader = header.test(text) || (headerWord.test(text) && braces === '')
  const level = isHeader ? -1 : levelOf(text)
  while (open.at(-1)?.kind === 'indent' && (open.at(-1)?.level ?? 0) >= level) open.pop()
  if (isHeader && open.at(-1)?.kind === 'header') open.pop()
  const opener = open.at(-1)?.line ?? -1
  if (isHeader) open.push({ line, kind: 'header', level })
  else if (/^\s*<\//.test(text)) close(open, 'tag')
  else if (isTag(text.trim())) open.push({ line, kind: 'tag', level })
  else if (braces === '') open.push({ line, kind: 'indent', level })
  for (const brace of braces) {
    if (brace === '}') close(open, 'brace')
    else open.push({ line, kind: 'brace', level })
  }
  return opener
}

/** `<Directory /srv>`, and nothing that ends in the same line. */
function isTag(text: string): boolean {
  return /^<[A-Za-z]/.test(text) && text.endsWith('>') && !text.endsWith('/>') && !text.includes('</')
}

/** With all that was opened in it; where none of the kind is open, nothing is closed. */
function close(open: Opener[], kind: Opener['kind']): void {
  const at = open.findLastIndex((opener) => opener.kind === kind)
  if (at !== -1) open.length = at
}

/** A dash stands below a line of the same indentation, and above what is indented like its text (YAML's lists). */
function levelOf(text: string): number {
  const [, space = '', dash = ''] = /^([ \t]*)(-(?=\s))?/.exec(text) ?? []
  return space.length + (dash === '' ? 0 : 0.5)
}
