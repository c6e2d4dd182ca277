// What taking a transaction back means for each path, with everything that came later kept: a plan, which is a value.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromString } from '../base/raw-text.ts'
import { baseName, isWithin, joinPath, parentPath, type RawName, type RawPath } from '../model/raw-path.ts'
import { droppedReason, isDropped } from '../model/transaction-record.ts'
import { isTimeOnly } from '../model/mere-writing.ts'
import { accountFileOf } from '../model/merge-accounts.ts'
import type { MergeSides } from '../model/merge-outcome.ts'
import { type Fingerprint, type RecordedChange, sameState } from '../model/transaction.ts'
import type { OwnFolder } from './own-folders.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import { sha256Of } from './transaction-entry.ts'
import { databaseFileOf, isHistory, movedDatabases } from './database-files.ts'

/** Content that a path is to have. */
export type PlannedContent =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'before'; readonly transaction: ReadTransaction; readonly change: RecordedChange }

/** What becomes of one path. Without `then` it goes. */
export interface PlannedPath {
  readonly path: RawPath
  readonly now: Fingerprint | undefined
  readonly wanted: Fingerprint | undefined
  /** Of a regular file that is not as it is now; undefined where only its rights, owner or attributes change. */
  readonly content?: PlannedContent
  readonly how: 'restored' | 'merged'
  /** A name of the very file that it was a name of, too: it becomes a further one. */
  readonly nameOf?: RawPath
  /** Names that stay, of the file that it is now or becomes. */
  readonly otherNames?: readonly RawPath[]
}

/** A path that was changed by one of the transactions and again later by others, in a way that cannot have both. It stays as it is now. */
export interface UndoConflict {
  readonly path: RawPath
  readonly reason: string
  /** Names of records that both changed, in a file of records. */
  readonly keys: readonly string[]
  /** Content before the oldest of the transactions that changed it, to be put beside it. */
  readonly old?: PlannedContent
  readonly now: Fingerprint | undefined
  /** Before the oldest of them. */
  readonly was?: Fingerprint
  /** The content before it cannot be had. */
  readonly isLost?: boolean
  /** It is VML's, or a logbook: nobody is to be told to do something with it. */
  readonly isOwn?: boolean
}

export interface KeptPath {
  readonly path: RawPath
  readonly why:
    | 'service data'
    | 'folder in use'
    | 'belongs to a package that stays'
    | 'gone since'
    | 'a history that went on'
    | 'transferred by a hook'
    | `it may be of ${string}`
}

export interface UndoPaths {
  /** Sorted bytewise: parents before children. */
  readonly paths: readonly PlannedPath[]
  readonly conflicts: readonly UndoConflict[]
  readonly kept: readonly KeptPath[]
  /** Paths that are made anew by their rules afterwards. */
  readonly regenerated: readonly RawPath[]
  /** Already as they were before. */
  readonly already: number
}

/** What a three-way merge gives: base is after the transaction, ours now, theirs before it. */
export type MergeResult =
  | { readonly kind: 'merged'; readonly bytes: Buffer | undefined }
  /** `keys` are names of records that both changed, such as packages. */
  | { readonly kind: 'conflict'; readonly reason: string; readonly keys: readonly string[] }

/** Rights, owner and attributes, over what is there now. */
export interface MergedAttributes {
  readonly fingerprint: Fingerprint
  /** What both changed, in words: then the path stays as it is. */
  readonly conflict?: string
}

