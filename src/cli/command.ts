// What a command is: plain data and one function. One file in commands/ and one line in commands.ts make a command.
import type { Clock } from '../base/clock.ts'
import type { Reporter } from '../base/progress.ts'
import { VmlError } from '../base/failure.ts'
import type { Machine } from '../model/machine.ts'
import type { Config } from '../app/config.ts'
import type { Logbook } from '../app/open.ts'
import type { Shell } from '../wire/shell.ts'
import type { Output } from './output.ts'

/** Everything a command gets from outside. What it opens is closed by the frame, in reverse order. */
export interface Context {
  readonly config: Config
  readonly clock: Clock
  /** Progress and warnings: a bar, plain lines, JSON lines or nothing, as the user asked. */
  readonly reporter: Reporter
  readonly out: Output
  /** Aborted by SIGINT and SIGTERM, and when the reader of standard output is gone. */
  readonly signal: AbortSignal
  /** The configured logbook; opened once. */
  openLogbook(): Promise<Logbook>
  /** That of this machine's own transactions; with `make` it is made where there is none. For root alone. */
  openSystemLogbook(options?: { readonly make: boolean }): Promise<Logbook>
  openShell(machine: Machine): Promise<Shell>
  /** Begins to connect to a machine elsewhere, for whoever opens its shell later. What comes of it is told there. */
  reachAhead(machine: Machine): void
  /** Resolves when the user agreed (or gave --yes); `usage` without a terminal, `cancelled` for a no. */
  confirm(question: string): Promise<void>
  /** What is told of the logbook and the machine, as a clause, should the run be cancelled from here on. It must be true whenever that is. */
  whenCancelled(known: string): void
  /** A secret typed by the user, not echoed; undefined without a terminal. */
  askSecret(question: string): Promise<string | undefined>
}

/** What the shell may offer for a word. */
export type Completion = 'entry' | 'machine' | 'tag' | 'project' | 'file' | 'folder' | 'none'

export interface Option<Value> {
  /** As commander takes them: `-m, --message <text>`. */
  readonly flags: string
  readonly description: string
  readonly takes: 'nothing' | 'one' | 'many'
  readonly complete: Completion | readonly string[]
  /** From what was typed to the value. Throws `usage`. */
  readonly parse: (typed: string | boolean | readonly string[] | undefined) => Value
}

export interface Operand {
  /** In capitals: `ENTRY`; `many` takes the rest. */
  readonly name: string
  readonly description: string
  readonly required: boolean
  readonly many?: boolean
  /** It and all that follow are the words of a program to run: options among them are that program's. */
  readonly isCommand?: boolean
  readonly complete: Completion | readonly string[]
}

// oxlint-disable-next-line typescript/no-explicit-any -- the one place where values of options are of any type
type AnyOptions = Readonly<Record<string, Option<any>>>
export type OptionValues<Options extends AnyOptions> = {
  readonly [Name in keyof Options]: Options[Name] extends Option<infer Value> ? Value : never
}

export interface Example {
  readonly line: string
  readonly does: string
}

export interface CommandSpec<Options extends AnyOptions = AnyOptions> {
  /** A sentence or two under the usage line of --help. */
  readonly description: string
  readonly operands: readonly Operand[]
  readonly options: Options
  readonly examples: readonly [Example, Example, Example, ...Example[]]
  /** Returns the exit status where it is not 0: 3 for a partial result, 21 for differences. */
  run(
    context: Context,
    input: { readonly operands: readonly string[]; readonly options: OptionValues<Options> },
  ): Promise<number | void>
}

/** A verb under a noun: `vml machine add`. */
export interface NounSpec {
  readonly description: string
  /** The way through its verbs. Default: those of the first. */
  readonly examples?: readonly Example[]
  readonly verbs: Readonly<Record<string, Verb>>
}

export interface Verb {
  readonly summary: string
  /** Called by programs of ours, and offered to nobody. */
  readonly hidden?: boolean
  /** Where each verb is a file of its own, only that of the one that is asked for is imported. */
  load(): Promise<Command>
}

/** A command whose options were checked: the frame's view, in which values have lost their types. */
export interface Command {
  readonly description: string
  readonly operands: readonly Operand[]
  readonly options: Readonly<Record<string, Option<unknown>>>
  readonly examples: readonly Example[]
  run(
    context: Context,
    operands: readonly string[],
    typed: Readonly<Record<string, unknown>>,
  ): Promise<number>
}

export function defineCommand<const Options extends AnyOptions>(spec: CommandSpec<Options>): Command {
  return {
    description: spec.description,
    operands: spec.operands,
    options: spec.options,
    examples: spec.examples,
    async run(context, operands, typed) {
      const options = Object.fromEntries(
        Object.entries(spec.options).map(([name, option]) => [name, option.parse(asTyped(typed[name]))]),
      ) as OptionValues<Options>
      return (await spec.run(context, { operands, options })) ?? 0
    },
  }
}

function asTyped(value: unknown): string | boolean | readonly string[] | undefined {
  if (Array.isArray(value)) return value.map(String)
  return typeof value === 'string' || typeof value === 'boolean' ? value : undefined
}

export function operand(name: string, description: string, complete: Operand['complete'] = 'none'): Operand {
  return { name, description, complete, required: true }
}

/** True where given; for `--no-safety` the value is `safety`: true unless given. */
export function flag(flags: string, description: string): Option<boolean> {
  const whenAbsent = /--no-/.test(flags)
  return {
    flags,
    description,
    takes: 'nothing',
    complete: 'none',
    parse: (typed) => (typeof typed === 'boolean' ? typed : whenAbsent),
  }
}

export function text(
  flags: string,
  description: string,
  complete: Option<unknown>['complete'] = 'none',
): Option<string | undefined> {
  return {
    flags,
    description,
    takes: 'one',
    complete,
    parse: (typed) => (typeof typed === 'string' ? typed : undefined),
  }
}

/** May be given more than once. */
export function texts(
  flags: string,
  description: string,
  complete: Option<unknown>['complete'] = 'none',
): Option<readonly string[]> {
  return {
    flags,
    description,
    takes: 'many',
    complete,
    parse: (typed) => (typeof typed === 'object' ? typed : []),
  }
}

export function choice<const Name extends string>(
  flags: string,
  description: string,
  names: readonly Name[],
): Option<Name | undefined> {
  return {
    flags,
    description: `${description} (${names.join(', ')})`,
    takes: 'one',
    complete: names,
    parse: (typed) => {
      if (typeof typed !== 'string') return undefined
      const found = names.find((name) => name === typed)
      if (found !== undefined) return found
      throw new VmlError(
        'usage',
        `Cannot take "${typed}" for ${longName(flags)}: it is one of ${names.join(', ')}`,
      )
    },
  }
}

/** At least one: of nothing nobody asks for. */
export function count(flags: string, description: string): Option<number | undefined> {
  return {
    flags,
    description,
    takes: 'one',
    complete: 'none',
    parse: (typed) => {
      if (typeof typed !== 'string') return undefined
      if (/^\d{1,15}$/.test(typed) && Number(typed) > 0) return Number(typed)
      throw new VmlError(
        'usage',
        `Cannot take "${typed}" for ${longName(flags)}: it is a whole number, 1 or more`,
      )
    },
  }
}

export const dryRun = flag('-n, --dry-run', 'say what would be done, and do nothing')

function longName(flags: string): string {
  return /--[a-z-]+/.exec(flags)?.[0] ?? flags
}
