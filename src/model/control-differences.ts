// What two texts of paragraphs do not have in common: of dpkg's list of all packages, a run of apt changes a few.

/** Both without the paragraphs that stand in the other word for word. What is left keeps its order. */
export function differingParagraphs(before: string, after: string): { before: string; after: string } {
  const [old, now] = [blocksOf(before), blocksOf(after)]
  return { before: without(old, new Set(now)), after: without(now, new Set(old)) }
}

/** An empty line ends a paragraph (deb822(5)); where a line of white space does, two of them stay together. */
function blocksOf(text: string): readonly string[] {
  return text.split(/\n{2,}/).map((block) => (block.endsWith('\n') ? block.slice(0, -1) : block))
}

function without(blocks: readonly string[], others: ReadonlySet<string>): string {
  return blocks
    .filter((block) => block !== '' && !others.has(block))
    .map((block) => `${block}\n\n`)
    .join('')
}