/** The machine as it is, and what is known of its paths. */
export interface UndoView {
  now(path: RawPath): Fingerprint | undefined
  contentNow(path: RawPath): Buffer
  /** Names in a folder now. */
  names(path: RawPath): readonly RawName[]
  /** Whether a package that stays has it in its list of files. */
  listedByOthers(path: RawPath): boolean
  /** Made anew by a rule instead of being put back. */
  isRegenerated(path: RawPath): boolean
  /** By a rule that has nothing made: what was written there since may be anybody's, and is in no record. */
  isLeftByItsRule(path: RawPath): boolean
  /** Left to a rule where it was changed since and cannot be merged. */
  isRegeneratedWhenChanged(path: RawPath): boolean
  /** That the path is or lies in now. */
  ownFolder(path: RawPath): OwnFolder | undefined
  /** The folder of a service's data that the path lies in. */
  dataFolder(path: RawPath): RawPath | undefined
  contentBefore(transaction: ReadTransaction, change: RecordedChange): Promise<Buffer>
  /** Undefined where it can be had no more. */
  contentAfter(transaction: ReadTransaction, change: RecordedChange): Promise<Buffer | undefined>
  /** Files below a folder that were written after that moment; absent where nobody can look so far. */
  writtenSince?(
    folder: RawPath,
    sinceMs: number,
  ): {
    readonly paths: readonly RawPath[]
    /** All of it was looked at. */
    readonly isWhole: boolean
  }
  /** What is at a name that no transaction changed, with its content; absent where no file can get a further name from here. */
  otherName?(path: RawPath): Fingerprint | undefined
  merge(path: RawPath, sides: MergeSides<Buffer>): MergeResult
  /** Numbers and rights, three ways. */
  mergeAttributes(sides: { base: Fingerprint; ours: Fingerprint; theirs: Fingerprint }): MergedAttributes
}

export interface UndoPathsRequest {
  /** Newest first. */
  readonly transactions: readonly ReadTransaction[]
  /** Overwrite data of services, too. */
  readonly data: boolean
  /** Folders with data that comes another way. */
  readonly transferred?: readonly RawPath[]
  /** Changes that stay, such as those of a package that is still needed. */
  stays(transaction: ReadTransaction, change: RecordedChange): boolean
  /** Names of packages that stay and that a change may be of, so that it stays, too, and is told. */
  maybeOf?(transaction: ReadTransaction): (change: RecordedChange) => string | undefined
}

/** Files that are merged by meaning are small; a larger one that changed on both sides is a conflict. */
export const mergeBytesMax = 64 * 1024 * 1024

/**
 * Transaction by transaction, newest first, each on what the ones before it leave. Reads only.
 * A path that nobody touched since goes back to what it was; one that changed since is merged, or a conflict and left alone (I3).
 * What is a conflict for one of them stays as it is for all of them: a part of an undo that is told as none would be a lie.
 */
export async function planUndoPaths(view: UndoView, request: UndoPathsRequest): Promise<UndoPaths> {
  const work = new Work(view)
  const own: OwnPaths = new Map()
  for (const transaction of request.transactions) {
    const maybeOf = request.maybeOf?.(transaction)
    const isOfThen = logbooksOfThen(view, transaction)
    const changes = transaction.changes.filter(
      (change) =>
        !request.stays(transaction, change) &&
        !keepMaybe(work, change, maybeOf?.(change)) &&
        !isOwn(view, change, own, isOfThen),
    )
    const dataInUse = request.data ? new Set<RawPath>() : usedData(work, changes)
    const moved = movedDatabases(changes, (path) => work.current(path))
    for (const change of changes) {
      work.goBack(transaction, change)
      if (work.isConflict(change.path)) continue
      const folder = view.dataFolder(change.path)
      if (request.transferred?.some((data) => isWithin(change.path, data)))
        work.keep(change.path, 'transferred by a hook')
      else if (folder !== undefined && dataInUse.has(folder)) work.keep(change.path, 'service data')
      else if (change.preImage.kind !== 'regenerable' && moved.has(databaseFileOf(change.path)))
        keepDatabase(work, change)
      else if (request.data && folder !== undefined && isDataFile(work, change))
        planData(work, transaction, change)
      else await planPath(work, transaction, change)
    }
  }
  for (const each of own.values())
    work.conflict(each.folder.path, ownReason(each), { old: false, isOwn: true })
  settleLost(work)
  settleTogether(work)
  settleFolders(work)
  requireWholePackages(work)
  return work.finish()
}

