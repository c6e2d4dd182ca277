// Where what stood at a path before a change lies until the change is recorded.
import { firstFew } from '../base/first-few.ts'
import { printable, type RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { filesThatStay, keptAt } from '../stage/commit.ts'
import { type CommitDisk, isSameThing } from '../stage/commit-disk.ts'
import { forgetJournal } from '../stage/forget-journal.ts'
import type { Journal } from '../stage/journal.ts'
import type { Workplace } from './workplace.ts'

export interface KeptBefore {
  /** Of the commit that moved it aside. */
  readonly journal?: Journal
  /** Undefined where nothing stood, or what stood there could not be kept. */
  at(path: RawPath): RawText | undefined
  /** Why not. */
  lost(path: RawPath): string
  /** The record has all of it now. Tells what somebody had put into a folder that went, or written into a file that did, and was put back. */
  forget(): readonly RawPath[]
}

export function keptByJournal(
  disk: CommitDisk,
  journal: Journal,
  /** Of files that stay themselves: what lies at their paths is written to. */
  copies: ReadonlyMap<RawPath, RawText> = new Map(),
): KeptBefore {
  const stays = filesThatStay(journal, copies)
  return {
    journal,
    at: (path) => (stays.has(path) ? copies.get(path) : undefined) ?? keptAt(journal, path),
    lost: () => 'it was not kept when it was replaced',
    forget: () => forgetJournal(disk, journal),
  }
}

/** Of files that were moved while a program has them open, by their old paths: what is kept is written to, and the stage has a copy, unless that was used itself. */
export function withCopies(
  disk: CommitDisk,
  kept: KeptBefore,
  copies: ReadonlyMap<RawPath, RawText>,
): KeptBefore {
  return {
    ...kept,
    at(path) {
      const [own, copy] = [kept.at(path), copies.get(path)]
      const [is, other] = [own, copy].map((at) => at && disk.look(at))
      return copy && other && !(is && isSameThing(is, other)) ? copy : own
    },
  }
}

export function tellCame({ reporter }: Pick<Workplace, 'reporter'>, came: readonly RawPath[]): void {
  if (came.length === 0) return
  reporter.warn({
    warning: `What was written meanwhile into what the transaction removed or replaced was put back: ${firstFew(came, namedMax, printable)}`,
  })
}

/** On one line of a terminal or so. */
const namedMax = 10
