// A command that is to become a transaction: what `vml tx run` and `vml tx try` make of their words.
import { fstatSync } from 'node:fs'
import { policyScriptOf, whoIsAtWork } from '../app/transactions.ts'
import { rawFromString } from '../base/raw-text.ts'
import type { StageRequest } from '../transaction/open-stage.ts'
import type { CommandRun } from '../transaction/run-transaction.ts'
import type { Context } from './command.ts'

const titleCharactersMax = 200
const standardInput = 0

export function commandTransaction(
  { config, out }: Context,
  words: readonly string[],
  { message, tag }: { readonly message: string | undefined; readonly tag: readonly string[] },
): { readonly request: StageRequest; readonly run: CommandRun } {
  const policy = policyScriptOf()
  return {
    request: {
      source: 'command',
      title: message ?? words.join(' ').slice(0, titleCharactersMax),
      note: '',
      tags: tag,
      command: words.map(rawFromString),
      user: whoIsAtWork(config),
      processId: process.pid,
      ...(policy === undefined ? {} : { policy }),
    },
    run: {
      argv: words,
      environment: config.environment,
      workingFolder: config.workingFolder,
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
