// The options that every command takes, before or after the verb.

export const globalOptions = [
  ['--logbook <place>', 'the logbook: a folder, sftp:… (else VML_LOGBOOK, ./.vml.toml, config.toml)'],
  ['--password-file <file>', 'read the password of the logbook from a file'],
  ['--read-only', 'write nothing to the logbook, not even a lock'],
  ['--json', 'print JSON'],
  ['-q, --quiet', 'print results and failures only'],
  ['-v, --verbose', 'print more'],
  ['--no-color', 'print without colours (as NO_COLOR does)'],
  ['-y, --yes', 'answer every question with yes'],
] as const

export interface GlobalFlags {
  readonly logbook: string | undefined
  readonly passwordFile: string | undefined
  readonly readOnly: boolean
  readonly json: boolean
  readonly quiet: boolean
  readonly verbose: boolean
  readonly color: boolean
  readonly yes: boolean
}

/** From options by name, as they were typed. */
export function globalFlags(typed: Readonly<Record<string, unknown>>): GlobalFlags {
  return {
    logbook: textOf(typed['logbook']),
    passwordFile: textOf(typed['passwordFile']),
    readOnly: typed['readOnly'] === true,
    json: typed['json'] === true,
    quiet: typed['quiet'] === true,
    verbose: typed['verbose'] === true,
    color: typed['color'] !== false,
    yes: typed['yes'] === true,
  }
}

/** The first word that is no option and no value of a global one. */
export function firstOperand(argv: readonly string[]): string | undefined {
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] ?? ''
    if (word === '--') return argv[index + 1]
    if (word === '--logbook' || word === '--password-file') index++
    else if (!word.startsWith('-')) return word
  }
  return undefined
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
