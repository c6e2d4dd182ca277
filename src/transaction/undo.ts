// `vml tx undo`: what it would do, decided before anything is changed: paths, packages, and whether they can stand together.
import { isFailure, VmlError } from '../base/failure.ts'
import { printable, printableText } from '../base/raw-text.ts'
import { isWithin, type RawPath, rootPath } from '../model/raw-path.ts'
import { regenerations, type RegenerationCommand, ruleOf } from '../model/regeneration.ts'
import type { StateHook } from '../model/state-hook.ts'
import type { PackageTransition, TakenBack } from '../model/transaction-record.ts'
import { type BrokenDependency, describeBroken } from '../packages/broken-dependency.ts'
import { withoutUsr } from '../packages/merged-folders.ts'
import { unitsOfPaths } from '../packages/services.ts'
import { requireMounted } from './away-mounts.ts'
import { type BesideFile, planBeside } from './beside-files.ts'
import { entryName, entryNames, entryWord, type LoggedEntry, type OpenLogbook } from '../engine/entries.ts'
import { type OwnFile, planFurtherNames } from './further-names.ts'
import { diversionsPath, maybeOf, whoseDiversions } from './maybe-kept.ts'
import {
  ownersOf,
  type PackagesNow,
  readPackagesNow,
  systemOf,
  type SystemTransitions,
} from './packages-now.ts'
import { findMixedData, type MixedData } from './mixed-data.ts'
import { planStateTransfers, type StateTransfer } from './state-transfer-plan.ts'
import { findForeignNumbers, type ForeignNumber } from './foreign-numbers.ts'
import { findStrandedData, type StrandedData } from './stranded-data.ts'
import type { TransactionContents } from './transaction-contents.ts'
import { type ReadTransaction, readTransaction } from './transaction-entry.ts'
import { inForceSince, type ListedTransaction } from './transactions.ts'
import {
  type PlannedContent,
  planUndoPaths,
  requireParents,
  type UndoConflict,
  type UndoPaths,
} from './undo-plan.ts'
import { planAlternatives } from './undo-alternatives.ts'
import { type Misplaced, planDiversions } from './undo-diversions.ts'
import { type PackageUndo, planPackages } from './undo-packages.ts'
import { openUndoView } from './undo-view.ts'
import { pathIn, type Workplace } from './workplace.ts'

export interface UndoRequest {
  readonly kind: 'undo' | 'redo'
  /** What is taken back or brought back, as the user named it: of a redo the undo of it is taken back. */
  readonly subject: readonly LoggedEntry[]
  /** Newest first. */
  readonly transactions: readonly ListedTransaction[]
  /** Overwrite data of services that changed since. */
  readonly data: boolean
  /** What is to be done where later transactions need what these brought. */
  readonly needed: 'refuse' | 'take along' | 'keep'
  /** By the scripts of packages: contents come from those, and the record need not have any. */
  readonly scripts?: boolean
}

export interface UndoParts {
  readonly place: Workplace
  readonly logbook: OpenLogbook
  /** All of this machine, oldest first. */
  readonly listed: readonly ListedTransaction[]
  readonly contents: TransactionContents
  /** Without them data of services is left as it is. */
  readonly stateHooks?: readonly StateHook[]
  /** Of a machine whose disk is not called from here. */
  readonly openView?: typeof openUndoView
}

export interface UndoPlan {
  readonly kind: UndoRequest['kind']
  /** What it is told as: what was named, and of an undo what was taken along, too. */
  readonly subject: readonly LoggedEntry[]
  /** Of a redo: what else comes back, since it was taken back together with the subject. Oldest first. */
  readonly together: readonly LoggedEntry[]
  /** Those that are taken back: what was asked for, and what was taken along. Newest first. */
  readonly transactions: readonly ReadTransaction[]
  readonly paths: UndoPaths
  /** Both sides of what stays as it is. */
  readonly beside: readonly BesideFile[]
  /** What comes back as a file of its own, and was a name of one that is another now, or out of reach. */
  readonly ownFiles: readonly OwnFile[]
  /** Data of services of which a part comes back and another part was written since. */
  readonly mixed: readonly MixedData[]
  /** What becomes of packages. */
  readonly packages: readonly PackageTransition[]
  /** The same by the system that knows them. */
  readonly systems: readonly SystemTransitions[]
  /** Packages that stay though the transaction brought them, since others need them, or changed them again. */
  readonly keptPackages: readonly string[]
  /** Those of them that stay since they were changed again. */
  readonly changedAgain: readonly string[]
  readonly regenerations: readonly RegenerationCommand[]
  /** Units of which files change. */
  readonly units: readonly string[]
  /** Data of services that is brought to the form of another version. */
  readonly transfers: readonly StateTransfer[]
  /** Data of services that stays, and that nothing reads any more: see `requireNoneStranded`. */
  readonly stranded: readonly StrandedData[]
  /** Paths that are left with the number of somebody else, or of nobody. */
  readonly foreign: readonly ForeignNumber[]
  /** What is written to the machine: contents of files that come back, are merged or put beside, and data that is transferred. */
  readonly bytes: number
}

