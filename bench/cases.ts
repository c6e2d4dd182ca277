// The table of cases, and what a word of the command line asks for: `small`, or one of its steps, `small-restore`.
import type { Case } from './case.ts'
import { memoryCase, noopCase } from './case-blobs.ts'
import { costCase } from './case-cost.ts'
import { growthCase } from './case-growth.ts'
import { peersCase } from './case-peers.ts'
import { saveCases } from './case-saves.ts'
import { sshCase } from './case-ssh.ts'
import { startCase } from './case-start.ts'
import { transactionsCase } from './case-transactions.ts'

export const cases: ReadonlyMap<string, Case> = new Map([
  ...Object.entries(saveCases),
  ['noop', noopCase],
  ['memory', memoryCase],
  ['growth', growthCase],
  ['ssh', sshCase],
  ['start', startCase],
  ['transactions', transactionsCase],
  ['cost', costCase],
  ['peers', peersCase],
])

/** Which steps of which cases; undefined for a word that names none. */
export function chooseCases(words: readonly string[]): ReadonlyMap<string, ReadonlySet<string>> | undefined {
  const chosen = new Map<string, Set<string>>()
  for (const word of words) {
    const [name = '', step, ...rest] = word.split('-')
    const found = cases.get(name)
    if (!found || rest.length > 0 || (step !== undefined && !found.steps.includes(step))) return undefined
    const steps = chosen.get(name) ?? new Set()
    for (const one of step === undefined ? found.steps : [step]) steps.add(one)
    chosen.set(name, steps)
  }
  return chosen
}

export function describeCases(): string {
  return [...cases]
    .map(([name, { title, steps }]) => {
      const words =
        steps.length === 0 ? '' : `\n           ${steps.map((step) => `${name}-${step}`).join(' ')}`
      return `  ${name.padEnd(8)} ${title}${words}`
    })
    .join('\n')
}
