// Patterns of `vml find`: `*`, `?`, `[a-z]`, and `**` across folders. Compared bytewise, as names are bytes.
import type { RawText } from '../base/raw-text.ts'
import { unescapeTyped } from '../model/entry-reference.ts'
import type { RawPath } from '../model/raw-path.ts'

/** With a slash: the whole path (from anywhere where it does not begin with one); without: the name alone. */
export function compilePattern(pattern: RawText): (path: RawPath, name: RawText) => boolean {
  if (!pattern.includes('/')) {
    const expression = toExpression(pattern)
    return (_path, name) => expression.test(name)
  }
  const expression = toExpression(pattern.startsWith('/') ? pattern : `/**/${pattern}`)
  return (path) => expression.test(path)
}

function toExpression(pattern: string): RegExp {
  let source = ''
  for (let index = 0; index < pattern.length; index++) {
    const character = pattern.charAt(index)
    if (pattern.startsWith('/**/', index)) {
      source += '/(?:.*/)?'
      index += 3
    } else if (pattern.startsWith('**', index)) {
      source += '.*'
      index++
    } else if (character === '*') source += '[^/]*'
    else if (character === '?') source += '[^/]'
    else if (character === '[') {
      const set = /^\[([!^]?)(\]?[^\]/]*)\]/.exec(pattern.slice(index))
      if (set) {
        source += `[${set[1] ? '^/' : ''}${(set[2] ?? '').replace(/[\\\]^[]/g, '\\$&')}]`
        index += set[0].length - 1
      } else source += '\\['
    } else if (character === '\\') {
      // The escapes that VML prints, or a backslash before a character that would mean something.
      const escape =
        /^\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F]{1,6}\}|[\s\S])?/.exec(pattern.slice(index))?.[0] ?? '\\'
      const meant = /^\\[*?[\]]$/.test(escape) ? escape.slice(1) : unescapeTyped(escape)
      source += quoted(meant)
      index += escape.length - 1
    } else source += quoted(character)
  }
  return new RegExp(`^${source}$`, 's')
}

function quoted(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
}
