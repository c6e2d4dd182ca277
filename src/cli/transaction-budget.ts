// What records of transactions may take, as it is typed: `8%`, `20G`.
import { VmlError } from '../base/failure.ts'
import { type Budget, parseBudget } from '../model/span.ts'
import { text } from './command.ts'

export const budgetOption = text(
  '--budget <limit>',
  'what all records may take: 8% of the system (default), 20G; the oldest lose what they keep',
)

export function requireBudget(typed: string | undefined): Budget | undefined {
  const budget = typed === undefined ? undefined : parseBudget(typed)
  if (typed === undefined || budget) return budget
  throw new VmlError('usage', `Cannot take ${JSON.stringify(typed)} as a budget`, {
    hint: 'It is a share of the system such as 8%, or a size such as 20G',
  })
}
