// The ways to take a transaction back, with what each costs, in words a person understands.
import { VmlError } from '../base/failure.ts'
import type { UndoChoice } from '../transaction/undo-choices.ts'
import { formatBytes, plural } from './format.ts'
import type { Output } from './output.ts'
import { table } from './style.ts'

/** Nothing where there is no choice. `options` are those that every one of them is to be given. */
export function printChoices(out: Output, choices: readonly UndoChoice[], options: readonly string[]): void {
  if (choices.length < 2) return
  out.line('Ways to do it, the one that writes least first:')
  for (const line of waysOf(choices, options)) out.line(line)
}

function waysOf(choices: readonly UndoChoice[], options: readonly string[]): string[] {
  return table(choices.map((choice) => [lineOf(choice, options), costOf(choice)])).map((line) => `  ${line}`)
}

export function describeChoices(choices: readonly UndoChoice[], options: readonly string[]) {
  return choices.map((choice) => ({
    command: lineOf(choice, options),
    bytes: choice.bytes,
    paths: choice.paths,
    packages: choice.packages,
    transactions: choice.transactions,
  }))
}

/** The refusal as it was, with what can be typed instead. */
export function refusalWith(
  refusal: VmlError,
  choices: readonly UndoChoice[],
  options: readonly string[],
): VmlError {
  if (choices.length === 0) return refusal
  const ways = waysOf(choices, options)
  const first = ways.length === 1 ? 'This can be done' : 'What can be done, the one that writes least first'
  return new VmlError(refusal.code, refusal.message, {
    cause: refusal,
    details: { ...refusal.details, plans: describeChoices(choices, options) },
    hint: [`Nothing was changed. ${first}:`, ...ways].join('\n'),
  })
}

function lineOf({ words }: UndoChoice, options: readonly string[]): string {
  return ['vml', 'tx', ...words, ...options].join(' ')
}

function costOf({ bytes, paths, packages, transactions }: UndoChoice): string {
  return [
    `${formatBytes(bytes)} in ${plural(paths, 'path')}`,
    plural(packages, 'package'),
    ...(transactions > 1 ? [plural(transactions, 'transaction')] : []),
  ].join(', ')
}
