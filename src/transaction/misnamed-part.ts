// Refuses a machine of which a part of the system is seen at a second path that would name its changes.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { misnamedPart, type MountPlan } from '../stage/mount-plan.ts'
import { planMountsNow } from './open-stage.ts'
import type { Workplace } from './workplace.ts'

/** Of this machine, whether with a stage or without. Where nothing was ever made no state folder is there, and nothing to be planned. */
export function requireOwnNamesHere(place: Workplace): void {
  const planned = planMountsNow(place, { live: true })
  if (planned.kind === 'stage') requireOwnNames(planned.plan, 'this machine')
}

export function requireOwnNames(plan: MountPlan, machine: string): void {
  const part = misnamedPart(plan)
  if (part === undefined) return
  const [path, of] = [printable(part.path), printable(part.of)]
  throw new VmlError(
    'unsupported',
    `Cannot record or take back transactions of ${machine}: "${path}" and "${of}" are the same folder, and changes in it would be told as of "${of}"`,
    {
      details: { path, same_as: of },
      hint: `Nothing was changed by this. Have it at "${path}" alone: a folder there, a file system or a subvolume of its own, or "${of}" covered by another mount`,
    },
  )
}
