// Packages that are pinned and that an undo would change: refused, or told.
import { VmlError } from '../base/failure.ts'
import type { PackagePins } from '../packages/package-pins.ts'
import type { UndoPlan } from '../transaction/undo.ts'
import { shown } from './options.ts'
import type { Output } from './output.ts'

export interface PinnedUndo {
  /** Completes "Cannot …". */
  readonly doing: string
  /** `--pinned`: they change all the same. */
  readonly pinned: boolean
  readonly dryRun: boolean
  /** Lets them change. */
  readonly howToUnpin: (names: string) => string
}

/** Names of those that it would change. Fails with `conflict` where they must not; a dry run says it (`printPinned`). */
export async function pinnedAmong(
  { packages }: UndoPlan,
  pins: () => Pick<PackagePins, 'list' | 'holds'>,
  { doing, pinned: isMeant, dryRun, howToUnpin }: PinnedUndo,
): Promise<readonly string[]> {
  if (packages.length === 0) return []
  const tool = pins()
  const list = await tool.list()
  const pinned = packages.filter((change) => tool.holds(list, change)).map(({ name }) => name)
  if (pinned.length === 0 || isMeant || dryRun) return pinned
  const [is, them] = pinned.length === 1 ? ['is', 'it'] : ['are', 'them']
  throw new VmlError(
    'conflict',
    `Cannot ${doing}: it would change ${pinned.join(', ')}, which ${is} pinned`,
    {
      details: { pinned },
      hint: `Nothing was changed. --pinned does it all the same; ${howToUnpin(pinned.join(' '))} lets ${them} change`,
    },
  )
}

export function printPinned(out: Output, pinned: readonly string[], isMeant: boolean): void {
  if (pinned.length > 0)
    out.line(`  pinned: ${pinned.map(shown).join(', ')}${isMeant ? '' : '; only with --pinned'}`)
}
