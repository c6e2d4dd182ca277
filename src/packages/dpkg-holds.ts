// Which packages were put on hold between two states of dpkg's list, as apt-mark(8) does: a change of one word in it.
import { paragraphs } from './package-records.ts'

export interface ChangedHolds {
  readonly held: readonly string[]
  readonly released: readonly string[]
}

/** Of two texts of the status file. What came or went meanwhile is more than a hold, and is left out. */
export function changedHolds(before: string, after: string): ChangedHolds {
  const [was, is] = [holdsIn(before), holdsIn(after)]
  const turned = (hold: boolean) =>
    [...is].flatMap(([key, { name, isHeld }]) =>
      isHeld === hold && was.get(key)?.isHeld === !hold ? [name] : [],
    )
  return { held: turned(true), released: turned(false) }
}

const keys = new Set(['Package', 'Architecture', 'Status'])

function holdsIn(status: string): ReadonlyMap<string, { readonly name: string; readonly isHeld: boolean }> {
  const found = new Map<string, { name: string; isHeld: boolean }>()
  for (const fields of paragraphs(status, keys)) {
    const name = fields.get('Package')
    const isHeld = fields.get('Status')?.split(/\s+/)[0] === 'hold'
    if (name !== undefined) found.set(`${name}:${fields.get('Architecture')}`, { name, isHeld })
  }
  return found
}
