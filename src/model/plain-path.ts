// Paths that people write into settings: absolute, of characters that every shell and table shows as they are.

const pathCharactersMax = 1000

/** Neither `/` itself nor one with `.` or `..` in it. */
export function isAbsolutePlain(text: string): boolean {
  if (text.length > pathCharactersMax || !/^(?:\/[A-Za-z0-9_.+@:*-]+)+$/.test(text)) return false
  return !text.split('/').some((name) => name === '.' || name === '..')
}
