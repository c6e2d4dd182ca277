// `vml copy`: entries of one logbook go into another, under the ids that they have, and only what is missing there is moved.
import { isFailure, type VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import type { Snapshot } from '../model/entry.ts'
import { type EntryId, parseId, type SnapshotId, type TreeId } from '../model/ids.ts'
import { isDamage } from '../store/damage.ts'
import type { Writer } from '../store/store.ts'
import {
  entryName,
  importedTag,
  isImported,
  type LoggedEntry,
  lostTag,
  type OpenLogbook,
  revisionOf,
} from './entries.ts'
import { requireProven } from './proven-entries.ts'
import { type CopyCounts, openTreeCopier, type TreeCopier } from './tree-copier.ts'

/**
 * `copy`: the target does not have it. `update`: it has the same content, and title, note or tags were edited here since.
 * `there`: nothing to do. `differs`: under this id it has other content, as after `share --scrub`, and keeps it.
 * `heal`: it has the same less what damage took from it (see copy-heal.ts), and gets it whole.
 */
export type CopyStep = 'copy' | 'update' | 'heal' | 'there' | 'differs'

export interface PlannedCopy {
  readonly entry: LoggedEntry
  readonly step: CopyStep
  /** What the target has of it. */
  readonly present: LoggedEntry | undefined
  /** Its number in the target: its own, unless another entry has that one there. */
  readonly number: number | undefined
}

export interface CopyPlan {
  /** Oldest first. */
  readonly copies: readonly PlannedCopy[]
  /** Marks what is new as somebody else's. */
  readonly imported: boolean
}

export interface CopyOutcome extends PlannedCopy {
  /** `edited`: the older form could not be taken away, since others use the target; the newer one counts. */
  readonly outcome: 'copied' | 'updated' | 'edited' | 'healed' | 'there' | 'differs' | 'damaged'
  readonly damage?: VmlError
}

export interface CopyContext {
  readonly from: OpenLogbook
  readonly into: OpenLogbook
  /** All entries of both. */
  readonly present: readonly LoggedEntry[]
  readonly source: readonly LoggedEntry[]
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

/** Snapshots are written when so much waits for them, so that many small entries share their packs. */
const groupBytesMax = 256 * 1024 * 1024
const groupEntriesMax = 100

/** A number that is taken in the target is replaced by one above all numbers of both logbooks, which thus stays free for no other entry. */
export function planCopy(
  chosen: readonly LoggedEntry[],
  {
    source,
    present,
    imported = false,
    highestNumber = 0,
  }: Pick<CopyContext, 'source' | 'present'> & {
    readonly imported?: boolean
    /** The highest that the target ever had. */
    readonly highestNumber?: number
  },
): CopyPlan {
  const byId = new Map(present.map((entry) => [entry.id, entry]))
  const taken = new Set(present.flatMap(({ number }) => number ?? []))
  let highest = [...present, ...source].reduce((sum, { number = 0 }) => Math.max(sum, number), highestNumber)
  const unique = [...new Map(chosen.map((entry) => [entry.id, entry])).values()]
  unique.sort((left, right) => left.takenAt.getTime() - right.takenAt.getTime())
  const copies = unique.map((entry): PlannedCopy => {
    const known = byId.get(entry.id)
    if (known) return { entry, step: stepFor(entry, known), present: known, number: known.number }
    const { number } = entry
    const free = number === undefined || !taken.has(number)
    const given = free ? number : ++highest
    if (given !== undefined) taken.add(given)
    return { entry, step: 'copy', present: undefined, number: given }
  })
  return { copies, imported }
}

function stepFor(entry: LoggedEntry, known: LoggedEntry): CopyStep {
  if (entry.snapshot.tree !== known.snapshot.tree) return 'differs'
  return revisionOf(entry.snapshot) > revisionOf(known.snapshot) ? 'update' : 'there'
}

/** What would be moved: reads folders, writes nothing. `skip` counts nothing of an entry whose folders cannot be read. */
export async function measureCopy(
  { copies }: Pick<CopyPlan, 'copies'>,
  context: CopyContext,
  { damaged = 'fail' }: { readonly damaged?: 'fail' | 'skip' } = {},
): Promise<CopyCounts> {
  const { from, into, reporter, signal } = context
  const copier = await openTreeCopier({
    from: from.repository,
    into: into.repository,
    writer: undefined,
    reporter,
    signal,
  })
  const bases = basesOf(context.present)
  for (const { entry, step } of copies) {
    if (step !== 'copy' && step !== 'heal') continue
    const damage = await copyOrDamage(copier, entry.snapshot.tree, bases.nearest(entry))
    if (!damage) bases.add(entry)
    else if (damaged === 'fail') throw damage
  }
  return copier.counts
}

export interface CopyResult {
  readonly outcomes: readonly CopyOutcome[]
  readonly counts: CopyCounts
  /** Bytes added to the target. */
  readonly storedBytes: number
}

/**
 * Contents, then the folders that name them, then the index, then the snapshot: the target shows an entry only when all of it is durable
 * there. Cut off anywhere, what is there is found by the next copy, which goes on.
 * An entry that cannot be read whole is left out, and the others go on.
 */
export async function runCopy(
  plan: CopyPlan,
  context: CopyContext & { readonly onOutcome?: (outcome: CopyOutcome) => void },
): Promise<CopyResult> {
  const { from, into, reporter, signal, onOutcome } = context
  const outcomes: CopyOutcome[] = []
  const tell = (outcome: CopyOutcome) => {
    outcomes.push(outcome)
    onOutcome?.(outcome)
  }
  const moved = plan.copies.filter(({ step }) => step === 'copy' || step === 'update' || step === 'heal')
  await requireProvenSides(moved, context)
  for (const planned of plan.copies)
    if (planned.step === 'there' || planned.step === 'differs') tell({ ...planned, outcome: planned.step })
  if (moved.length === 0) return { outcomes, counts: { blobs: 0, trees: 0, bytes: 0 }, storedBytes: 0 }

  // Folders are a small part of what is moved, and are then read where they were kept: it costs little to know how long it takes.
  const { bytes: bytesTotal } = await measureCopy({ copies: moved }, context, { damaged: 'skip' })
  let counts: CopyCounts
  let storedBytes: number
  const outdated: { readonly planned: PlannedCopy; readonly snapshots: readonly SnapshotId[] }[] = []
  {
    await using writer = await into.repository.beginWrite({ signal })
    let inHand = ''
    const copier = await openTreeCopier({
      from: from.repository,
      into: into.repository,
      writer,
      reporter,
      signal,
      item: () => inHand,
      bytesTotal,
    })
    // Where packs are gone, an entry of the target proves nothing: every folder is looked into, and what is missing comes.
    const sound = writer.hasAll(new Set())
    if (!sound) {
      reporter.warn({
        warning: `"${into.repository.location}" lacks packs that its index names: what the copied entries need of them is copied again; run vml check there for those that were there before`,
      })
    }
    const bases = basesOf(sound ? await stillThere(context) : [])
    const commit = openCommits(plan, context, writer)
    let group: PlannedCopy[] = []
    let groupStart = 0
    const commitGroup = async () => {
      for (const planned of group) {
        await commit(planned)
        if (planned.present)
          outdated.push({ planned, snapshots: [planned.present.snapshot.id, ...planned.present.twins] })
        else tell({ ...planned, outcome: 'copied' })
      }
      group = []
      groupStart = copier.counts.bytes
    }
    for (const [at, planned] of moved.entries()) {
      const { entry } = planned
      inHand = `${entryName(entry)} (${at + 1} of ${moved.length})`
      const damage = await copyOrDamage(copier, entry.snapshot.tree, bases.nearest(entry))
      if (damage) {
        tell({ ...planned, outcome: 'damaged', damage })
        continue
      }
      bases.add(entry)
      group.push(planned)
      if (group.length >= groupEntriesMax || copier.counts.bytes - groupStart >= groupBytesMax)
        await commitGroup()
    }
    await commitGroup()
    ;({ counts } = copier)
    ;({ storedBytes } = writer.statistics())
  }
  for (const { planned, snapshots } of outdated) {
    const removed = await removeOutdated(into, snapshots)
    // The whole form counts from its commit on, whether the other could be taken away or not.
    tell({ ...planned, outcome: planned.step === 'heal' ? 'healed' : removed ? 'updated' : 'edited' })
  }
  return { outcomes, counts, storedBytes }
}

/** What is written and what is taken away is what the logbooks say, not what this computer remembers of them. */
async function requireProvenSides(
  moved: readonly PlannedCopy[],
  { from, into, reporter, signal }: CopyContext,
): Promise<void> {
  const options = { reporter, signal, damaged: 'warn' } as const
  await requireProven(
    from,
    moved.map(({ entry }) => entry),
    options,
  )
  await requireProven(
    into,
    moved.flatMap(({ present }) => present ?? []),
    options,
  )
}

/** Asked under the writer's lock: what was removed since it was listed may be gone with all its packs, and proves nothing any more. */
async function stillThere({ into, present, signal }: CopyContext): Promise<LoggedEntry[]> {
  const ids = new Set(await Array.fromAsync(into.repository.snapshotIds({ signal })))
  return present.filter(({ snapshot }) => ids.has(snapshot.id))
}

/** The damage of the source, where that is why an entry cannot be copied. */
async function copyOrDamage(
  copier: TreeCopier,
  tree: TreeId,
  base: TreeId | undefined,
): Promise<VmlError | undefined> {
  try {
    await copier.copy(tree, { base })
    return undefined
  } catch (error) {
    if (!isDamage(error)) throw error
    copier.reset()
    return error
  }
}

function openCommits(plan: CopyPlan, context: CopyContext, writer: Writer) {
  const { into, source, present, signal } = context
  const entryOf = new Map<string, EntryId>()
  for (const { id, snapshot, twins } of source)
    for (const known of [snapshot.id, ...twins]) entryOf.set(known, id)
  const inTarget = new Map(present.map((entry) => [entry.id, entry.snapshot.id]))

  return async (planned: PlannedCopy): Promise<void> => {
    const { entry, number, present: known } = planned
    const { id, parent, ...kept } = planned.step === 'heal' && known ? healed(entry, known) : entry.snapshot
    // A parent is named by its snapshot, which is another one in the target.
    const parentEntry = parent && (entryOf.get(parent) ?? parseId<EntryId>(parent))
    const parentThere = parentEntry && inTarget.get(parentEntry)
    const mark = known ? isImported(known) : plan.imported
    const written = await writer.commit(
      {
        ...kept,
        ...(parentThere ? { parent: parentThere } : {}),
        original: entry.snapshot.original ?? id,
        tags: tagsFor(kept.tags, { entry, number, mark }),
      },
      { signal },
    )
    inTarget.set(entry.id, written.id)
    into.catalog.put([{ snapshot: written, facts: entry.facts }])
    if (number !== undefined) into.catalog.raiseNumber(number)
  }
}

/** The content from here, what was edited last from here or there; its revision is above both, so that it counts as soon as it is there. */
function healed({ snapshot }: LoggedEntry, { snapshot: known }: LoggedEntry): Snapshot {
  const { description: _before, ...fields } = snapshot
  const { tags, description } = revisionOf(known) > revisionOf(snapshot) ? known : snapshot
  const kept = tags.filter((tag) => tag !== lostTag && !tag.startsWith('vml:rev='))
  const revision = Math.max(revisionOf(known), revisionOf(snapshot)) + 1
  return {
    ...fields,
    tags: [...kept, `vml:rev=${revision}`],
    ...(description === undefined ? {} : { description }),
  }
}

/** The tags as they are, so that stock `restic copy` finds the entry copied; but for a number that another entry has in the target. */
function tagsFor(
  own: readonly string[],
  {
    entry,
    number,
    mark,
  }: { readonly entry: LoggedEntry; readonly number: number | undefined; readonly mark: boolean },
): string[] {
  const tags = own.filter((tag) => tag !== importedTag || mark || isImported(entry))
  const numbered =
    number === undefined || number === entry.number
      ? tags
      : [...tags.filter((tag) => !tag.startsWith('vml:n=')), `vml:n=${number}`]
  return mark && !numbered.includes(importedTag) ? [...numbered, importedTag] : numbered
}

/** Needs the target alone for a moment; where others use it, both forms stand for the entry and the newer one counts. */
async function removeOutdated(into: OpenLogbook, snapshots: readonly SnapshotId[]): Promise<boolean> {
  try {
    await using _lock = await into.repository.lock('exclusive', { watch: false })
    for (const id of snapshots) await into.repository.removeSnapshot(id)
    into.catalog.remove(snapshots)
    return true
  } catch (error) {
    if (isFailure(error, 'store.locked')) return false
    throw error
  }
}

/** Trees that are whole in the target, by the machine they are of: the nearest in time is the most alike. */
function basesOf(present: readonly LoggedEntry[]) {
  const byMachine = new Map<string, { readonly at: number; readonly tree: TreeId }[]>()
  const add = ({ machine, kind, takenAt, snapshot }: LoggedEntry) => {
    const base = { at: takenAt.getTime(), tree: snapshot.tree }
    const key = `${kind} ${machine}`
    const known = byMachine.get(key)
    if (known) known.push(base)
    else byMachine.set(key, [base])
  }
  for (const entry of present) add(entry)
  return {
    add,
    nearest({ machine, kind, takenAt }: LoggedEntry): TreeId | undefined {
      const distance = ({ at }: { readonly at: number }) => Math.abs(at - takenAt.getTime())
      const all = byMachine.get(`${kind} ${machine}`) ?? []
      return all.reduce<(typeof all)[number] | undefined>(
        (best, base) => (best && distance(best) <= distance(base) ? best : base),
        undefined,
      )?.tree
    },
  }
}