/** What the record of it says. */
export function takenBackBy({
  transactions,
  paths,
  keptPackages,
}: Pick<UndoPlan, 'transactions' | 'paths' | 'keptPackages'>): TakenBack {
  const takesBack = transactions.map(({ entry }) => entry.id)
  return paths.conflicts.length + keptPackages.length === 0 ? { takesBack } : { takesBack, inPart: true }
}

/** Each turn takes along, or keeps, at least one more. */
const turnsMax = 1000
const database = pathIn(rootPath, '/var/lib/dpkg')

/**
 * Reads only. Fails with `conflict` where the packages could not stand together, or where a later transaction changed the same package
 * again, naming both; `integrity.missing` where a pre-image cannot be had.
 */
export async function planUndo(parts: UndoParts, request: UndoRequest): Promise<UndoPlan> {
  const chosen = new Set(request.transactions)
  const staying = new Map<string, Block['why']>()
  for (let turn = 0; turn < turnsMax; turn++) {
    const plan = await planOnce(parts, request, [...chosen], staying)
    if ('plan' in plan) {
      requireAny(plan.plan)
      return plan.plan
    }
    if (request.needed === 'refuse') throw refused(request, plan.blocks)
    let progress = false
    for (const block of plan.blocks) {
      if (request.needed === 'keep') {
        for (const name of block.keep)
          if (!staying.has(name)) progress = staying.set(name, block.why).size > 0
      } else if (block.by && !chosen.has(block.by)) progress = chosen.add(block.by).size > 0
    }
    if (!progress) throw refused(request, plan.blocks)
  }
  throw new TypeError('A plan of an undo does not come to an end')
}

/** An undo that leaves all of it is none, and no success. */
function requireAny(plan: UndoPlan): void {
  const { kind, subject, paths, beside, keptPackages, changedAgain, regenerations: anew } = plan
  const stays = [
    ...keptPackages.map((name) =>
      changedAgain.includes(name) ? `${name} was changed again since` : `${name} is still needed`,
    ),
    ...paths.conflicts.map(({ path, reason }) => `"${printable(path)}": ${reason}`),
  ]
  // Beside packages that stay, what is made anew is made of what stays.
  const anewCount = keptPackages.length === 0 ? anew.length : 0
  const changed = paths.paths.filter(({ path }) => keptPackages.length === 0 || ruleOf(path) === undefined)
  if (stays.length === 0 || changed.length + beside.length + anewCount > 0) return
  const names = entryNames(subject)
  throw new VmlError(
    'conflict',
    `Cannot ${kind} ${names}: nothing of it can be ${kind === 'undo' ? 'taken' : 'brought'} back:${toldOf(stays)}`,
    {
      details: { kept_packages: keptPackages, paths: paths.conflicts.map(({ path }) => printable(path)) },
      hint: `Nothing was changed. ${whatToDo(plan)}`,
    },
  )
}

/** What has it taken, or brought, back all the same. */
function whatToDo({ subject, paths: { conflicts }, keptPackages }: UndoPlan): string {
  if (keptPackages.length > 0 || conflicts.some(({ isLost, isOwn }) => isLost || isOwn))
    return whatIsKept(subject)
  const it = conflicts.length === 1 ? 'it' : 'them'
  const change = conflicts.every(({ was }) => was === undefined) ? 'remove' : 'change'
  return `Take back first what changed ${it} since, or ${change} ${it} yourself`
}

/** `vml tx show` takes one. */
function whatIsKept([first, ...others]: readonly LoggedEntry[]): string {
  const command = `vml tx show${first ? ` ${entryWord(first)}` : ''}`
  return `${command} tells what is kept of it${others.length > 0 ? ', and so of each of the others' : ''}`
}

