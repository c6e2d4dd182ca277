// Which packs a check reads when it does not read all: the same three ways as restic's --read-data-subset.
import type { PackId } from '../model/ids.ts'

export type PackSample =
  /** Part `part` of `of`: other packs each time, all of them after `of` runs. */
  | { readonly kind: 'part'; readonly part: number; readonly of: number }
  /** Chosen at random each time. */
  | { readonly kind: 'percent'; readonly percent: number }
  | { readonly kind: 'bytes'; readonly bytes: number }

/** As restic has it: a pack belongs to a part by the first byte of its name. */
const partsMax = 256
const unitBytes: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }

/** `10%`, `1/7`, `500MiB` (also restic's `500M`); undefined for anything else. */
export function parsePackSample(text: string): PackSample | undefined {
  const percent = /^(\d{1,3}(?:\.\d{1,6})?)%$/.exec(text)
  if (percent) {
    const value = Number(percent[1])
    return value > 0 && value <= 100 ? { kind: 'percent', percent: value } : undefined
  }
  const parts = /^(\d{1,3})\/(\d{1,3})$/.exec(text)
  if (parts) {
    const [part, of] = [Number(parts[1]), Number(parts[2])]
    return part >= 1 && part <= of && of <= partsMax ? { kind: 'part', part, of } : undefined
  }
  const size = /^(\d{1,9})(?:([KMGT])(?:iB)?)?$/i.exec(text)
  if (!size) return undefined
  const bytes = Number(size[1]) * (unitBytes[size[2]?.toUpperCase() ?? ''] ?? 1)
  return bytes > 0 ? { kind: 'bytes', bytes } : undefined
}

/** At least one pack where there is any. */
export function samplePacks(
  packs: ReadonlyMap<PackId, number>,
  sample: PackSample,
  random: () => number,
): ReadonlyMap<PackId, number> {
  if (sample.kind === 'part') {
    return new Map(
      [...packs].filter(([pack]) => Number.parseInt(pack.slice(0, 2), 16) % sample.of === sample.part - 1),
    )
  }
  const shuffled = [...packs]
  for (let left = shuffled.length; left > 1; left--) {
    const at = Math.floor(random() * left)
    const [last, chosen] = [shuffled[left - 1], shuffled[at]]
    if (last && chosen) [shuffled[left - 1], shuffled[at]] = [chosen, last]
  }
  const total = shuffled.reduce((sum, [, bytes]) => sum + bytes, 0)
  const wanted = sample.kind === 'bytes' ? sample.bytes : (total * sample.percent) / 100
  let sum = 0
  const end = shuffled.findIndex(([, bytes]) => (sum += bytes) >= wanted)
  return new Map(end < 0 ? shuffled : shuffled.slice(0, end + 1))
}
