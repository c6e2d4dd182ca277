// Packages that are pinned and that an undo would change: refused, or told.
import { VmlError } from '../base/failure.ts'
import type { PackagePins } from '../packages/package-pins.ts'
import type { UndoPlan } from '../transaction/undo.ts'
import { shown } from './options.ts'
import type { Output } from './output.ts'

export interface PinnedUndo {
  /** Completes "Cannot …". */
  readonly doing: string
  /** Lets them change. */
  readonly howToUnpin: (names: string) => string
}

/** Names of those that it would change. */
export async function pinnedAmong(
  { packages }: UndoPlan,
  pins: () => Pick<PackagePins, 'list' | 'holds'>,
): Promise<readonly string[]> {
  if (packages.length === 0) return []
  const tool = pins()
  const list = await tool.list()
  return packages.filter((change) => tool.holds(list, change)).map(({ name }) => name)
}

/** Fails with `conflict` where they must not change. With `--pinned` nobody asks. */
export function requireNonePinned(pinned: readonly string[], { doing, howToUnpin }: PinnedUndo): void {
  if (pinned.length === 0) return
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