/** Why the packages cannot be as the undo would leave them. */
interface Block {
  readonly sentence: string
  readonly why: 'needed' | 'changed again'
  /** The later transaction that needs it, or that changed the same package. */
  readonly by: ListedTransaction | undefined
  /** Packages that would have to stay. */
  readonly keep: readonly string[]
}

async function planOnce(
  parts: UndoParts,
  request: UndoRequest,
  chosen: readonly ListedTransaction[],
  kept: ReadonlyMap<string, Block['why']>,
): Promise<{ readonly plan: UndoPlan } | { readonly blocks: readonly Block[] }> {
  const { place, logbook, contents } = parts
  const staying = new Set(kept.keys())
  const newestFirst = parts.listed.filter((each) => chosen.includes(each)).toReversed()
  const transactions: ReadTransaction[] = []
  for (const { entry } of newestFirst)
    transactions.push(await readTransaction(logbook.repository, entry, { signal: place.signal }))
  requireMounted(
    place,
    transactions.flatMap(({ changes }) => changes.map(({ path }) => path)),
  )
  const packages = await readPackagesNow(place)
  const going = new Set(
    newestFirst
      .flatMap(({ document }) => document.packages.map(({ name }) => name))
      .filter((name) => !staying.has(name)),
  )
  const view = await (parts.openView ?? openUndoView)({
    place,
    transactions,
    contents,
    packages,
    going,
    staying,
  })
  const diverted = await findDiversions(contents, transactions, staying)
  if (diverted === 'both')
    return {
      blocks: [
        {
          sentence: `diversions of ${[...staying].join(', ')} were changed together with others`,
          why: 'changed again',
          by: undefined,
          keep: [],
        },
      ],
    }
  const hooks = request.data ? [] : (parts.stateHooks ?? [])
  const due = await planStateTransfers(place, hooks, transactions, (name) => staying.has(name))
  const byPath = await planUndoPaths(view, {
    transactions,
    data: request.data,
    transferred: due.flatMap(({ data }) => data),
    stays: (_transaction, { owner }) =>
      'package' in owner && owner.package !== undefined && staying.has(owner.package),
    maybeOf: (transaction) =>
      maybeOf(
        {
          staying,
          divertedByKept: diverted,
          databases: place.packageSystems.flatMap(({ databases }) => databases),
          isListed: (path) => ownersOf(packages, path).length > 0,
        },
        transaction,
      ),
  })
  const merged = await planAlternatives(view, transactions, byPath)
  const conflicting = blocksOfConflicts(parts, newestFirst, { conflicts: merged.conflicts, packages })
  if (conflicting.length > 0) return { blocks: conflicting }
  const { paths: placed, misplaced } = await planDiversions(view, contents, {
    ...{ transactions, paths: merged, going },
    ownersOf: (path) => ownersOf(packages, path),
  })
  if (misplaced.length > 0)
    return { blocks: misplaced.map((each) => misplacedBlock(parts, newestFirst, going, each)) }
  requireParents(placed, view.now)
  const planned = await planPackages(parts, { transactions, paths: placed, packages, staying })
  const { changedSince, broken, sentences } = planned
  const stuck = [
    ...changedSince.map((name) => changedBlock(parts, newestFirst, name)),
    ...broken.map((each) => blockOf(parts, newestFirst, each)),
  ]
  if (stuck.length > 0) return { blocks: stuck }
  if (sentences.length > 0)
    throw new VmlError(
      'conflict',
      `Cannot ${request.kind} ${entryNames(request.subject)}: ${sentences.map(printableText).join('; ')}`,
      { hint: 'Nothing was changed' },
    )
  const paths = request.scripts ? planned.paths : await withHadContents(contents, planned.paths)
  if (!request.scripts) await requireWholePackages(planned, paths, request)
  const beside = planBeside(paths, view.now)
  const further = planFurtherNames(view, paths, transactions)
  const stranded = await findStrandedData(place, hooks, transactions, {
    packages: packages.flatMap((state) => state.packages.map(({ name }) => name)),
    transitions: planned.systems.flatMap((system) => system.transitions),
  })
  return {
    plan: {
      ...finish(request, {
        ...{
          transactions,
          planned: {
            ...planned,
            paths: further.paths,
            systems: withTouched(parts, newestFirst, { ...planned, packages }),
          },
          beside,
          ownFiles: further.ownFiles,
          mixed: findMixedData(view, paths, transactions),
          staying,
          due,
          stranded,
        },
        isThere: (path) => view.now(path) !== undefined,
      }),
      together: broughtBackWith(parts, request, newestFirst),
      foreign: await findForeignNumbers(view, contents, paths),
      changedAgain: [...kept].flatMap(([name, why]) => (why === 'changed again' ? [name] : [])).toSorted(),
    },
  }
}