function keepMaybe(work: Work, { path, before }: RecordedChange, of: string | undefined): boolean {
  if (of === undefined) return false
  if (!sameState(work.current(path), before))
    work.keep(path, `it may be of ${of}, which ${of.includes(', ') ? 'stay' : 'stays'}`)
  return true
}

/** A record of an older VML may have paths of the very folder that holds it; what is saved in a logbook since stands on what the transaction brought. */
function isOwn(
  view: UndoView,
  { path, before }: RecordedChange,
  own: OwnPaths,
  isOfThen: (folder: OwnFolder) => boolean,
): boolean {
  const folder = view.ownFolder(path)
  if (folder === undefined) return false
  const isGone = view.now(path) === undefined
  // A file of a logbook that comes back into it does no harm to what was saved since: its name is the hash of it.
  if (folder.what === 'logbook' && isGone && (before === undefined || isOfThen(folder))) return false
  const { paths, isOther } = own.get(folder.path) ?? { paths: new Set(), isOther: false }
  own.set(folder.path, { folder, paths: paths.add(path), isOther: isOther || isGone })
  return true
}

/**
 * Whether a logbook that is there now is known to be the one that was there before the transaction. Keys and indexes of another one make it unreadable, which then
 * cannot be taken back either.
 */
function logbooksOfThen(view: UndoView, transaction: ReadTransaction): (folder: OwnFolder) => boolean {
  const known = new Map<RawPath, boolean>()
  return ({ path }) => {
    const isOfThen =
      known.get(path) ?? configsOf(path).some((config) => isConfigOfThen(view, transaction, config))
    known.set(path, isOfThen)
    return isOfThen
  }
}

/** Of a logbook, and of a state folder with one. */
function configsOf(folder: RawPath): readonly RawPath[] {
  const [config, logbook] = [rawFromString('config') as RawName, rawFromString('logbook') as RawName]
  return [joinPath(folder, config), joinPath(joinPath(folder, logbook), config)]
}

/** It has the random id of its logbook, is encrypted, and not written again: where the transaction did not change it, nobody touched it since. */
function isConfigOfThen(view: UndoView, { document, changes }: ReadTransaction, path: RawPath): boolean {
  const now = view.now(path)
  if (now?.type !== 'file') return false
  const change = changes.find((each) => each.path === path)
  if (change) return change.before?.sha256 !== undefined && change.before.sha256 === now.sha256
  return now.ctimeNs !== undefined && now.ctimeNs < BigInt(Date.parse(document.startedAt)) * 1_000_000n
}

interface OwnPath {
  readonly folder: OwnFolder
  readonly paths: Set<RawPath>
  /** Something of the transaction is not there any more. */
  readonly isOther: boolean
}

type OwnPaths = Map<RawPath, OwnPath>

function ownReason({ folder: { what }, paths: { size }, isOther }: OwnPath): string {
  const logbook = `a logbook, which only stands as a whole${isOther ? ', and may be another than was there before: that one comes back once this one is moved away' : ''}`
  const is = what === 'state' ? "VML's own, with all records in it" : logbook
  return `it is ${is}: ${size === 1 ? '1 path' : `${size} paths`} left alone`
}

/** Of a history nobody wants the old one back; any other is told as what both changed, once. */
function keepDatabase(work: Work, { path, before }: RecordedChange): void {
  if (!isHistory(path) && sameState(work.current(path), before)) work.already()
  else work.leaveDatabase(path)
}

interface State {
  readonly fingerprint: Fingerprint | undefined
  readonly content?: PlannedContent | undefined
  readonly how: PlannedPath['how']
}

interface Stays {
  readonly reason: string
  readonly keys: readonly string[]
  /** Whether what it was before is put beside it. */
  readonly old: boolean
  readonly isOwn: boolean
}

/** What the transactions together changed of a path. */
interface Past {
  /** The oldest one that changed it, as far as was gone back. */
  readonly oldest: Extract<PlannedContent, { kind: 'before' }>
  /** One of them changed it as a package's own file. */
  readonly packaged: boolean
}

