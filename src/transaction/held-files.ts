// What lies in folders that are the real ones in a stage is held by second names while a command runs there: what it takes out of them comes back when its stage is thrown away.
import { randomBytes } from 'node:crypto'
import { constants, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { firstFew } from '../base/first-few.ts'
import { markOf } from '../base/process-mark.ts'
import { asRaw, printable, rawFromBytes, rawFromString, type RawText, rawToBytes } from '../base/raw-text.ts'
import { isWithin, parentPath, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import type { NotKept } from '../model/transaction-record.ts'
import { isFolder, isLink, isSameThing } from '../stage/commit-disk.ts'
import { outlineOf, typeOf } from '../stage/fingerprint.ts'
import { inHeldFolder } from '../stage/held-folder.ts'
import { regionOf } from '../stage/keep-folders.ts'
import { mountsToHold } from '../stage/mount-plan.ts'
import { makeFolderLike } from '../stage/stage-folder.ts'
import { type FileStatus, here } from '../wire/libc.ts'
import { copiesInStage } from './copies-in-stage.ts'
import type { StageNote } from './stage-note.ts'
import { inRoot, openFolder, pathIn, type Workplace } from './workplace.ts'

/** Not `/run`: there the running system writes and removes all the time. By number they have their places. */
export const realFolders: readonly RawPath[] = ['/tmp', '/var/tmp', '/var/log'].map(
  (path) => rawFromString(path) as RawPath,
)
/** systemd's journal, which everything that runs writes. */
export const unheldFolders: ReadonlySet<string> = new Set(['/var/log/journal'])
/** Of the folder beside, where VML's own lies on another file system: hidden, so that `rm -rf /tmp/*` leaves it. */
export const besideName = '.vml-held-'

const logFolder = rawFromString('/var/log') as RawPath

/** All that are bound, in the network namespace of this process. */
const boundSockets = rawFromString('/proc/self/net/unix') as RawPath

const thingsMax = 20_000
const timeMaxMs = 5000
const toldMax = 5

type Holder = Pick<Workplace, 'root' | 'state' | 'disk' | 'libc'>
type TellingHolder = Holder & Pick<Workplace, 'reporter'>

interface HeldThing {
  readonly path: RawPath
  /** Its second name, or the folder that is like it. */
  readonly held: RawPath
  readonly status: FileStatus
}

/**
 * Each thing gets a second name, a socket and a device, too, folders one that is like them: no content is copied, and what is written meanwhile is in both. A second name sets the time of change of
 * its file, by which cleaning goes in /tmp: packages, which have no business there, are asked for /var/log alone. Order: the note of the stage is there, so that a run that is
 * cut off is found; these; then the command. What a file system removed before a loss of power it had linked before.
 */
export function holdFiles(
  place: TellingHolder & Pick<Workplace, 'clock'>,
  source: StageNote['source'],
  limits: { readonly things: number } = { things: thingsMax },
): void {
  const folders = source === 'command' ? realFolders.toReversed() : realFolders.slice(-1)
  place.disk.makeFolder(heldFolder(place), 0o700)
  const endMs = place.clock.now() + timeMaxMs
  const reasons: string[] = []
  const names = new Map<string, number>()
  const tops = realTops(place).filter(({ path }) => folders.includes(path))
  const mounts: RawPath[] = []
  let number = realFolders.length
  for (const top of tops) {
    const reason = whyNotHeld(place, top, { ...limits, endMs, names, mounts })
    if (reason !== undefined) reasons.push(`${printable(top.path)} (${reason})`)
    // What is mounted there is held by itself.
    for (const { path, type, canHold } of dataMounts(place, mounts.splice(0)))
      if (canHold && number < topsMax) tops.push(makeTop(place, path, number++))
      else reasons.push(`${printable(path)} (it is another file system, ${type})`)
  }
  const counts = [...names].map(([file, count]) => `${file} ${count}\n`)
  place.disk.writeFile(namesFile(place), 0o600, Buffer.from(counts.join('')))
  place.disk.writeFile(socketsFile(place), 0o600, readIfThere(boundSockets) ?? Buffer.alloc(0))
  place.disk.writeFile(sinceFile(place), 0o600, Buffer.from(bootNow()))
  if (reasons.length === 0) return
  place.reporter.warn({
    warning: `Not all that lies in ${reasons.join(', ')} can be held: what is removed there, or moved from there into the stage, does not all come back if the stage is thrown away`,
  })
}

/** Those on which something can be removed. */
function dataMounts({ root }: Holder, paths: readonly RawPath[]) {
  if (paths.length === 0) return []
  const known = mountsToHold(root, rawFromBytes(readFileSync('/proc/self/mountinfo')))
  return paths.flatMap((path) => {
    const mount = known.get(path)
    return mount ? [{ path, ...mount }] : []
  })
}

/** The nearest first, so that a limit leaves out what lies deep; everybody may fill /tmp. Undefined where all is held. */
function whyNotHeld(
  place: Holder & Pick<Workplace, 'clock'>,
  { path: folder, own }: Top,
  limits: {
    readonly things: number
    readonly endMs: number
    readonly names: Map<string, number>
    /** Which are found on the way. */
    readonly mounts: RawPath[]
  },
): string | undefined {
  const { disk, libc } = place
  const live = inRoot(place, folder)
  const top = disk.look(live)
  if (top === undefined || !isFolder(top)) return undefined
  const first = tryMakePlace(place, { live, own }, top)
  if (first === undefined) return 'the file system refused it'
  let [looks, held, refused, failed] = [0, 0, 0, 0]
  const made: { held: RawPath; mtimeNs: bigint }[] = []
  const waiting = [{ path: folder, live, held: first, status: top }]
  try {
    for (const { path, live: from, held: like, status } of waiting) {
      try {
        makeFolderLike(from, like, libc)
        made.push({ held: like, mtimeNs: status.mtimeNs })
        for (const name of disk.list(from)) {
          if (++looks > limits.things) return `more than ${limits.things} files`
          if (place.clock.now() > limits.endMs) return 'it takes too long'
          const child = { path: below(path, name), live: below(from, name), held: below(like, name) }
          if (unheldFolders.has(child.path) || (path === folder && name.startsWith(besideName))) continue
          const there = lookAt(place, child.live)
          if (there === undefined) continue
          // Another mount in there can have no second name here.
          if (regionOf(there) !== regionOf(top)) {
            if (isFolder(there)) limits.mounts.push(child.path)
          } else if (isFolder(there)) waiting.push({ ...child, status: there })
          else {
            if (there.links > 1 && !limits.names.has(identity(there)))
              limits.names.set(identity(there), there.links)
            const outcome = hold(place, child)
            if (outcome === 'held') held++
            else if (outcome === 'refused') refused++
            else if (outcome === 'failed') failed++
          }
        }
      } catch (error) {
        // It went, or became another thing, while it was looked at.
        if (!isGoing(error)) failed++
      }
    }
  } finally {
    for (const each of made.toReversed()) disk.setMtime(each.held, each.mtimeNs)
  }
  // One that is marked as not to be changed can have no second name, and cannot be removed; a file system that has no links says the same of all.
  return failed > 0 || (refused > 0 && held === 0) ? 'the file system refused it' : undefined
}

function hold(
  { disk }: Holder,
  { live, held }: { readonly live: RawPath; readonly held: RawPath },
): 'held' | 'refused' | 'failed' | 'gone' {
  try {
    disk.link(live, held)
    return 'held'
  } catch (error) {
    if (isGoing(error)) return 'gone'
    return systemErrorCode(error) === 'EPERM' ? 'refused' : 'failed'
  }
}

/** A path of others that leads elsewhere by now is refused by `inHeldFolder`. */
function isGoing(error: unknown): boolean {
  return error instanceof VmlError || ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemErrorCode(error) ?? '')
}

/** Not made yet, but for the folder that it is to stand in: root's alone, since others may not have a second way to their neighbours' files. */
function tryMakePlace(
  place: Holder,
  { live, own }: { readonly live: RawPath; readonly own: RawPath },
  top: FileStatus,
): RawPath | undefined {
  const { disk } = place
  const state = disk.look(heldFolder(place))
  if (state !== undefined && regionOf(state) === regionOf(top)) return own
  const beside = below(live, `${besideName}${randomBytes(8).toString('hex')}`)
  // First where it is, then it: one that is cut off is found, and removed.
  symlinkSync(rawToBytes(beside), rawToBytes(own))
  try {
    disk.makeFolder(beside, 0o700)
  } catch {
    // Full, or mounted read-only: that is no reason to do nothing.
    disk.remove(own, 'file')
    return undefined
  }
  return below(beside, 'held')
}

/** For who is told of it: of a folder that is gone, the folder alone. */
export function takenNow(place: Holder): readonly RawPath[] {
  return outermost(notCleaned(place, takenOf(place, heldThings(place))))
}

/** Their paths, but for what a start of the machine took; folders before what lies in them. */
function notCleaned(place: Holder, taken: readonly HeldThing[]): readonly RawPath[] {
  const isCleaned = cleanedBy(place)
  return taken.flatMap(({ path }) => (isCleaned(path) ? [] : [path]))
}

/** A start of the machine empties /tmp: what is gone from there by then was taken by nobody, or nobody can tell. */
function cleanedBy(place: Holder): (path: RawPath) => boolean {
  const since = readIfThere(sinceFile(place))
  const isAnew = since !== undefined && since.toString('latin1') !== bootNow()
  return (path) => isAnew && isWithin(path, realFolders[0] ?? path)
}

function readIfThere(path: RawPath): Buffer | undefined {
  try {
    return readFileSync(rawToBytes(path))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** random(4): another one with each start of the kernel. */
function bootNow(): string {
  return markOf(process.pid)?.boot ?? 'unknown'
}

/** What is gone by now, and has no other name: what was only renamed lies somewhere else. By whomever. */
function takenOf(place: Holder, things: readonly HeldThing[]): readonly HeldThing[] {
  return lostOf(place, things).filter(({ path }) => lookAt(place, inRoot(place, path)) === undefined)
}

/**
 * That, and what has another thing at its path, if it may have been moved into the stage, or was taken before that came. What a program has replaced by a newer one, as
 * most do that write a file at once, is nobody's loss.
 */
function lostOf(place: Holder, things: readonly HeldThing[]): readonly HeldThing[] {
  const names = namesOf(place, things)
  const wasGone = readIfThere(waitsFile(place)) !== undefined
  let isInStage: ReturnType<typeof copiesInStage> | undefined
  const isClosed = closedSince(place)
  const [filled, robbed] = [new Set<RawPath>(), new Set<RawPath>()]
  const lost: HeldThing[] = []
  for (const thing of things.toReversed()) {
    const { path, status } = thing
    const known = names.get(identity(status))
    // With as many names as it had, those that are gone were only renamed.
    const mayBeLost = isFolder(status)
      ? robbed.has(path) || !filled.has(path)
      : known !== undefined && known.there < known.held && status.links - known.held < known.had
    const isOver = isSocket(status) && isClosed(path)
    if (!isOver) filled.add(parentPath(path))
    if (!mayBeLost || isOver) continue
    const now = lookAt(place, inRoot(place, path))
    if (now !== undefined && (isFolder(status) ? isFolder(now) : isSameThing(now, status))) {
      if (robbed.has(path)) robbed.add(parentPath(path))
      continue
    }
    // It holds nothing that could be lost: its program, or another one, has made a new one.
    if (isSocket(status) && now !== undefined && isSocket(now)) continue
    if (now !== undefined && !isFolder(status) && !wasGone) {
      isInStage ??= copiesInStage(place)
      if (typeOf(status.mode) !== 'file' || !isInStage(thing.held, status)) continue
    }
    lost.push(thing)
    robbed.add(parentPath(path))
  }
  return lost.toReversed()
}

function isSocket({ mode }: FileStatus): boolean {
  return typeOf(mode) === 'socket'
}

/** Sockets that a program had when they were held, and none has by now: it removed them itself, and some do not start where one is there. Of those that the list does not tell (another network namespace, a relative name) nobody knows. */
function closedSince(place: Holder): (path: RawPath) => boolean {
  const before = pathsOfSockets(readIfThere(socketsFile(place)))
  const now = pathsOfSockets(readIfThere(boundSockets))
  return (path) => {
    const live = inRoot(place, path)
    return before.has(live) && !now.has(live)
  }
}

/** proc_pid_net(5): the path is what was bound, be its name gone since. */
function pathsOfSockets(bytes: Uint8Array | undefined): ReadonlySet<RawText> {
  const lines = bytes === undefined ? [] : rawFromBytes(bytes).split('\n')
  return new Set(lines.map((line) => asRaw(/^(?:\S+ +){6}\d+ (\/.*)$/.exec(line)?.[1] ?? '')))
}

interface FileNames {
  /** Before it was held. */
  readonly had: number
  /** Second names of it. */
  held: number
  /** Those paths that are names of it still. */
  there: number
}

function namesOf(place: Holder, things: readonly HeldThing[]): ReadonlyMap<string, FileNames> {
  const counts = readNames(place)
  const files = Map.groupBy(
    things.filter(({ status }) => !isFolder(status)),
    ({ status }) => identity(status),
  )
  const names = new Map<string, FileNames>()
  for (const [file, its] of files) {
    // Of files that are let go in a stage that waits all second names are, or none.
    const known: FileNames = { had: counts.get(file) ?? 1, held: its.length, there: 0 }
    for (const { path, status } of its) {
      // With no more names than those that are held it is nowhere: not worth a look.
      if (status.links === its.length) break
      const now = lookAt(place, inRoot(place, path))
      if (now !== undefined && isSameThing(now, status)) known.there++
    }
    names.set(file, known)
  }
  return names
}

/** Of files that had several. */
function readNames(place: Holder): ReadonlyMap<string, number> {
  const lines = readIfThere(namesFile(place))?.toString('latin1').split('\n') ?? []
  return new Map(
    lines.flatMap((line) => {
      const [, file, count] = /^(\d+:\d+) (\d{1,10})$/.exec(line) ?? []
      return file === undefined ? [] : [[file, Number(count)] as const]
    }),
  )
}

function identity({ deviceId, inode }: FileStatus): string {
  return `${deviceId}:${inode}`
}

/** Of a stage that waits: what is still there needs no second name any more, and is not held for days. Not before `heldSince` was asked. */
export function letGoOfWhatIsThere(place: Holder): void {
  const things = heldThings(place)
  const needed = new Set<RawPath>()
  // By all the names that a file had is told later that one of them is lost.
  const files = new Set(lostOf(place, things).map(({ status }) => identity(status)))
  for (const { path, status } of things)
    if (files.has(identity(status))) for (let at = path; !needed.has(at); at = parentPath(at)) needed.add(at)
  for (const { path, held, status } of things.toReversed())
    if (!needed.has(path)) letGo(place, { held, status })
    else if (isFolder(status)) place.disk.setMtime(held, status.mtimeNs)
  // Last: what is held from here on was taken.
  if (readIfThere(waitsFile(place)) === undefined)
    place.disk.writeFile(waitsFile(place), 0o600, new Uint8Array())
}

/** What cannot go yet, nor a folder with it, goes or is told with the rest: `dropHeld`. */
function letGo({ disk }: Holder, { held, status }: Pick<HeldThing, 'held' | 'status'>): void {
  try {
    disk.remove(held, isFolder(status) ? 'folder' : 'file')
  } catch (error) {
    if (!['EPERM', 'ENOTEMPTY'].includes(systemErrorCode(error) ?? '')) throw error
  }
}

/**
 * Before a stage is thrown away, whose layers may hold the only copy: what was taken out of the real folders has its own name again, the same file with all that was written to it.
 * Nothing that stands there meanwhile is replaced. What cannot be put back stays held, and it is told where; so does what was in /tmp before the machine was started anew. Once more after a crash it does the rest. Gives what is back.
 */
export function putBackTaken(place: TellingHolder): readonly RawPath[] {
  tellNotHeld(place)
  const taken = lostOf(place, heldThings(place))
  const failed: HeldThing[] = []
  const isCleaned = cleanedBy(place)
  for (const thing of taken) if (isCleaned(thing.path) || !isPutBack(place, thing)) failed.push(thing)
  const back = taken.filter((thing) => !failed.includes(thing))
  for (const { path, status } of back.toReversed())
    if (isFolder(status)) trySetMtime(place, path, status.mtimeNs)
  if (back.length > 0)
    place.reporter.warn({
      warning: `${listed(back.map(({ path }) => path))}: removed meanwhile, or moved into the stage, and put back, since the stage is thrown away`,
    })
  if (failed.length > 0) keepApart(place, failed)
  return back.map(({ path }) => path)
}

function tellNotHeld(place: TellingHolder): void {
  const lost = topsOf(place).filter(({ own }) => {
    const beside = besideOf(place, own)
    return beside !== undefined && lookAt(place, beside) === undefined
  })
  if (lost.length === 0) return
  place.reporter.warn({
    warning: `What was removed meanwhile from ${lost.map(({ path }) => printable(path)).join(', ')} cannot be put back: what held it (${besideName}… there) was removed, too, or is not mounted any more`,
  })
}

function isPutBack(place: Holder, { path, held, status }: HeldThing): boolean {
  const live = inRoot(place, path)
  try {
    if (isFolder(status)) makeLike(place, held, live)
    else place.disk.link(held, live)
    return true
  } catch {
    const now = lookAt(place, live)
    return now !== undefined && (isFolder(status) ? isFolder(now) : isSameThing(now, status))
  }
}

/** As `makeFolderLike`, in a folder where others may write: none of them can lead it elsewhere. */
function makeLike({ libc }: Holder, like: RawPath, live: RawPath): void {
  const { uid, gid, mode } = libc.statAt(here, like)
  const xattrs = libc.readXattrs(like)
  inHeldFolder(libc, live, (folder, name) => {
    libc.makeFolderAt(folder, name, 0o700)
    const made = libc.openAt(folder, name, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
    try {
      libc.chownOf(made, { uid, gid })
      for (const xattr of xattrs) libc.setXattr(made, xattr.name, xattr.value)
      libc.chmodOf(made, mode & 0o7777)
    } finally {
      libc.close(made)
    }
  })
}

function trySetMtime(place: Holder, path: RawPath, mtimeNs: bigint): void {
  try {
    place.disk.setMtime(inRoot(place, path), mtimeNs)
  } catch {
    // Somebody took it away again.
  }
}

/** Nothing of it is removed with the stage from here on. */
function keepApart(place: TellingHolder, failed: readonly HeldThing[]): void {
  const apart = apartFrom(place)
  const own = heldFolder(place)
  const moved = failed.map(({ held }) =>
    held.startsWith(`${own}/`) ? below(apart, held.slice(own.length + 1)) : held,
  )
  letGoOfWhatIsThere(place)
  for (const { own: top } of topsOf(place)) {
    const beside = besideOf(place, top)
    if (beside !== undefined && !failed.some(({ held }) => held.startsWith(`${beside}/`))) isRemoved(beside)
  }
  place.disk.rename(heldFolder(place), apart)
  place.reporter.warn({
    warning: `${listed(failed.map(({ path }) => path))}: removed meanwhile, or moved into the stage, and not put back, since something else is in the way, or the machine was started anew. It is kept as ${listed(moved)}: take from there what is needed, then remove that folder`,
  })
}

/** What was taken out of the real folders by the end of a command that is not thrown away. */
export interface Taken {
  /**
   * Folders of logs that are gone, as changes of the transaction: a service whose package comes back does not make its own, and does not start without it. Their logs are not
   * kept. A redo removes one only where nothing lies in it.
   */
  readonly logFolders: readonly PathChange[]
  /** All else: no undo brings it back. A folder of logs that held something, too. */
  readonly forGood: readonly RawPath[]
}

/** One walk through all second names, tens of thousands where /tmp is full. */
export function lookTaken(place: Holder): Taken {
  const things = takenOf(place, heldThings(place))
  const logFolders = things.flatMap(({ path, held, status }) =>
    isFolder(status) && isWithin(path, logFolder)
      ? [{ path, before: outlineOf(place.libc, held, status) }]
      : [],
  )
  const folders = new Set(logFolders.map(({ path }) => path))
  const taken = notCleaned(place, things)
  const others = taken.filter((path) => !folders.has(path))
  return {
    logFolders,
    forGood: outermost(taken).filter(
      (path) => !folders.has(path) || others.some((other) => isWithin(other, path)),
    ),
  }
}

/** For the record of what was committed. */
export function takenNotKept({ forGood }: Taken): readonly NotKept[] {
  return forGood.map((path) => ({
    path,
    reason: 'it was removed, or moved away, where no stage holds it, by the command or by somebody else',
  }))
}

export function tellTaken({ reporter }: Pick<TellingHolder, 'reporter'>, { forGood }: Taken): void {
  if (forGood.length === 0) return
  reporter.warn({
    warning: `Not kept: ${listed(forGood)} ${forGood.length === 1 ? 'was' : 'were'} removed meanwhile, or moved away, on the machine itself, by the command or by somebody else. No undo brings that back; folders of logs come back empty`,
  })
}

/** Whoever throws the stage away has put back what was taken. What was marked as not to be changed meanwhile cannot lose its second name: that keeps nobody from the next transaction. */
export function dropHeld(place: Pick<Workplace, 'state' | 'disk' | 'reporter'>): void {
  const left: RawPath[] = []
  for (const { own: top } of topsOf(place)) {
    const beside = besideOf(place, top)
    if (beside !== undefined && !isRemoved(beside)) left.push(beside)
  }
  const own = heldFolder(place)
  if (!isRemoved(own)) {
    const apart = apartFrom(place)
    place.disk.rename(own, apart)
    left.push(apart)
  }
  if (left.length === 0) return
  place.reporter.warn({
    warning: `${listed(left)}: second names of files that were marked meanwhile as not to be changed (chattr), and are there still. Nothing is lost; take the mark away, and remove that folder`,
  })
}

function isRemoved(folder: RawPath): boolean {
  try {
    rmSync(rawToBytes(folder), { recursive: true, force: true })
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'EPERM') return false
    throw error
  }
}

function apartFrom(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(place.state, `held-${randomBytes(4).toString('hex')}`)
}

/** A file whose status changed later was written by somebody: before, it may have got its second name. Undefined where none has one. */
export function heldSince(place: Pick<Workplace, 'state' | 'disk'>): bigint | undefined {
  return place.disk.look(sinceFile(place))?.ctimeNs
}

/** Folders before what lies in them. */
function heldThings(place: Holder): readonly HeldThing[] {
  const { disk } = place
  const things: HeldThing[] = []
  for (const { path, own } of topsOf(place)) {
    const beside = besideOf(place, own)
    const held = beside === undefined ? own : below(beside, 'held')
    const status = lookAt(place, held)
    if (status !== undefined) things.push({ path, held, status })
  }
  for (const { path, held, status } of things)
    if (isFolder(status))
      for (const name of disk.list(held)) {
        const child = { path: below(path, name), held: below(held, name) }
        const found = disk.look(child.held)
        if (found !== undefined) things.push({ ...child, status: found })
      }
  return things
}

function besideOf(place: Pick<Workplace, 'disk'>, own: RawPath): RawPath | undefined {
  const status = place.disk.look(own)
  if (status === undefined || !isLink(status)) return undefined
  return parseRawPath(rawFromBytes(readlinkSync(rawToBytes(own), { encoding: 'buffer' })))
}

function lookAt({ disk }: Holder, path: RawPath): FileStatus | undefined {
  try {
    return disk.look(path)
  } catch {
    return undefined
  }
}

function outermost(paths: readonly RawPath[]): readonly RawPath[] {
  const all = new Set(paths)
  return paths.filter((path) => !all.has(parentPath(path)))
}

function listed(paths: readonly RawPath[]): string {
  return firstFew(outermost(paths), toldMax, (path) => `"${printable(path)}"`)
}

function below(folder: RawPath, name: string): RawPath {
  return `${folder}/${name}` as RawPath
}

function heldFolder(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(openFolder(place), 'held')
}

/** A folder that is the real one in a stage, or a mount in one. */
interface Top {
  readonly path: RawPath
  /** What is like it, or a link to the folder beside that has that. */
  readonly own: RawPath
}

function realTops(place: Pick<Workplace, 'state'>): Top[] {
  return realFolders.map((path, number) => ({ path, own: below(heldFolder(place), String(number)) }))
}

/** First which mount it is, then what is held of it. */
function makeTop(place: Holder, path: RawPath, number: number): Top {
  const own = below(heldFolder(place), String(number))
  place.disk.writeFile(pathOfTop(own), 0o600, rawToBytes(path))
  return { path, own }
}

function topsOf(place: Pick<Workplace, 'state' | 'disk'>): Top[] {
  const tops = realTops(place)
  for (let number = tops.length; number < topsMax; number++) {
    const own = below(heldFolder(place), String(number))
    const bytes = readIfThere(pathOfTop(own))
    const path = bytes && parseRawPath(rawFromBytes(bytes))
    if (path === undefined) break
    tops.push({ path, own })
  }
  return tops
}

const topsMax = 1000

function pathOfTop(own: RawPath): RawPath {
  return `${own}.path` as RawPath
}

function sinceFile(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(heldFolder(place), 'since')
}

function socketsFile(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(heldFolder(place), 'sockets')
}

function namesFile(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(heldFolder(place), 'names')
}

/** There once a stage waits. */
function waitsFile(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(heldFolder(place), 'waits')
}