/** With the packages that stay, and of which files are written or go, so that these are compared with them. */
function withTouched(
  { place, listed }: UndoParts,
  chosen: readonly ListedTransaction[],
  { systems, paths, packages }: Pick<PackageUndo, 'systems' | 'paths'> & { readonly packages: PackagesNow },
): readonly SystemTransitions[] {
  const since = inForceSince(
    listed,
    listed.findIndex((each) => chosen.includes(each)),
  )
  const changedBy = new Map(
    since.changes
      .filter((each) => !chosen.includes(each))
      .flatMap(({ entry, document }) =>
        document.packages
          .filter(({ from, to }) => from !== to)
          .map(({ name }) => [name, entryName(entry)] as const),
      ),
  )
  const files = paths.paths.filter(
    ({ path, now, wanted }) =>
      (wanted ?? now)?.type !== 'dir' && !isWithin(path, configuration) && ruleOf(path) === undefined,
  )
  return packages.flatMap((state): readonly SystemTransitions[] => {
    const planned = systems.find(({ system }) => system.manager === state.manager)
    if (planned === undefined) return []
    const { databases } = systemOf(place, state)
    const names = new Set(
      files.flatMap(({ path }) => {
        const isOwn = databases.some((each) => isWithin(path, each))
        if (!isOwn) return state.ownersOf(path)
        // Of a list of paths that comes back, each is the package's own again.
        return state.manager === 'dpkg' ? (state.packageOf(path) ?? []) : []
      }),
    )
    const isChanged = new Set(planned.transitions.map(({ name }) => name))
    const touched = state.packages
      .filter(({ name }) => names.has(name) && !isChanged.has(name))
      .map((each) => ({ package: each, changedBy: changedBy.get(each.name) }))
    return [{ ...planned, touched }]
  })
}

function broughtBackWith(
  { listed }: UndoParts,
  { kind, subject }: UndoRequest,
  chosen: readonly ListedTransaction[],
): readonly LoggedEntry[] {
  const undos = chosen.map(({ entry }) => entry)
  return listed.flatMap(({ entry, undoneBy }) =>
    kind === 'redo' && undoneBy && undos.includes(undoneBy) && !subject.includes(entry) ? [entry] : [],
  )
}

/** Fails where a content that is to come back cannot be had; of what stays as it is, the other side is then left out. */
async function withHadContents(contents: TransactionContents, paths: UndoPaths): Promise<UndoPaths> {
  for (const { content } of paths.paths)
    if (content?.kind === 'before') await contents.requireBefore(content.transaction, content.change)
  const conflicts: UndoConflict[] = []
  for (const conflict of paths.conflicts) {
    const { old, ...rest } = conflict
    const isHad = old?.kind !== 'before' || (await canBeHad(contents, old))
    conflicts.push(
      isHad
        ? conflict
        : { ...rest, isLost: true, reason: `${rest.reason}; what it was before cannot be had any more` },
    )
  }
  return { ...paths, conflicts }
}

/** The transactions of which only packages that stay changed diversions. */
async function findDiversions(
  contents: TransactionContents,
  transactions: readonly ReadTransaction[],
  staying: ReadonlySet<string>,
): Promise<ReadonlySet<ReadTransaction> | 'both'> {
  const found = new Set<ReadTransaction>()
  for (const transaction of transactions) {
    const change = transaction.changes.find(({ path }) => path === diversionsPath)
    if (change === undefined || !transaction.document.packages.some(({ name }) => staying.has(name))) continue
    const before =
      change.before === undefined ? '' : (await contents.before(transaction, change)).toString('latin1')
    const after = change.after === undefined ? Buffer.alloc(0) : await contents.after(transaction, change)
    const whose = after === undefined ? 'both' : whoseDiversions(before, after.toString('latin1'), staying)
    if (whose === 'both') return 'both'
    if (whose === 'kept') found.add(transaction)
  }
  return found
}

