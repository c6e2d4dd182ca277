// How many things are told of in one line: the first few by name, the rest by number.

/** `a, b and 3 more`. Only those that are named are asked for their names. */
export function firstFew<Thing>(
  things: readonly Thing[],
  most: number,
  nameOf: (thing: Thing) => string,
): string {
  const left = things.length - most
  const named = things
    .slice(0, most)
    .map((thing) => nameOf(thing))
    .join(', ')
  return left > 0 ? `${named} and ${left} more` : named
}
