// From argv to a command and what was typed for it, by commander: usage, help and suggestions for typos.
import { Command as Commander, CommanderError, Option as CommanderOption } from 'commander'
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import type { Command, Example, Option } from './command.ts'
import { commands, findCommand } from './commands.ts'
import { insteadOfOn } from './instead-of-on.ts'
import { firstOperand, globalFlags, type GlobalFlags, globalOptions } from './global-options.ts'

export type Parsed =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'command'
      readonly command: Command
      readonly operands: readonly string[]
      readonly typed: Readonly<Record<string, unknown>>
      readonly flags: GlobalFlags
    }

export interface ParseOptions {
  readonly version: string
  readonly width: number | undefined
}

export async function parseArguments(argv: readonly string[], options: ParseOptions): Promise<Parsed> {
  // `vml help save`, as others have it; a verb that is none gets its suggestion.
  const [first, ...rest] = argv
  if (first === 'help') {
    const isKnown = rest[0] !== undefined && findCommand(rest[0]) !== undefined
    return await parseArguments(isKnown ? [...rest, '--help'] : rest, options)
  }

  let chosen: Parsed | undefined
  let printed = ''
  const program = new Commander('vml')
    .usage('VERB [options]')
    .description('VML, the Virtual Machine Logbook: record the state of a machine, look at it, go back to it')
    .version(options.version, '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => (printed += text),
      writeErr: () => {},
      getOutHelpWidth: () => options.width ?? 100,
      getOutHasColors: () => false,
    })
  for (const [flags, description] of globalOptions) program.option(flags, description)
  addExamples(program, [
    { line: 'vml init ~/logbook', does: 'make a logbook' },
    { line: 'vml save lab -m "fit v1"', does: 'record the state of the machine "lab"' },
    { line: 'vml log', does: 'see what was recorded' },
  ])

  const asked = firstOperand(argv)
  let verb: string | undefined
  let words = argv
  for (const entry of commands) {
    const child = program.command(entry.name, { hidden: entry.hidden ?? false })
    child.summary(entry.summary).description(entry.summary).helpGroup(`${entry.job}:`)
    if (entry.name !== asked) continue
    const loaded = await entry.load()
    if (loaded.kind === 'verb') declare(child, loaded.command, take)
    else {
      child.description(loaded.noun.description).usage('VERB [options]')
      const verbs = Object.entries(loaded.noun.verbs)
      for (const [name, { summary, load, hidden = false }] of verbs)
        declare(child.command(name, { hidden }).summary(summary), await load(), take)
      verb = argv.slice(argv.indexOf(asked) + 1).find((word) => Object.hasOwn(loaded.noun.verbs, word))
      const command = verb === undefined ? undefined : await loaded.noun.verbs[verb]?.load()
      if (command && verb !== undefined)
        words = withOwnWords(argv, argv.indexOf(verb, argv.indexOf(asked) + 1), command)
      const first = await verbs[0]?.[1].load()
      addExamples(child, loaded.noun.examples ?? first?.examples ?? [])
    }
  }

  function take(command: Command, commander: Commander) {
    const all = commander.optsWithGlobals<Record<string, unknown>>()
    chosen = {
      kind: 'command',
      command,
      operands: commander.args,
      typed: commander.opts(),
      flags: globalFlags(all),
    }
  }

  try {
    if (argv.length === 0) return { kind: 'text', text: program.helpInformation() + examplesText(program) }
    await program.parseAsync([...words], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return { kind: 'text', text: printed }
    const inner = error.code === 'commander.unknownCommand' ? await verbsNamed(asked) : []
    if (inner.length > 0)
      throw new VmlError('usage', `Unknown command '${printableText(asked ?? '')}'`, {
        hint: `Did you mean ${inner.join(' or ')}? See vml --help`,
      })
    throw usageFailure(error, asked, verb)
  }
  if (chosen) return chosen
  throw new VmlError('usage', 'Cannot tell what to do: no verb is given', {
    hint: 'See the verbs: vml --help',
  })
}

/**
 * The words of a command to run are its own from the first one on, as with sudo(8) and env(1): of `vml tx run cp -v A B` the -v is cp's. `at`: where the verb
 * stands.
 */
