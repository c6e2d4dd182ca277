// Sizes, shares and lengths of time as people write them: `20GiB`, `8%`, `15min`.

export const sizeUnits = ['', 'K', 'M', 'G', 'T', 'P'] as const

/** `20GiB`, `20G` (as restic, by 1024), `20GB` (by 1000); bytes, or undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)\s?([KMGTP]?)(iB|B|)$/i.exec(text)
  if (!match) return undefined
  const [, number = '', letter = '', suffix = ''] = match
  const power = sizeUnits.findIndex((unit) => unit === letter.toUpperCase())
  const bytes = Math.floor(Number(number) * (suffix.toUpperCase() === 'B' ? 1000 : 1024) ** power)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** `8%` is 8; from 0 to 100. */
export function parsePercent(text: string): number | undefined {
  const [, digits] = /^(\d{1,3}(?:\.\d{1,3})?)\s?%$/.exec(text) ?? []
  const percent = Number(digits)
  return percent <= 100 ? percent : undefined
}

/** In milliseconds, by no calendar. */
export const durationUnits = {
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 365 * 86_400_000,
} as const
export type DurationUnit = keyof typeof durationUnits

/** One number and one of `units`: `15min`; milliseconds. */
export function parseDuration(text: string, units: readonly DurationUnit[]): number | undefined {
  const [, digits, letters] = /^(\d{1,6})\s?([a-z]{1,3})$/.exec(text) ?? []
  const unit = units.find((each) => each === letters)
  return unit === undefined ? undefined : Number(digits) * durationUnits[unit]
}