/** A package that comes back, or gets another version, without one of its own files is none, and with one of another version it is half of each. */
async function requireWholePackages(
  { listed }: Pick<PackageUndo, 'listed'>,
  { conflicts }: UndoPaths,
  { subject }: Pick<UndoRequest, 'subject'>,
): Promise<void> {
  const suspects = conflicts.filter(
    ({ path, was, now, isLost }) =>
      was !== undefined &&
      was.type !== 'dir' &&
      (now === undefined || isLost === true) &&
      !isWithin(path, configuration),
  )
  if (suspects.length === 0) return
  const repairs = await listed()
  for (const { path, reason } of suspects) {
    const repair = repairs.get(path) ?? (isWithin(path, usr) ? repairs.get(withoutUsr(path)) : undefined)
    if (repair === undefined) continue
    const line = printableText(repair.line)
    const [one, ...more] = subject
    const from = one && more.length === 0 ? entryWord(one) : 'NUMBER'
    throw new VmlError(
      'conflict',
      `Cannot bring "${printable(path)}" back, which is a package's own: ${reason}`,
      {
        details: { path: printable(path) },
        hint: `Nothing was changed. The package would be without it, or a part of each version. ${
          repair.isGone
            ? `It comes back by ${line}; after that each file that was kept, such as its configuration, by vml restore ${from}:PATH --logbook /var/lib/vml/logbook`
            : `What makes it whole first: ${line}`
        }`,
      },
    )
  }
}

const configuration = pathIn(rootPath, '/etc')
const usr = pathIn(rootPath, '/usr')

async function canBeHad(
  contents: TransactionContents,
  { transaction, change }: Extract<PlannedContent, { kind: 'before' }>,
): Promise<boolean> {
  try {
    await contents.requireBefore(transaction, change)
    return true
  } catch (error) {
    if (!isFailure(error, 'integrity.missing')) throw error
    return false
  }
}

