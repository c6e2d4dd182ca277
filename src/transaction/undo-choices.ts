// The ways in which a transaction can be taken back, each planned, the one that writes least first (C11).
import { isFailure } from '../base/failure.ts'
import { entryWord } from '../engine/entries.ts'
import type { ListedTransaction } from './transactions.ts'
import { planUndo, type UndoParts, type UndoPlan, type UndoRequest } from './undo.ts'

export interface UndoChoice {
  /** Words after `vml tx`. */
  readonly words: readonly string[]
  /** What is written to the machine: see `UndoPlan`. */
  readonly bytes: number
  readonly paths: number
  readonly packages: number
  /** How many transactions it takes back. */
  readonly transactions: number
}

/** Each later one is read whole to plan with it; who goes back further than that has other reasons than its price. */
const laterMax = 30

/**
 * Empty where the request allows one way only. A way that cannot be gone, or that would change nothing, is none. `plan` is what the request itself gave, if it gave any.
 * Reads only.
 */
export async function listUndoChoices(
  parts: UndoParts,
  request: UndoRequest,
  plan?: UndoPlan,
): Promise<readonly UndoChoice[]> {
  const [one] = request.transactions
  if (one === undefined || request.transactions.length > 1) return []
  const words = [request.kind, ...request.subject.map((entry) => entryWord(entry))]
  const found = new Map<string, UndoChoice>()
  const add = (planned: UndoPlan | undefined, line: readonly string[]) => {
    const choice = planned && choiceOf(planned, line)
    // The first name of a way is its shortest.
    if (choice && !found.has(choice.key)) found.set(choice.key, choice)
  }
  const tried = async (change: Partial<UndoRequest>): Promise<UndoPlan | undefined> => {
    try {
      return await planUndo(parts, { ...request, ...change })
    } catch (error) {
      if (!isFailure(error, 'conflict', 'integrity.missing', 'unsupported')) throw error
      return undefined
    }
  }
  const alone = request.needed === 'refuse' ? plan : await tried({ needed: 'refuse' })
  add(alone, words)
  if (alone === undefined)
    for (const [needed, option] of [
      ['take along', '--with-dependents'],
      ['keep', '--keep-needed'],
    ] as const)
      add(needed === request.needed ? plan : await tried({ needed }), [...words, option])
  const later = request.kind === 'undo' ? fromThen(parts.listed, one) : []
  if (later.length > 1 && later.length <= laterMax)
    add(await tried({ subject: later.map(({ entry }) => entry), transactions: later, needed: 'refuse' }), [
      'undo',
      '--to-before',
      entryWord(one.entry),
    ])
  return [...found.values()].toSorted(
    (left, right) =>
      Math.floor(left.bytes / alikeBytes) - Math.floor(right.bytes / alikeBytes) ||
      left.transactions - right.transactions ||
      left.paths - right.paths ||
      left.packages - right.packages,
  )
}

/** Lists of packages are written by every way, some entries longer or shorter: that is no difference in price. */
const alikeBytes = 64 * 1024

/**
 * It and all later ones, undos and redos among them: one after the other they lead back to what was before it. What an undo among them took back whole is
 * left out together with that undo only where a record of theirs lacks something: nothing is left of either.
 */
export function fromThen(
  listed: readonly ListedTransaction[],
  one: ListedTransaction,
): readonly ListedTransaction[] {
  const range = listed.slice(listed.indexOf(one))
  const byId = new Map(range.map((each) => [each.entry.id, each]))
  const leftOut = new Set<ListedTransaction>()
  for (const undo of range.toReversed()) {
    const { takesBack, inPart } = undo.document
    if (leftOut.has(undo) || takesBack === undefined || inPart === true) continue
    const taken = takesBack.map((id) => byId.get(id))
    if (!taken.every((each) => each !== undefined && !leftOut.has(each))) continue
    const group = [undo, ...taken.filter((each) => each !== undefined)]
    if (group.some(({ document }) => !document.complete)) for (const each of group) leftOut.add(each)
  }
  return range.filter((each) => !leftOut.has(each))
}

function choiceOf(
  { paths, packages, bytes, transactions, keptPackages, regenerations }: UndoPlan,
  words: readonly string[],
): (UndoChoice & { readonly key: string }) | undefined {
  if (paths.paths.length + regenerations.length === 0) return undefined
  return {
    key: JSON.stringify([transactions.map(({ entry }) => entry.id), keptPackages]),
    words,
    bytes,
    paths: paths.paths.length,
    packages: packages.length,
    transactions: transactions.length,
  }
}
