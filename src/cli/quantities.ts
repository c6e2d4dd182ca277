// Sizes, shares and durations as people type them: 500M, 5%, 10m.
import { VmlError } from '../base/failure.ts'

const sizeUnits: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }
const durationUnits: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `500M`, `1.5G`, `20MiB`: powers of 1024. */
export function parseSize(typed: string, option: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,12}(?:\.\d{1,3})?)\s?([KMGT]?)(?:iB|B)?$/i.exec(typed) ?? []
  const factor = sizeUnits[unit.toUpperCase()]
  if (digits === '' || factor === undefined) throw refused(typed, option, 'it is a size such as 500M or 2G')
  return Math.round(Number(digits) * factor)
}

/** From 0 to 1. */
export function parseShare(typed: string, option: string): number {
  const [, digits] = /^(\d{1,3}(?:\.\d{1,3})?)\s?%$/.exec(typed) ?? []
  const share = Number(digits) / 100
  if (digits === undefined || share > 1) throw refused(typed, option, 'it is a share such as 5%')
  return share
}

/** Milliseconds. */
export function parseDuration(typed: string, option: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,6})\s?([smhd])$/.exec(typed) ?? []
  const factor = durationUnits[unit]
  if (digits === '' || factor === undefined)
    throw refused(typed, option, 'it is a duration such as 30s, 10m or 1h')
  return Number(digits) * factor
}

function refused(typed: string, option: string, why: string): VmlError {
  return new VmlError('usage', `Cannot take "${typed}" for ${option}: ${why}`)
}
