// A command that is to become a transaction: what `vml tx run` and `vml tx try` make of their words.
import { fstatSync } from 'node:fs'
import { policyScriptOf, whoIsAtWork } from '../app/transactions.ts'
import { requireWorkingFolder } from '../app/working-folder.ts'
import { cutText } from '../base/cut-text.ts'
import { rawFromString } from '../base/raw-text.ts'
import { requireTag } from '../engine/edit.ts'
import type { StageRequest } from '../transaction/open-stage.ts'
import type { CommandRun } from '../transaction/run-transaction.ts'
import { titleCharactersMax, typedTitleCharactersMax } from '../model/transaction.ts'
import { VmlError } from '../base/failure.ts'
import type { Context, Operand } from './command.ts'

const standardInput = 0

export interface NamedCommand {
  readonly message: string | undefined
  readonly tag: readonly string[]
}

/** What is recorded of it, on whatever machine it runs. */
export function commandRequest(
  config: Context['config'],
  words: readonly string[],
  { message, tag }: NamedCommand,
) {
  for (const each of tag) requireTag(each)
  return {
    source: 'command' as const,
    title: titleOf(message) ?? cutText(words.join(' '), titleCharactersMax),
    note: '',
    tags: tag,
    command: words.map(rawFromString),
    user: whoIsAtWork(config),
  }
}

/** Undefined where nothing was typed, which an empty one is, too. */
function titleOf(message: string | undefined): string | undefined {
  if (message === undefined || message.trim() === '') return undefined
  if (message.length <= typedTitleCharactersMax) return message
  throw new VmlError(
    'usage',
    `Cannot take a title of ${message.length} characters: the limit is ${typedTitleCharactersMax}`,
    { hint: 'Nothing was run. Give -m a shorter one' },
  )
}

export const commandOperand: Operand = {
  name: 'COMMAND',
  description: 'what to run; from its first word on, options are its own',
  required: true,
  many: true,
  isCommand: true,
  complete: 'none',
}

export function commandTransaction(
  { config, out }: Context,
  words: readonly string[],
  named: NamedCommand,
): { readonly request: StageRequest; readonly run: CommandRun } {
  const policy = policyScriptOf()
  return {
    request: {
      ...commandRequest(config, words, named),
      processId: process.pid,
      ...(policy === undefined ? {} : { policy }),
    },
    run: {
      argv: words,
      environment: config.environment,
      workingFolder: requireWorkingFolder(config),
      // Data of ours goes to standard output as one document: then the command's goes beside the messages.
      stdio: out.json ? ['inherit', 2, 2] : 'inherit',
      // A terminal, or /dev/null: what came through a pipe is read.
      isRepeatable: isCharacterDevice(standardInput),
    },
  }
}

function isCharacterDevice(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isCharacterDevice()
  } catch {
    // It was closed.
    return true
  }
}
