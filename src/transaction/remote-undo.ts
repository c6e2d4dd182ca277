// `vml tx undo --on MACHINE`: planned here, with what lies there now; made ready there, hashed, committed by its journal, proved there, and recorded here.
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText } from '../base/raw-text.ts'
import { isWithin, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { isAlwaysWritten } from '../model/regeneration.ts'
import { type Fingerprint, type PathChange, sameState } from '../model/transaction.ts'
import type { ServiceAction, Validation } from '../model/transaction-record.ts'
import { asSegments } from '../model/tree.ts'
import { nulTerminated } from '../source/guest-script.ts'
import type { WriteItem } from '../source/source.ts'
import { withFoldersAbove } from '../stage/listed-disk.ts'
import { linkGroup } from './link-group.ts'
import { notMadeAnew } from './before-anew.ts'
import { regenerate, regenerateAfter } from './make-anew.ts'
import { provePackages } from './prove-packages.ts'
import { keepPackages, readPackagesNow } from './packages-now.ts'
import { finishRemote, forgetRemote, type PreparedRemote, prepareRemote } from './remote-commit.ts'
import { readRemoteContents } from './remote-contents.ts'
import { remoteFingerprints } from './remote-fingerprints.ts'
import { NotLookedAt, openRemoteLook } from './remote-look.ts'
import { type RemoteMachine, remoteOpen, tryWork } from './remote-machine.ts'
import { remotePlace } from './remote-place.ts'
import { commitOrTakeBack, recordCommittedRemote, type RemoteParts, writeRemoteIntent } from './remote-run.ts'
import { remoteUndoNeeds } from './remote-space.ts'
import { dropRemote, lockRemote, readMountInfo } from './remote-stage.ts'
import { cachesThatWent, mayDiffer, provenPaths, undoTitle } from './run-undo.ts'
import { requireSpace } from './space-need.ts'
import type { StageNote } from './stage-note.ts'
import { contentBytesMax, type TransactionContents } from './transaction-contents.ts'
import type { StoredTransaction } from './transaction-entry.ts'
import { planUndo, takenBackBy, type UndoParts, type UndoPlan, type UndoRequest } from './undo.ts'
import { plannedSegments } from './undo-packages.ts'
import type { PlannedPath } from './undo-plan.ts'
import { undoViewOf } from './undo-view.ts'

export interface RemoteUndo extends RemoteParts {
  readonly contents: TransactionContents
  readonly user: StageNote['user']
  readonly command: readonly RawText[]
  /** What it is told as, where that is shorter than the names of all that it takes back. */
  readonly title?: string | undefined
  /** Stops what has files among the paths, and gives back a function that starts it again. */
  stopServices(units: readonly string[]): Promise<() => Promise<readonly ServiceAction[]>>
}

/** Each turn reads what the one before it asked for. */
const turnsMax = 10_000

/** Reads only. */
export async function planRemoteUndo(
  parts: Pick<RemoteUndo, 'machine' | 'logbook' | 'contents'> & Pick<UndoParts, 'listed'>,
  request: UndoRequest,
): Promise<UndoPlan> {
  const { machine } = parts
  const look = openRemoteLook(machine)
  const undo: UndoParts = {
    ...parts,
    place: remotePlace(machine),
    async openView({ transactions, contents, packages, going, staying }) {
      await look.readAhead(transactions)
      // No comparison finds what changed there, so that a record has nothing of the folder by another path.
      const ownFolder = (path: RawPath) =>
        isWithin(path, machine.state) ? ({ path: machine.state, what: 'state' } as const) : undefined
      return undoViewOf({ transactions, contents, packages, going, staying }, { ...look, ownFolder })
    },
  }
  for (let turn = 0; turn < turnsMax; turn++)
    try {
      return await planUndo(undo, request)
    } catch (error) {
      if (!(error instanceof NotLookedAt)) throw error
      await look.fetch()
    }
  throw new TypeError('A plan of an undo never has all that it asks for')
}

/**
 * Order: contents are made ready there and hashed while the machine is untouched; services stop; the journalled commit; what is made anew; services start;
 * proof. If the proof fails, the commit is taken back. Then the record, then the journal is forgotten.
 */
export async function runRemoteUndo(parts: RemoteUndo, plan: UndoPlan): Promise<StoredTransaction> {
  const { machine, user, command } = parts
  requireSpace(`${plan.kind} it on ${machine.name}`, await remoteUndoNeeds(machine, plan))
  const mountInfo = await readMountInfo(machine)
  await using lock = await lockRemote(machine, {
    source: plan.kind,
    title: parts.title ?? undoTitle(plan),
    note: '',
    tags: [],
    command,
    user,
  })
  const discard = async () => await dropRemote(machine, undefined)
  const place = remotePlace(machine)
  const takenBack = takenBackBy(plan)
  let made: PreparedRemote | undefined
  let prepared: PreparedRemote
  let ready: Ready
  let packages: Awaited<ReturnType<typeof readPackagesNow>>
  let start: () => Promise<readonly ServiceAction[]>
  try {
    machine.reporter.progress({ phase: 'getting what was there before' })
    ready = await makeReady(parts, plan)
    packages = await readPackagesNow(place)
    await keepPackages(place, packages)
    await writeRemoteIntent(machine, ready.changes, {
      exitStatus: 0,
      toMakeAnew: plan.regenerations,
      ...takenBack,
    })
    made = await prepareRemote(machine, {
      changes: ready.changes,
      mountInfo,
      places: ready.places,
      readyFolders: [ready.folder],
      folderMtimeNs: (path) => ready.folderTimes.get(path),
    })
    prepared = made
    await requireNoPackageRun(machine)
    start = await parts.stopServices(plan.units)
  } catch (error) {
    await (made ? forgetRemote(machine, made.journal) : Promise.resolve()).then(discard).catch(() => {})
    throw error
  }
  let services: readonly ServiceAction[]
  let validations: readonly Validation[]
  try {
    await commitOrTakeBack(machine, prepared, discard)
  } catch (error) {
    await start().catch(() => {})
    throw error
  }
  try {
    machine.reporter.progress({ phase: 'proving it' })
    await regenerate(place, plan.regenerations)
    services = await start()
    validations = await prove(machine, plan)
  } catch (error) {
    await takeBack(machine, plan, prepared)
    await start().catch(() => {})
    throw error
  }
  return await recordCommittedRemote(parts, {
    note: lock.note,
    plan: undefined,
    prepared,
    changes: ready.changes,
    exitStatus: 0,
    packages,
    validations,
    ...takenBack,
    services,
  })
}

/** They are in the way of what is put back at their paths. */
export async function removeMadeAnewThere(machine: RemoteMachine, paths: readonly RawPath[]): Promise<void> {
  await tryWork(machine, {
    script: `xargs -0 sh -c 'for path; do if [ -f "$path" ] && [ ! -L "$path" ]; then rm -f "$path"; fi; done' sh`,
    stdin: nulTerminated(paths),
  })
}

async function takeBack(machine: RemoteMachine, plan: UndoPlan, { journal }: PreparedRemote): Promise<void> {
  await removeMadeAnewThere(machine, cachesThatWent(plan))
  await finishRemote(machine, 'backward')
  // While the journal says that it was taken back: cut off here, a recovery makes them anew.
  await regenerateAfter('take-back', remotePlace(machine), plan.regenerations)
  await forgetRemote(machine, journal)
  await dropRemote(machine, undefined)
}

interface Ready {
  readonly changes: readonly PathChange[]
  /** Everything of it lies below this one. */
  readonly folder: RawPath
  readonly places: ReadonlyMap<RawPath, RawPath>
  readonly folderTimes: ReadonlyMap<RawPath, bigint>
}

interface Thing {
  readonly path: RawPath
  readonly wanted: Fingerprint
  /** Without it the content is that of now, at `from`. */
  readonly content: PlannedPath['content']
  readonly from: RawPath
  /** Things with one group become names of one file; without it, a file of its own. */
  readonly group: string | undefined
}

/** Every thing of the plan at its own path in a folder of the stage, with all its attributes; then looked at, and hashed, there. */
async function makeReady(parts: RemoteUndo, plan: UndoPlan): Promise<Ready> {
  const { machine } = parts
  const things: Thing[] = []
  const changes: PathChange[] = []
  for (const { path, now, wanted, content } of plan.paths.paths) {
    if (wanted) things.push({ path, wanted, content, from: path, group: linkGroup(content, wanted) })
    changes.push({ path, ...(now ? { before: now } : {}), ...(wanted ? { after: wanted } : {}) })
  }
  for (const { path, of, wanted, content } of plan.beside) {
    things.push({ path, wanted, content, from: of, group: undefined })
    changes.push({ path, after: wanted })
  }
  things.sort((one, other) => (one.path < other.path ? -1 : 1))
  changes.sort((one, other) => (one.path < other.path ? -1 : 1))
  const folder = remoteOpen(machine, 'new')
  const places = new Map(things.map(({ path }) => [path, placeOf(folder, path)]))
  const failures = await machine.source.write(
    itemsOf(parts, folder, things),
    [remoteOpen(machine)],
    machine.signal,
  )
  const [first] = failures
  if (first)
    throw new VmlError(
      'remote.command',
      `Cannot make the ${plan.kind} ready on ${machine.name}: ${first.message}`,
      {
        hint: 'Nothing was changed',
      },
    )
  const written = await remoteFingerprints(machine, [...places.values()])
  for (const { path, wanted } of things) {
    if (sameState(written.get(placeOf(folder, path)), wanted)) continue
    throw new VmlError(
      'proof',
      `Cannot make "${printable(path)}" ready on ${machine.name}: it is not what it was to be`,
      {
        hint: 'Nothing was changed',
      },
    )
  }
  const folderTimes = new Map(
    changes.flatMap(({ path, after }) => (after?.type === 'dir' ? [[path, after.mtimeNs] as const] : [])),
  )
  return { changes, folder, places, folderTimes }
}

function placeOf(folder: RawPath, path: RawPath): RawPath {
  return asRaw(path === rootPath ? folder : folder + path) as RawPath
}

/** Folders above that the plan does not have are made for the place alone. */
async function* itemsOf(
  { machine, contents }: RemoteUndo,
  folder: RawPath,
  things: readonly Thing[],
): AsyncIterable<WriteItem> {
  const planned = new Map(things.map((thing) => [thing.path, thing]))
  const made = new Set<RawPath>()
  const firsts = new Map<string, RawPath>()
  for (const thing of things) {
    const { path } = thing
    for (const above of [...withFoldersAbove(parentPath(path))].toReversed()) {
      if (made.has(above) || planned.get(above)?.wanted.type === 'dir') continue
      made.add(above)
      yield plainFolder(placeOf(folder, above))
    }
    if (path === rootPath && made.has(path)) continue
    made.add(path)
    const { wanted, content, group } = thing
    const item = { path: placeOf(folder, path), attributes: wanted }
    if (wanted.type !== 'file') {
      yield { ...item, segments: nothing }
      continue
    }
    const first = group === undefined ? undefined : firsts.get(group)
    if (group !== undefined && first === undefined) firsts.set(group, item.path)
    if (first !== undefined) yield { ...item, hardLinkTo: first, segments: nothing }
    else
      yield {
        ...item,
        async *segments() {
          yield* content
            ? plannedSegments(contents, content)
            : asSegments(await contentNow(machine, thing.from))
        },
      }
  }
}

const nothing: WriteItem['segments'] = async function* () {
  yield* []
}

function plainFolder(path: RawPath): WriteItem {
  return { path, attributes: { type: 'dir', mode: 0o700, uid: 0, gid: 0, mtimeNs: 0n }, segments: nothing }
}

async function contentNow(machine: RemoteMachine, path: RawPath): Promise<Buffer> {
  const limits = { fileBytesMax: contentBytesMax, allBytesMax: contentBytesMax }
  const bytes = (await readRemoteContents(machine, [path], limits)).get(path)
  if (bytes) return bytes
  throw new VmlError(
    'conflict',
    `Cannot read "${printable(path)}" on ${machine.name}: it went away meanwhile`,
    {
      hint: 'Nothing was changed. Repeat it',
    },
  )
}

/** dpkg's locks are the kernel's: a shell cannot take them, but see them (proc(5), "/proc/locks"). */
async function requireNoPackageRun(machine: RemoteMachine): Promise<void> {
  const { stdout } = await tryWork(machine, {
    script: `for file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock; do
  inode=$(stat -c %i "$file" 2>/dev/null) || continue
  grep -E " POSIX .*:$inode 0 " /proc/locks 2>/dev/null
done
:`,
  })
  if (stdout.trim() === '') return
  throw new VmlError(
    'store.locked',
    `Cannot take it back: a run of apt or dpkg is under way on ${machine.name}`,
    {
      hint: 'Nothing was changed. Wait until it has ended',
    },
  )
}

/** Every path by its hash, and the distribution's own checks. */
async function prove(machine: RemoteMachine, plan: UndoPlan): Promise<readonly Validation[]> {
  const made = plan.paths.regenerated.filter((path) => isAlwaysWritten(path))
  const now = await remoteFingerprints(machine, [...plan.paths.paths.map(({ path }) => path), ...made])
  const missing = made.find((path) => now.get(path)?.type !== 'file')
  if (missing !== undefined) throw notMadeAnew(missing)
  for (const planned of plan.paths.paths) {
    const { path, wanted } = planned
    if (mayDiffer(planned, plan) || sameState(now.get(path), wanted)) continue
    throw new VmlError('proof', `"${printable(path)}" is not as it was to be after the ${plan.kind}`, {
      details: { path: printable(path) },
      hint: `Everything was put back as it was before the ${plan.kind}`,
    })
  }
  return [provenPaths(plan), ...(await provePackages(remotePlace(machine), plan))]
}
