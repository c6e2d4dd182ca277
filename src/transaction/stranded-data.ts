// Data of services that an undo leaves without its program: another package of that service, such as an older major version, does not read it.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { dataOf, type StateHook } from '../model/state-hook.ts'
import type { PackageTransition } from '../model/transaction-record.ts'
import { dataFolders, lookAtData } from './state-transfer-plan.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import type { Workplace } from './workplace.ts'

export interface StrandedData {
  readonly hook: StateHook
  /** That goes. */
  readonly package: string
  /** Of the same service, and there afterwards. */
  readonly others: readonly string[]
  readonly data: readonly RawPath[]
  readonly bytes: number
}

/**
 * Of packages that go, where the data was used since `transactions`, newest first. It is no matter for `planStateTransfers`: the other package has data of its own,
 * which the first may have begun with, or may never have had to do with, and only its administrator knows which. Reads only.
 */
export async function findStrandedData(
  place: Workplace,
  hooks: readonly StateHook[],
  transactions: readonly ReadTransaction[],
  {
    packages,
    transitions,
  }: {
    /** Names of those that are there now. */
    readonly packages: readonly string[]
    readonly transitions: readonly PackageTransition[]
  },
): Promise<readonly StrandedData[]> {
  const going = transitions.filter(({ to }) => to === undefined).map(({ name }) => name)
  const staying = new Set([...packages, ...transitions.map(({ name }) => name)])
  for (const name of going) staying.delete(name)
  const found: StrandedData[] = []
  for (const name of going)
    for (const hook of hooks) {
      const others = [...staying].filter((other) => isOtherVersion(hook, name, other)).toSorted()
      if (others.length === 0) continue
      const data = dataFolders(place, hook, name)
      if (data.length === 0) continue
      const { bytes, isUsed } = await lookAtData(place, data, transactions)
      if (isUsed) found.push({ hook, package: name, others, data, bytes })
    }
  return found
}

/** Versions that are packages of their own have names that differ in numbers alone; postgresql-common is none of postgresql-17. */
function isOtherVersion(hook: StateHook, name: string, other: string): boolean {
  const [own, others] = [dataOf(hook, name), dataOf(hook, other)]
  return own !== undefined && others !== undefined && other !== name && wordsOf(other) === wordsOf(name)
}

function wordsOf(name: string): string {
  return name.replaceAll(/\d+/g, '0')
}

/** Nobody is to find out afterwards that what was written since is where no program reads it. */
export function requireNoneStranded(what: string, stranded: readonly StrandedData[]): void {
  const [first] = stranded
  if (first === undefined) return
  const [other = ''] = first.others
  const place = first.data.map(printable).join(', ')
  const byHand = first.hook.byHand?.({ from: first.package, to: other })
  throw new VmlError(
    'conflict',
    `Cannot ${what}: ${first.package} would go, and what was written to its data since would stay in ${place}, where ${other} does not read it`,
    {
      details: {
        stranded: stranded.map(({ package: name, others, data }) => ({
          package: name,
          others,
          data: data.map(printable),
        })),
      },
      hint: `Nothing was changed. --leave-data goes on, and leaves it there${byHand === undefined ? '' : `; to have it in ${other} first: ${byHand}`}`,
    },
  )
}
