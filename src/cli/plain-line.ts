// Reads command lines on which nothing is left to tell, without loading commander: that takes longer than many a command.
import type { Command } from './command.ts'
import { findCommand } from './commands.ts'
import { globalFlags, globalOptions } from './global-options.ts'
import type { Parsed } from './parse.ts'

interface KnownOption {
  readonly name: string
  readonly takes: 'nothing' | 'one' | 'many'
  readonly isGlobal: boolean
  /** What its flag says: false for `--no-color`. */
  readonly value: boolean
}

/**
 * The same as `parseArguments` makes of a line of known verbs and options in their plain forms. Undefined for all else: help,
 * `--option=value`, `-qv`, mistakes; what they mean is for commander to tell.
 */
export async function readPlainLine(argv: readonly string[]): Promise<Parsed | undefined> {
  const known = new Map<string, KnownOption>()
  for (const [flags] of globalOptions) {
    const takes = flags.includes('<') ? 'one' : 'nothing'
    if (!learn(known, flags, { takes, isGlobal: true })) return undefined
  }
  const line: Line = { operands: [], globals: {}, own: {} }
  const rest = [...argv]
  if (!readOptions(rest, known, line)) return undefined
  const chosen = await takeCommand(rest)
  if (chosen === undefined) return undefined
  for (const [name, { flags, takes }] of Object.entries(chosen.options)) {
    if (!learn(known, flags, { takes, isGlobal: false, name })) return undefined
    if (/--no-/.test(flags)) line.own[name] = true
  }
  while (rest.length > 0) {
    if (rest[0] === '--') {
      line.operands.push(...rest.splice(0).slice(1))
      break
    }
    if (!readOptions(rest, known, line)) return undefined
    const operand = rest[0]
    if (operand === undefined || operand === '--') continue
    if (chosen.operands[0]?.isCommand) line.operands.push(...rest.splice(0))
    else {
      line.operands.push(operand)
      rest.shift()
    }
  }
  return fits(chosen, line.operands)
    ? {
        kind: 'command',
        command: chosen,
        operands: line.operands,
        typed: line.own,
        flags: globalFlags(line.globals),
      }
    : undefined
}

interface Line {
  readonly operands: string[]
  readonly globals: Record<string, unknown>
  readonly own: Record<string, unknown>
}

async function takeCommand(rest: string[]): Promise<Command | undefined> {
  const loaded = await findCommand(rest.shift() ?? '')?.load()
  if (loaded?.kind !== 'noun') return loaded?.command
  const { verbs } = loaded.noun
  const word = rest.shift()
  return word !== undefined && Object.hasOwn(verbs, word) ? await verbs[word]?.load() : undefined
}

/** Takes the options at the beginning of `rest`. False where one is not plain. */
function readOptions(rest: string[], known: ReadonlyMap<string, KnownOption>, line: Line): boolean {
  for (;;) {
    const [word, value] = rest
    if (word === undefined || word === '--' || !word.startsWith('-')) return true
    const option = known.get(word)
    if (option === undefined) return false
    rest.shift()
    const into = option.isGlobal ? line.globals : line.own
    if (option.takes === 'nothing') {
      into[option.name] = option.value
      continue
    }
    if (value === undefined || value.startsWith('-')) return false
    rest.shift()
    const before = into[option.name]
    into[option.name] =
      option.takes === 'one' ? value : [...(Array.isArray(before) ? (before as string[]) : []), value]
  }
}

/** False where flags are not of the forms that are read here, or mean something already. */
function learn(
  known: Map<string, KnownOption>,
  flags: string,
  option: Pick<KnownOption, 'takes' | 'isGlobal'> & { readonly name?: string },
): boolean {
  const match = /^(?:(-[A-Za-z]), )?--(no-)?([a-z][a-z-]*)(?: <[^>]+>)?$/.exec(flags)
  if (!match || (option.takes === 'nothing') === flags.includes('<')) return false
  const [, short, no = '', long = ''] = match
  const name = option.name ?? long.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
  for (const word of [short, `--${no}${long}`]) {
    if (word === undefined) continue
    if (known.has(word)) return false
    known.set(word, { name, takes: option.takes, isGlobal: option.isGlobal, value: no === '' })
  }
  return true
}

function fits({ operands }: Command, given: readonly string[]): boolean {
  const most = operands.some(({ many }) => many) ? Number.POSITIVE_INFINITY : operands.length
  return given.length >= operands.filter(({ required }) => required).length && given.length <= most
}