function withOwnWords(argv: readonly string[], at: number, command: Command): readonly string[] {
  if (command.operands[0]?.isCommand !== true) return argv
  const flags = [
    ...globalOptions.map(([known]) => known),
    ...Object.values(command.options).map((each) => each.flags),
  ]
  const withValue = new Set(
    flags.flatMap((each) => (each.includes('<') ? (each.match(/(?<![\w-])--?[a-z][a-z-]*/g) ?? []) : [])),
  )
  for (let index = at + 1; index < argv.length; index++) {
    const word = argv[index] ?? ''
    if (word === '--') return argv
    if (!word.startsWith('-')) return [...argv.slice(0, index), '--', ...argv.slice(index)]
    if (withValue.has(word)) index++
  }
  return argv
}

function declare(
  commander: Commander,
  command: Command,
  take: (command: Command, commander: Commander) => void,
): void {
  commander.description(command.description)
  for (const operand of command.operands) {
    const name = operand.many ? `${operand.name}...` : operand.name
    commander.argument(operand.required ? `<${name}>` : `[${name}]`, operand.description)
  }
  for (const [name, option] of Object.entries(command.options)) commander.addOption(toCommander(name, option))
  addExamples(commander, command.examples)
  commander.action(() => take(command, commander))
}

function toCommander(name: string, option: Option<unknown>): CommanderOption {
  const made = new CommanderOption(option.flags, option.description)
  if (made.attributeName() !== name)
    throw new TypeError(`Option ${option.flags} must stand under "${made.attributeName()}", not "${name}"`)
  if (option.takes === 'many')
    made.argParser<string[]>((value, before: string[] | undefined) => [...(before ?? []), value])
  return made
}

function addExamples(commander: Commander, examples: readonly Example[]): void {
  if (examples.length === 0) return
  const width = Math.max(...examples.map((example) => example.line.length))
  const lines = examples.map(({ line, does }) => `  ${line.padEnd(width)}  ${does}`)
  commander.addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
}

/** Texts added to help come by events, which `helpInformation` does not raise. */
function examplesText(program: Commander): string {
  let text = ''
  program.configureOutput({ writeOut: (part) => (text += part) })
  program.outputHelp()
  return text.slice(program.helpInformation().length)
}

/** `vml undo` for `vml tx undo`: near to it lies `vml unlock`, which is about something else. */
async function verbsNamed(asked: string | undefined): Promise<string[]> {
  if (asked === undefined || findCommand(asked) !== undefined) return []
  const all = await Promise.all(
    commands.map(async ({ name, load }) => {
      const loaded = await load()
      if (loaded.kind === 'verb' || !Object.hasOwn(loaded.noun.verbs, asked)) return []
      return loaded.noun.verbs[asked]?.hidden === true ? [] : [`vml ${name} ${asked}`]
    }),
  )
  return all.flat()
}

/** commander's own sentence, in our form. */
function usageFailure(error: CommanderError, asked: string | undefined, verb: string | undefined): VmlError {
  const [what = '', ...rest] = error.message.replace(/^error: /, '').split('\n')
  const suggestion = rest.join(' ').replace(/^\(|\)$/g, '')
  const known = asked !== undefined && findCommand(asked) !== undefined
  const help = `See ${known ? `vml ${verb === undefined ? asked : `${asked} ${verb}`} --help` : 'vml --help'}`
  if (error.code === 'commander.help')
    return new VmlError('usage', `Cannot tell what to do: ${asked ?? 'vml'} needs a verb of its own`, {
      hint: help,
    })
  // `vml show #42`: what follows never reached us.
  const comment = error.code === 'commander.missingArgument' && /ENTRY|LEFT|RIGHT/.test(what)
  if (comment)
    return new VmlError('usage', what.charAt(0).toUpperCase() + what.slice(1), {
      hint: `A shell takes #42 for a comment: write 42. ${help}`,
    })
  const there = asked === 'tx' && /'--on(?:=[^']*)?'/.test(what) ? insteadOfOn(verb) : undefined
  if (there !== undefined)
    return new VmlError('usage', `Cannot take --on with vml tx ${verb}`, {
      hint: `Nothing was changed. Instead: ${there}`,
    })
  return new VmlError('usage', `${what.charAt(0).toUpperCase()}${what.slice(1)}`.replace(/\.$/, ''), {
    hint: suggestion === '' ? help : `${suggestion} ${help}`,
  })
}