function finish(
  request: UndoRequest,
  work: {
    readonly transactions: readonly ReadTransaction[]
    readonly planned: PackageUndo
    readonly beside: readonly BesideFile[]
    readonly ownFiles: readonly OwnFile[]
    readonly mixed: readonly MixedData[]
    readonly staying: ReadonlySet<string>
    readonly due: readonly StateTransfer[]
    readonly stranded: readonly StrandedData[]
    isThere(path: RawPath): boolean
  },
): Omit<UndoPlan, 'together' | 'foreign' | 'changedAgain'> {
  const { paths, systems } = work.planned
  const packages = systems.flatMap(({ transitions }) => transitions)
  const transfers = work.due.filter((transfer) => isStillDue(transfer, packages))
  const touched = [
    ...paths.paths.map(({ path, now, wanted }) => ({
      path,
      present: now !== undefined,
      wanted: wanted !== undefined,
      restored: true,
    })),
    ...paths.regenerated.map((path) => ({ path, present: work.isThere(path), wanted: true })),
  ]
  return {
    kind: request.kind,
    subject: request.kind === 'redo' ? request.subject : work.transactions.map(({ entry }) => entry),
    transactions: work.transactions,
    paths,
    beside: work.beside,
    ownFiles: work.ownFiles,
    mixed: work.mixed,
    packages,
    systems,
    keptPackages: [...work.staying].toSorted(),
    regenerations: regenerations(touched),
    units: [
      ...new Set([
        ...unitsOfPaths(paths.paths.map(({ path }) => path)),
        ...transfers.flatMap(({ hook }) => hook.units),
      ]),
    ].toSorted(),
    transfers,
    stranded: work.stranded,
    bytes: bytesWritten(paths, work.beside) + transfers.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}

/** A package that stays as it is needs no other data. */
function isStillDue({ package: name, to }: StateTransfer, packages: readonly PackageTransition[]): boolean {
  const planned = packages.find((each) => each.name === name)
  if (planned === undefined || planned.to === to) return planned !== undefined
  throw new VmlError(
    'conflict',
    `Cannot transfer the state of ${name}: it would become ${planned.to ?? 'nothing'} instead of ${to}`,
    { hint: 'Nothing was changed. --leave-data leaves its data as it is' },
  )
}

function bytesWritten({ paths }: UndoPaths, beside: readonly BesideFile[]): number {
  const taken = paths.filter(({ content }) => content !== undefined)
  return [...taken, ...beside].reduce((sum, { wanted }) => sum + (wanted?.size ?? 0), 0)
}

/** A file of dpkg that cannot be merged leaves no consistent database: then nothing is done. */
function blocksOfConflicts(
  parts: UndoParts,
  chosen: readonly ListedTransaction[],
  { conflicts, packages }: { readonly conflicts: readonly UndoConflict[]; readonly packages: PackagesNow },
): Block[] {
  return conflicts
    .filter(({ path }) => isWithin(path, database))
    .flatMap(({ path, keys, reason }): Block[] => {
      if (keys.length === 0) {
        // dpkg's own file of a package tells nobody more than that the package was changed, where that is known.
        const of = packages.flatMap((state) => state.packageOf(path) ?? []).slice(0, 1)
        const [again] = of.map((name) => changedBlock(parts, chosen, name))
        if (again?.by) return [again]
        const sentence = `"${printable(path)}" cannot be merged: ${reason}`
        return [{ sentence, why: 'changed again', by: undefined, keep: [] }]
      }
      return keys.map((key) => changedBlock(parts, chosen, key.split(/[:\s\0]/)[0] ?? key))
    })
}

function changedBlock({ listed }: UndoParts, chosen: readonly ListedTransaction[], name: string): Block {
  const by = laterWith(listed, chosen, name, { gone: true })
  const sentence = by
    ? `${name} was changed again by ${entryName(by.entry)} (${by.entry.title})`
    : `${name} was changed again since`
  return { sentence, why: 'changed again', by, keep: [name] }
}

function misplacedBlock(
  { listed }: UndoParts,
  chosen: readonly ListedTransaction[],
  going: ReadonlySet<string>,
  { owner, from, to, diverter }: Misplaced,
): Block {
  const by = laterWith(listed, chosen, owner, { gone: true })
  const when = by ? `by ${entryName(by.entry)} (${by.entry.title})` : 'since'
  return {
    sentence: `${owner} was changed again ${when}: what lies at "${printable(from)}" would belong at "${printable(to)}" then, where something else would be`,
    why: 'needed',
    by,
    // With its diverter the diversion stays.
    keep: diverter !== undefined && going.has(diverter) ? [diverter] : [],
  }
}

function blockOf(
  { listed }: UndoParts,
  chosen: readonly ListedTransaction[],
  broken: BrokenDependency,
): Block {
  const name = broken.package.split(':')[0] ?? broken.package
  const by = laterWith(listed, chosen, name)
  return {
    sentence: `${describeBroken(broken)}${by ? ` (${name} came with ${entryName(by.entry)})` : ''}`,
    why: 'needed',
    by,
    keep: broken.alternatives.flatMap(
      ({ name: needed, providedBy }) => providedBy ?? [needed.split(':')[0] ?? needed],
    ),
  }
}

/** The newest transaction that changed a package, later than the oldest of those that are taken back; an undo of what came later still only where nothing else did. */
function laterWith(
  listed: readonly ListedTransaction[],
  chosen: readonly ListedTransaction[],
  name: string,
  /** Those that only took it away count, too. */
  { gone = false }: { readonly gone?: boolean } = {},
): ListedTransaction | undefined {
  const later = inForceSince(
    listed,
    listed.findIndex((each) => chosen.includes(each)),
  )
  const isIt = (each: ListedTransaction) =>
    !chosen.includes(each) &&
    each.document.packages.some((changed) => changed.name === name && (gone || changed.to !== undefined))
  return later.changes.findLast(isIt) ?? later.settled.findLast(isIt)
}

/** All of them are in the details. */
const reasonsToldMax = 10

function refused({ subject, kind }: UndoRequest, blocks: readonly Block[]): VmlError {
  // What is in the way and no transaction brought, no option can take away either.
  const canBeChosen = blocks.some(({ by, keep }) => by !== undefined || keep.length > 0)
  const names = entryNames(subject)
  const words = subject.map(entryWord).join(' ')
  const sentences = [...new Set(blocks.map(({ sentence }) => sentence))]
  return new VmlError(
    'conflict',
    `Cannot ${kind} ${names}${canBeChosen ? ' alone' : ''}:${toldOf(sentences)}`,
    {
      details: {
        blocks: blocks.map(({ sentence, by }) => ({ sentence, transaction: by?.entry.number ?? null })),
      },
      hint: canBeChosen
        ? `Nothing was changed. vml tx ${kind} ${words} --with-dependents takes those back, too; --keep-needed leaves what they need`
        : 'Nothing was changed. vml tx show tells what is kept of a transaction',
    },
  )
}

/** One on the line that it ends, several on lines of their own. */
function toldOf(sentences: readonly string[]): string {
  const [only] = sentences
  if (sentences.length === 1) return ` ${only}`
  const more = sentences.length - reasonsToldMax
  return [...sentences.slice(0, reasonsToldMax), ...(more > 0 ? [`and ${more} more`] : [])]
    .map((sentence) => `\n  ${sentence}`)
    .join('')
}