/** What is planned so far, over what is there now. */
class Work {
  readonly view: UndoView
  readonly #planned = new Map<RawPath, State>()
  readonly #conflicts = new Map<RawPath, Stays>()
  readonly #pasts = new Map<RawPath, Past>()
  readonly #kept = new Map<RawPath, KeptPath>()
  readonly #databases = new Set<RawPath>()
  readonly #regenerated = new Set<RawPath>()
  #already = 0

  constructor(view: UndoView) {
    this.view = view
  }

  /** One more transaction, older than those before it. */
  goBack(transaction: ReadTransaction, change: RecordedChange): void {
    const { path, owner } = change
    const { source } = transaction.document
    const packaged = owner.kind === 'package' && source !== 'hand'
    this.#pasts.set(path, {
      oldest: { kind: 'before', transaction, change },
      packaged: packaged || this.#pasts.get(path)?.packaged === true,
    })
  }

  current(path: RawPath): Fingerprint | undefined {
    const planned = this.#planned.get(path)
    return planned ? planned.fingerprint : this.view.now(path)
  }

  /** Of a regular file as planned so far. */
  async content(path: RawPath): Promise<Buffer> {
    const planned = this.#planned.get(path)
    if (planned?.content?.kind === 'bytes') return planned.content.bytes
    if (planned?.content)
      return await this.view.contentBefore(planned.content.transaction, planned.content.change)
    return this.view.contentNow(path)
  }

  plan(path: RawPath, state: State): void {
    this.#regenerated.delete(path)
    this.#planned.set(path, state)
  }

  /** It stays as it is now, whatever was planned for it. */
  unplan(path: RawPath): void {
    this.#planned.delete(path)
  }

  /** Sorted bytewise. */
  planned(): readonly (readonly [RawPath, State])[] {
    return [...this.#planned].toSorted(([one], [other]) => (one < other ? -1 : 1))
  }

  plannedContent(path: RawPath): PlannedContent | undefined {
    return this.#planned.get(path)?.content
  }

  past(path: RawPath): Past | undefined {
    return this.#pasts.get(path)
  }

  /** It stays as it is now, whatever newer transactions had planned for it and older ones would. */
  conflict(
    path: RawPath,
    reason: string,
    {
      old,
      keys = [],
      isOwn = false,
    }: { readonly old: boolean; readonly keys?: readonly string[]; readonly isOwn?: boolean },
  ): void {
    this.unplan(path)
    this.#regenerated.delete(path)
    this.#conflicts.set(path, { reason, keys, old, isOwn })
  }

  isConflict(path: RawPath): boolean {
    return this.#conflicts.has(path)
  }

  keep(path: RawPath, why: KeptPath['why']): void {
    this.#kept.set(path, { path, why })
  }

  /** A file of a database that moved on. */
  leaveDatabase(path: RawPath): void {
    const database = databaseFileOf(path)
    this.#databases.add(database)
    const reason = 'it is of a database that was changed since, of which all files belong together'
    if (!isHistory(path)) {
      this.conflict(path, reason, { old: path === database })
      return
    }
    this.unplan(path)
    this.keep(path, 'a history that went on')
  }

  leavesDatabase(path: RawPath): boolean {
    return this.#databases.has(databaseFileOf(path))
  }

  kept(): readonly KeptPath[] {
    return [...this.#kept.values()]
  }

  conflicts(): readonly (readonly [RawPath, Stays])[] {
    return [...this.#conflicts]
  }

  /** In place of what newer transactions had planned for it, as what older ones plan is in place of this. */
  regenerate(path: RawPath): void {
    this.unplan(path)
    this.#regenerated.add(path)
  }

  already(): void {
    this.#already++
  }

  finish(): UndoPaths {
    const paths: PlannedPath[] = []
    for (const [path, { fingerprint, content, how }] of this.#planned) {
      const now = this.view.now(path)
      const change = { before: now, after: fingerprint }
      if (sameState(now, fingerprint) && !isTimeOnly(change)) continue
      // One that was lost may have no hash, and neither has what is not there.
      const isTaken =
        fingerprint?.type === 'file' &&
        (now?.type !== 'file' || fingerprint.sha256 !== now.sha256 || isOneOfMany(content))
      paths.push({ path, now, wanted: fingerprint, how, ...(isTaken && content ? { content } : {}) })
    }
    const conflicts = [...this.#conflicts].flatMap(([path, stays]) => this.#conflictOf(path, stays))
    return {
      paths: paths.toSorted(byPath),
      conflicts: conflicts.toSorted(byPath),
      kept: this.kept()
        .filter(({ path, why }) => why !== 'gone since' || this.current(path) === undefined)
        .toSorted(byPath),
      regenerated: [...this.#regenerated].toSorted(),
      already: this.#already + this.#conflicts.size - conflicts.length,
    }
  }

  /** None where it is as it was before the oldest: then nothing of them is left in it, whoever brought it there. */
  #conflictOf(path: RawPath, { reason, keys, old, isOwn }: Stays): UndoConflict[] {
    const now = this.view.now(path)
    const oldest = this.#pasts.get(path)?.oldest
    if (oldest && sameState(now, oldest.change.before)) return []
    const isSide = old && oldest?.change.before?.type === 'file'
    const was = oldest?.change.before
    const isLost = oldest?.change.preImage.kind === 'lost'
    return [
      {
        ...{ path, reason, keys, now, isLost },
        ...(was ? { was } : {}),
        ...(isSide ? { old: oldest } : {}),
        ...(isOwn ? { isOwn } : {}),
      },
    ]
  }
}

/** Names of one file come back together, by the content that is theirs, where that can be had. */
function isOneOfMany(content: PlannedContent | undefined): boolean {
  if (content?.kind !== 'before') return false
  const { before, preImage } = content.change
  return (before?.links ?? 1) > 1 && preImage.kind !== 'lost' && preImage.kind !== 'regenerable'
}

function byPath(left: { readonly path: RawPath }, right: { readonly path: RawPath }): number {
  return left.path < right.path ? -1 : left.path > right.path ? 1 : 0
}

/** Folders of services' data in which anything was changed or added since: a part of such data is worth nothing. */
function usedData(work: Work, changes: readonly RecordedChange[]): Set<RawPath> {
  const used = new Set<RawPath>()
  const known = new Set(changes.map(({ path }) => path))
  for (const { path, after } of changes) {
    const folder = work.view.dataFolder(path)
    if (folder === undefined || used.has(folder)) continue
    const now = work.current(path)
    // Times and rights of a folder say nothing of the data in it.
    const touched = after?.type === 'dir' ? now !== undefined && now.type !== 'dir' : !sameState(now, after)
    const added =
      now?.type === 'dir' &&
      after?.type === 'dir' &&
      work.view.names(path).some((name) => !known.has(joinPath(path, name)) && path !== folder)
    if ((touched && now !== undefined) || added) used.add(folder)
  }
  return used
}

/** A thing that may be overwritten without a look at what it became. */
function isDataFile(work: Work, { path, before, preImage }: RecordedChange): boolean {
  const now = work.current(path)
  return (
    preImage.kind !== 'lost' &&
    (now ?? before)?.type === 'file' &&
    (before === undefined || before.type === 'file') &&
    !work.view.isRegenerated(path)
  )
}

/** It was asked for. What was written since is kept by the record of this undo, so that a redo brings it back. */
function planData(work: Work, transaction: ReadTransaction, change: RecordedChange): void {
  if (sameState(work.current(change.path), change.before)) work.already()
  else
    work.plan(change.path, {
      fingerprint: change.before,
      how: 'restored',
      content: { kind: 'before', transaction, change },
    })
}

async function planPath(work: Work, transaction: ReadTransaction, change: RecordedChange): Promise<void> {
  const { view } = work
  const { path, before, after } = change
  const now = work.current(path)
  if (change.preImage.kind === 'regenerable' && !sameState(now, before)) {
    planRegenerable(work, change, now)
    return
  }
  if (sameState(now, before)) {
    // The time alone was changed, by nobody since: it counts for make and others.
    const isOurs = isTimeOnly(change) && now?.mtimeNs === after?.mtimeNs
    if (isOurs)
      work.plan(path, {
        fingerprint: before,
        how: 'restored',
        content: { kind: 'before', transaction, change },
      })
    else work.already()
    return
  }
  // A cache that was made anew since is as good as the one that the transaction made. Whether the content can be had is asked at the end: an older one may want another.
  const isMadeAnew = view.isRegenerated(path) && !view.isLeftByItsRule(path)
  const isAsMade = isContentOf(now, after)
  if (isSameBut(isAsMade, now, after) || (before === undefined && isMadeAnew)) {
    work.plan(path, {
      fingerprint: before,
      how: 'restored',
      content: { kind: 'before', transaction, change },
    })
    return
  }
  const lost = lostOf({ kind: 'before', transaction, change }) ?? lostOf(work.plannedContent(path))
  // Where nothing was there before, nobody needs what it was in between.
  if (lost?.isPassedOver === true && !(before === undefined && isAsMade)) {
    work.conflict(path, lost.reason, { old: change.preImage.kind !== 'lost' })
    return
  }
  if (now === undefined) {
    // Gone since: the later removal stays. Only what the transaction had removed comes back, and that was handled above.
    work.keep(path, 'gone since')
    return
  }
  if (now.type === 'dir' && (before?.type ?? 'dir') === 'dir' && (after?.type ?? 'dir') === 'dir') {
    planFolder(work, { path, before, after, now })
    return
  }
  if (view.isRegeneratedWhenChanged(path)) {
    work.regenerate(path)
    return
  }
  if (before === undefined && view.listedByOthers(path)) {
    work.keep(path, 'belongs to a package that stays')
    return
  }
  await planMerge(work, transaction, change, now)
}

/**
 * Whether a file has the content that a transaction gave it. One that was lost has no hash: of all that may have stood there, what the transaction made is that
 * with its size and its time.
 */
function isContentOf(now: Fingerprint | undefined, after: Fingerprint | undefined): boolean {
  if (now?.type !== 'file' || after?.type !== 'file' || after.sha256 === undefined) return false
  if (now.sha256 !== undefined) return now.sha256 === after.sha256
  return now.size === after.size && now.mtimeNs === after.mtimeNs
}

/** Where the content is known to be the same, whatever the hashes say. */
function isSameBut(content: boolean, now: Fingerprint | undefined, after: Fingerprint | undefined): boolean {
  if (!content || now === undefined || after?.sha256 === undefined) return sameState(now, after)
  return sameState({ ...now, sha256: after.sha256 }, after)
}

/** Of its content nothing was kept: what does not make it again any more makes something else of it, or nothing. */
function planRegenerable(work: Work, { path, after }: RecordedChange, now: Fingerprint | undefined): void {
  const { view } = work
  if (view.isRegenerated(path) || view.isRegeneratedWhenChanged(path)) work.regenerate(path)
  else if (now === undefined && after !== undefined) work.keep(path, 'gone since')
  else
    work.conflict(path, 'what it was before was not kept, and what would make it again is not there', {
      old: false,
    })
}

/**
 * One file that cannot be had again must not keep all others from coming back. But a package without one of its files would be half of each version, and of a
 * record that was dropped nothing is to be had.
 */
function lostOf(content: PlannedContent | undefined) {
  if (content?.kind !== 'before' || content.change.preImage.kind !== 'lost') return undefined
  const { owner, preImage } = content.change
  const isByHand = content.transaction.document.source === 'hand'
  return {
    reason: `what it was before cannot be had: ${preImage.reason}`,
    isPassedOver: isByHand || (owner.kind !== 'package' && preImage.reason !== droppedReason),
  }
}

function planFolder(
  work: Work,
  {
    path,
    before,
    after,
    now,
  }: { path: RawPath; before?: Fingerprint | undefined; after?: Fingerprint | undefined; now: Fingerprint },
): void {
  if (before === undefined) {
    // Made by the transaction and changed since: whether it goes is decided by what is in it.
    work.plan(path, { fingerprint: undefined, how: 'restored' })
    return
  }
  if (after === undefined) return
  const { fingerprint, conflict } = work.view.mergeAttributes({ base: after, ours: now, theirs: before })
  if (conflict === undefined) work.plan(path, { fingerprint, how: 'merged' })
  else work.conflict(path, conflict, { old: false })
}

async function planMerge(
  work: Work,
  transaction: ReadTransaction,
  change: RecordedChange,
  now: Fingerprint,
): Promise<void> {
  const { view } = work
  const { path, before, after } = change
  const isFile = (side: Fingerprint | undefined) => side === undefined || side.type === 'file'
  if (now.type !== 'file' || !isFile(before) || !isFile(after)) {
    work.conflict(
      path,
      `it was changed since: now it is ${describe(now)}, before it was ${describe(before)}`,
      { old: true },
    )
    return
  }
  // Nothing was there before, and nobody wrote into what the transaction made.
  if (before === undefined && isContentOf(now, after)) {
    work.plan(path, { fingerprint: undefined, how: 'merged' })
    return
  }
  // Only rights, owner or attributes changed on one of the sides: the contents need no look.
  if (
    before &&
    after &&
    (now.sha256 === after.sha256 || before.sha256 === after.sha256 || now.sha256 === before.sha256)
  ) {
    const content = now.sha256 === after.sha256 ? before : now
    const merged = view.mergeAttributes({ base: after, ours: now, theirs: before })
    if (merged.conflict !== undefined) {
      work.conflict(path, merged.conflict, { old: now.sha256 !== before.sha256 })
      return
    }
    const { sha256, size } = content
    // A time that was set since stays, as long as the content does.
    const isSetSince = before.sha256 === after.sha256 && now.mtimeNs !== after.mtimeNs
    const { mtimeNs } = isSetSince ? now : content
    // What is there as planned so far may itself be what one of them is to bring back.
    const taken: PlannedContent | undefined =
      content === before ? { kind: 'before', transaction, change } : work.plannedContent(path)
    work.plan(path, {
      fingerprint: {
        ...merged.fingerprint,
        mtimeNs,
        ...(sha256 === undefined ? {} : { sha256 }),
        ...(size === undefined ? {} : { size }),
      },
      how: 'merged',
      ...(taken ? { content: taken } : {}),
    })
    return
  }
  if ([now, before, after].some((side) => (side?.size ?? 0) > mergeBytesMax)) {
    work.conflict(path, 'it was changed since and is too large to be merged', { old: true })
    return
  }
  const base = after && (await view.contentAfter(transaction, change))
  if (after && base === undefined) {
    const lack = isDropped(transaction.document) ? droppedReason : 'not kept'
    work.conflict(path, `it was changed since, and what it was after the transaction was ${lack}`, {
      old: true,
    })
    return
  }
  const outcome = view.merge(path, {
    base,
    ours: await work.content(path),
    theirs: before && (await view.contentBefore(transaction, change)),
  })
  if (outcome.kind === 'conflict') {
    work.conflict(path, outcome.reason, { old: true, keys: outcome.keys })
    return
  }
  if (outcome.bytes === undefined) {
    work.plan(path, { fingerprint: undefined, how: 'merged' })
    return
  }
  const attributes = before && after && view.mergeAttributes({ base: after, ours: now, theirs: before })
  if (attributes?.conflict !== undefined) {
    work.conflict(path, attributes.conflict, { old: true })
    return
  }
  work.plan(path, {
    fingerprint: {
      ...(attributes?.fingerprint ?? now),
      size: outcome.bytes.length,
      sha256: sha256Of(outcome.bytes),
      mtimeNs: now.mtimeNs,
    },
    how: 'merged',
    content: { kind: 'bytes', bytes: outcome.bytes },
  })
}

function describe(side: Fingerprint | undefined): string {
  if (side === undefined) return 'not there'
  if (side.type === 'dir') return 'a folder'
  return side.type === 'symlink' ? 'a link' : side.type === 'file' ? 'a file' : `of type ${side.type}`
}

/** A content that nobody has any more is asked for only where no older transaction wants another. */
function settleLost(work: Work): void {
  for (const [path, { fingerprint, content }] of work.planned()) {
    const lost = lostOf(content)
    // Of a package that is brought back it is asked for, so that the undo is refused.
    if (lost?.isPassedOver !== true || work.past(path)?.packaged === true) continue
    if (fingerprint?.type === 'file' && !sameState(fingerprint, work.view.now(path)))
      work.conflict(path, lost.reason, { old: false })
  }
}

/** What belongs together stays whole where one of the transactions leaves a part of it: data of a service, the files of a database, users and groups. */
function settleTogether(work: Work): void {
  const folders = new Set(
    work.kept().flatMap(({ path, why }) => (why === 'service data' ? [work.view.dataFolder(path)] : [])),
  )
  for (const [path, { content }] of work.planned()) {
    const folder = work.view.dataFolder(path)
    if (folder !== undefined && folders.has(folder)) {
      work.unplan(path)
      work.keep(path, 'service data')
    } else if (work.leavesDatabase(path) && !isRegenerable(content)) work.leaveDatabase(path)
  }
  const isAccounts = (path: RawPath) => accountFileOf(path) !== undefined
  if (!work.conflicts().some(([path]) => isAccounts(path))) return
  // Somebody with a password and without a number, or the other way round, is nobody.
  const reason = 'another file of users and groups stays as it is, and they belong together'
  for (const [path] of work.planned()) if (isAccounts(path)) work.conflict(path, reason, { old: true })
}

function isRegenerable(content: PlannedContent | undefined): boolean {
  return content?.kind === 'before' && content.change.preImage.kind === 'regenerable'
}

/** A package that comes back without one of its own files is none. */
function requireWholePackages(work: Work): void {
  for (const [path, { reason }] of work.conflicts()) {
    const past = work.past(path)
    const isMissing = work.view.now(path) === undefined && past?.oldest.change.before?.type === 'file'
    if (!isMissing || !past.packaged) continue
    throw new VmlError(
      'conflict',
      `Cannot bring "${printable(path)}" back, which is a package's own: ${reason}`,
      {
        details: { path: printable(path) },
        hint: 'Nothing was changed. vml tx show tells what is kept of a transaction',
      },
    )
  }
}

/**
 * A folder that the transactions made goes when nothing stays in it and no package that stays lists it. Deepest first. One that they made of something else
 * becomes that again only then, too.
 */
function settleFolders(work: Work): void {
  for (const [path, { fingerprint: wanted }] of work.planned().toReversed()) {
    if (work.view.now(path)?.type !== 'dir' || wanted?.type === 'dir') continue
    const inUse = work.view.names(path).some((name) => work.current(joinPath(path, name)) !== undefined)
    const listed = wanted === undefined && work.view.listedByOthers(path)
    if (!inUse && !listed) continue
    if (wanted === undefined) {
      work.unplan(path)
      work.keep(path, inUse ? 'folder in use' : 'belongs to a package that stays')
    } else
      work.conflict(path, `it is a folder in which other things lie now, before it was ${describe(wanted)}`, {
        old: true,
      })
  }
}

/** A plan that puts something below a path that is no folder afterwards is a defect of ours, not of the machine. */
export function requireParents(plan: UndoPaths, now: (path: RawPath) => Fingerprint | undefined): void {
  const planned = new Map(plan.paths.map((each) => [each.path, each]))
  for (const { path, wanted } of plan.paths) {
    if (wanted === undefined || path === '/') continue
    const folder = parentPath(path)
    const parent = planned.get(folder)
    const type = (parent ? parent.wanted : now(folder))?.type
    if (type === 'dir') continue
    throw new VmlError(
      'conflict',
      `Cannot put "${printable(baseName(path))}" back: "${printable(folder)}" is no folder any more`,
      {
        details: { path: printable(path), within: isWithin(path, folder) },
        hint: 'Nothing was changed. Take back the later transaction that changed the folder, too: vml tx undo --with-dependents',
      },
    )
  }
}
