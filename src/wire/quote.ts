// Turns a program and its arguments into text for `sh`, such that every byte reaches the program as it is.

/** Linux passes one string of at most 128 KiB to a program (MAX_ARG_STRLEN); longer lists belong on standard input. */
export const commandBytesMax = 120 * 1024

/**
 * A script for `sh -c` that becomes the program. It is printable ASCII without `'`, `!` and line ends, with
 * backslashes only before octal digits or `n`: so it can stand between single quotes in sh, bash, zsh, fish,
 * csh and busybox alike. What is not plainly safe is written in octal, which `printf` turns back into bytes
 * (POSIX, "printf", "\ddd"). `exec` keeps builtins and functions of the shell out.
 */
export function execScript(argv: readonly string[]): string {
  checkArgv(argv)
  const script = argv.every((word) => /^[A-Za-z0-9_./:=@+,-]+$/.test(word))
    ? `exec ${argv.join(' ')}`
    : `eval "$(printf "${octal(`exec ${argv.map(singleQuoted).join(' ')}`)}")"`
  if (script.length > commandBytesMax)
    throw new RangeError(`Cannot run a command of ${script.length} bytes: the limit is ${commandBytesMax}`)
  return script
}

/** The word in single quotes, as POSIX shells read it. */
export function singleQuoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}

function checkArgv(argv: readonly string[]): void {
  const program = argv[0]
  if (program === undefined || program === '' || program.startsWith('-'))
    throw new TypeError('Cannot run a command: its first word is no program')
  for (const word of argv) {
    for (let index = 0; index < word.length; index++) {
      const code = word.charCodeAt(index)
      if (code === 0 || code > 0xff)
        throw new TypeError('Cannot run a command: a word holds what is no byte, or NUL')
    }
  }
}

/** Any bytes, one for each character, such that `printf "…"` writes them; as safe between quotes as `execScript`. */
export function octal(text: string): string {
  return text.replace(
    /[^A-Za-z0-9 _./:=@+,-]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`,
  )
}
