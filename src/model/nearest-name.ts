// Which of some names was probably meant by one that is none of them.

/** Further off, two names have nothing to do with each other. */
const distanceMax = 2

/** Undefined where none is near. */
export function nearestName(typed: string, names: readonly string[]): string | undefined {
  const longest = Math.max(...names.map((name) => name.length))
  if (typed.length > longest + distanceMax) return undefined
  const near = names
    .map((name) => ({ name, distance: editsBetween(typed, name) }))
    .filter(({ distance }) => distance <= distanceMax)
  return near.toSorted((left, right) => left.distance - right.distance)[0]?.name
}

/** Letters put in, left out or changed (Levenshtein). */
function editsBetween(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (const [index, letter] of [...left].entries()) {
    const next = [index + 1]
    for (const [column, other] of [...right].entries()) {
      const [above = 0, aboveNext = 0, before = 0] = [row[column], row[column + 1], next[column]]
      next.push(Math.min(aboveNext + 1, before + 1, above + (letter === other ? 0 : 1)))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
