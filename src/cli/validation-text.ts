// What `vml tx show` says of a check of a transaction.
import type { Validation } from '../model/transaction-record.ts'
import { isToldFiles } from '../transaction/told-files.ts'
import { shown } from './options.ts'

export function validationText({ name, outcome, message }: Validation): string {
  if (message === undefined) return outcome
  return isToldFiles(name) ? shown(message) : `${outcome}: ${shown(message)}`
}
