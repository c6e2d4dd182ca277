// Tells damage in the store from everything else that can go wrong while it is looked for.
import { isFailure, type VmlError } from '../base/failure.ts'

/** Damage becomes a finding; a network that fails, or a defect of ours, ends the check. */
export function damageMessage(error: unknown): string {
  if (isDamage(error)) return error.message
  throw error
}

export function isDamage(error: unknown): error is VmlError {
  return isFailure(
    error,
    'integrity.mac',
    'integrity.hash',
    'integrity.format',
    'integrity.truncated',
    'integrity.missing',
  )
}
