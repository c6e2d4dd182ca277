// The list of checksums that a Debian package brings, and that dpkg keeps (deb-md5sums(5)).
import { asRaw, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from './raw-path.ts'

/** Paths from the root. Lines that are none are passed over: the list comes from the package, and dpkg itself skips them. */
export function parseMd5sums(text: RawText): Map<RawPath, string> {
  const sums = new Map<RawPath, string>()
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf('\n', start)
    const end = newline === -1 ? text.length : newline
    const line = text.slice(start, end)
    start = end + 1
    const [, escaped, sum, name] = /^(\\)?([0-9a-f]{32}) [ *](.+)$/s.exec(line) ?? []
    if (sum === undefined || name === undefined) continue
    // A backslash in front says that the name is escaped (md5sum(1), "Without --zero").
    const plain = escaped === undefined ? name : unescape(name)
    const path = parseRawPath(asRaw(`/${plain}`))
    if (path !== undefined) sums.set(path, sum)
  }
  return sums
}

function unescape(name: string): string {
  return name.replace(/\\([\\nr])/g, (_, letter: string) =>
    letter === 'n' ? '\n' : letter === 'r' ? '\r' : '\\',
  )
}
