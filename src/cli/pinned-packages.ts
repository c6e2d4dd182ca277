// Packages that are pinned and that an undo would change: refused, or told.
import { VmlError } from '../base/failure.ts'
import type { PackagePins } from '../packages/package-pins.ts'
import type { UndoPlan } from '../transaction/undo.ts'
import { shown } from './options.ts'
import type { Output } from './output.ts'

export interface PinnedUndo {
  /** Completes "Cannot …". */
  readonly doing: string
  readonly pinned: boolean
  readonly dryRun: boolean
  /** Lets them change. */
  readonly howToUnpin: (names: string) => string
}

/** `conflict` without `--pinned`; a dry run says it. */
export async function lookAtPinned(
  out: Output,
  plan: UndoPlan,
  pins: () => Pick<PackagePins, 'list'>,
  { doing, pinned: isMeant, dryRun, howToUnpin }: PinnedUndo,
): Promise<void> {
  const pinned = plan.packages.length > 0 ? await pinnedAmong(plan, pins()) : []
  if (pinned.length === 0) return
  const [is, them] = pinned.length === 1 ? ['is', 'it'] : ['are', 'them']
  if (!isMeant && !dryRun)
    throw new VmlError(
      'conflict',
      `Cannot ${doing}: it would change ${pinned.join(', ')}, which ${is} pinned`,
      {
        details: { pinned },
        hint: `Nothing was changed. --pinned does it all the same; ${howToUnpin(pinned.join(' '))} lets ${them} change`,
      },
    )
  out.line(`  pinned: ${pinned.map(shown).join(', ')}${isMeant ? '' : '; only with --pinned'}`)
}

/** The tool may name one with its architecture. */
async function pinnedAmong(
  { packages }: UndoPlan,
  pins: Pick<PackagePins, 'list'>,
): Promise<readonly string[]> {
  const pinned = new Set(await pins.list())
  return packages
    .filter(({ name, architecture }) => pinned.has(name) || pinned.has(`${name}:${architecture}`))
    .map(({ name }) => name)
}
