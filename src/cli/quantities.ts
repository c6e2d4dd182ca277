// Sizes, shares and lengths of time as options take them; `usage` for what is none.
import { VmlError } from '../base/failure.ts'
import * as quantities from '../model/quantities.ts'

/** Bytes. */
export function parseSize(typed: string, option: string, why = 'it is a size such as 500M or 2G'): number {
  return quantities.parseSize(typed) ?? refuse(typed, option, why)
}

/** From 0 to 1. */
export function parseShare(typed: string, option: string): number {
  return (quantities.parsePercent(typed) ?? refuse(typed, option, 'it is a share such as 5%')) / 100
}

/** Milliseconds. */
export function parseDuration(typed: string, option: string): number {
  return (
    quantities.parseDuration(typed, ['s', 'm', 'min', 'h', 'd']) ??
    refuse(typed, option, 'it is a duration such as 30s, 10m or 1h')
  )
}

function refuse(typed: string, option: string, why: string): never {
  throw new VmlError('usage', `Cannot take "${typed}" for ${option}: ${why}`)
}
