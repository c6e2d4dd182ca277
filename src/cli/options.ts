// Options and operands that several commands share.
import { printable, rawFromString } from '../base/raw-text.ts'
import type { Operand } from './command.ts'

export const entryOperand: Operand = {
  name: 'ENTRY',
  description: '42, a short id, a tag, @latest, @-1, lab@latest, @{2026-11-03}',
  required: true,
  complete: 'entry',
}

export const entryPathOperand: Operand = {
  ...entryOperand,
  name: 'ENTRY:/PATH',
  description: 'a path in an entry, such as 42:/home/lab/fit.C',
}

/** Text that is already a string, safe for a terminal: from a snapshot, a document, another program. */
export function shown(text: string): string {
  return printable(rawFromString(text))
}
