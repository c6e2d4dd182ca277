// The journalled commit on a machine over ssh: planned here from what was listed there, written there whole and synced, done there by its own sh.
import { createHash } from 'node:crypto'
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, rawToBytes, type RawText } from '../base/raw-text.ts'
import { isWithin, nearestIn, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import type { Attributes } from '../model/tree.ts'
import { listBelow } from '../source/list-below.ts'
import type { WriteItem } from '../source/source.ts'
import { planCommit } from '../stage/commit-plan.ts'
import { inFolder, type Journal, type JournalState, parseState, readyStates } from '../stage/journal.ts'
import { decodeJournal, encodeJournal } from '../stage/journal-format.ts'
import { planKeepFolders } from '../stage/keep-folders.ts'
import { openListedDisk, withFoldersAbove } from '../stage/listed-disk.ts'
import { recoverScript } from '../stage/recover-script.ts'
import {
  changedStatus,
  commitScript,
  forgetScript,
  prepareScript,
  sumsScript,
} from '../stage/remote-commit-script.ts'
import { changedMeanwhile, goneFolders } from './remote-changes.ts'
import {
  readRemoteFile,
  type RemoteMachine,
  remoteOpen,
  statusesOf,
  tryWork,
  work,
  writeRemoteFile,
} from './remote-machine.ts'
import { lastWords } from './remote-stage.ts'

export interface RemoteCommit {
  readonly changes: readonly PathChange[]
  readonly mountInfo: RawText
  /** Where the new thing of a path lies ready there; every one lies below one of these folders. */
  readonly places: ReadonlyMap<RawPath, RawPath>
  readonly readyFolders: readonly RawPath[]
  readonly folderMtimeNs: (path: RawPath) => bigint | undefined
}

export interface PreparedRemote {
  readonly journal: Journal
  readonly script: RawPath
}

const stateBytesMax = 64
/** As `readJournal` has it. */
const journalBytesMax = 500 * 1024 * 1024

/**
 * Order: sums of what is to be changed, which the machine takes again right before it commits; the plan; journal, recover.sh and all states that may come, synced;
 * folders to keep things in; PREPARED. Nothing of the root is changed.
 */
export async function prepareRemote(machine: RemoteMachine, request: RemoteCommit): Promise<PreparedRemote> {
  const { changes } = request
  const folder = remoteOpen(machine, 'journal')
  const lists = { list: remoteOpen(machine, 'marks'), gone: remoteOpen(machine, 'gone') }
  await writeRemoteFile(
    machine,
    lists.list,
    nulEnded(changes.flatMap(({ path, before }) => (before ? [path] : []))),
  )
  await writeRemoteFile(machine, lists.gone, nulEnded(goneFolders(changes)))
  const sums = await work(machine, {
    script: sumsScript,
    words: [lists.list, lists.gone],
    doing: 'look at what is to be changed',
  })
  const [full, lasting] = sums.split('\n').map((line) => /^([0-9a-f]{64}) {2}-$/.exec(line)?.[1])
  if (full === undefined || lasting === undefined)
    throw new VmlError('remote.protocol', `Cannot understand ${machine.name}: its sums are none`)
  // What the sums were taken of is what the changes say.
  const live = await listAround(machine, changes)
  requireUnchanged(changes, live)
  const things = new Map<RawPath, Attributes>(live)
  for await (const { path, attributes } of listBelow(machine.shell, {
    starts: request.readyFolders,
    signal: machine.signal,
  }))
    things.set(path, attributes)
  for (const { path, before, after } of changes) {
    if (before?.xattrs) things.set(path, { ...(things.get(path) ?? before), xattrs: before.xattrs })
    const place = after && request.places.get(path)
    const ready = place && things.get(place)
    if (place && ready && after.device !== undefined) things.set(place, { ...ready, device: after.device })
  }
  const open = things.get(remoteOpen(machine))
  if (open) things.set(folder, open)
  const disk = openListedDisk(request.mountInfo, things)
  const keeps = planKeepFolders({ disk, root: rootPath, given: [inFolder(folder, 'keep')] })
  const planned = planCommit(
    disk,
    {
      root: rootPath,
      folder,
      changes,
      prepared: (path) => request.places.get(path) ?? inFolder(remoteOpen(machine), 'none'),
      folderMtimeNs: request.folderMtimeNs,
      replacesForAttributes: true,
    },
    keeps,
  )
  const journal: Journal = {
    root: rootPath,
    folder,
    keeps: keeps.used(),
    steps: planned.steps,
    times: planned.times,
    inside: planned.inside,
  }
  if (planned.preparations.some(({ kind }) => kind !== 'copy'))
    throw new TypeError('What lies ready for a commit is not whole')
  await requireAttributes(machine, journal)
  const script = remoteOpen(machine, 'commit.sh')
  try {
    await writeJournalThere(machine, journal)
    await writeRemoteFile(machine, script, commitScript(journal, { ...lists, full, lasting }))
    await work(machine, {
      script: prepareScript(journal, planned.preparations),
      doing: 'prepare the commit',
    })
    return { journal, script }
  } catch (error) {
    await tryWork(machine, { script: forgetScript(journal) }).catch(() => {})
    throw error
  }
}

/**
 * The commit goes on there without the connection, once it has begun. Fails with `conflict` where something was changed meanwhile, and nothing was
 * committed; with `unavailable.…` where the connection was lost: then nobody here knows.
 */
export async function commitRemote(machine: RemoteMachine, { script }: PreparedRemote): Promise<void> {
  const { status, stderr } = await tryWork(machine, {
    // In a session of its own: what ends this one does not end it.
    script: 'setsid -w /bin/sh "$1" >"$2" 2>&1 </dev/null; status=$?; tail -c 4096 "$2" >&2; exit $status',
    words: [script, remoteOpen(machine, 'commit.log')],
  })
  if (status === 0 && (await remoteState(machine)) === 'COMMITTED') return
  if (status === changedStatus) throw changedMeanwhile([asRaw(lastWords(stderr)) as RawPath])
  throw new VmlError('failed', `Cannot commit on ${machine.name}: ${lastWords(stderr)}`, {
    details: { status },
  })
}

/** Ends, or takes back, what was cut off: in its own direction, or the one that is wanted. */
export async function finishRemote(
  machine: RemoteMachine,
  direction?: 'backward',
): Promise<JournalState | undefined> {
  const { status, stderr } = await tryWork(machine, {
    // In a session of its own, as the commit itself.
    script:
      'log=$1; shift; setsid -w /bin/sh "$@" >"$log" 2>&1 </dev/null; status=$?; tail -c 4096 "$log" >&2; exit $status',
    words: [
      remoteOpen(machine, 'recover.log'),
      remoteOpen(machine, 'journal', 'recover.sh'),
      ...(direction ? [`--${direction}`] : []),
    ],
  })
  const state = await remoteState(machine)
  if (status !== 0 || state === 'COMMITTING' || state === 'TAKING-BACK')
    throw new VmlError(
      'failed',
      `Cannot ${direction === 'backward' ? 'take back' : 'end'} the commit on ${machine.name}: ${lastWords(stderr)}`,
      {
        hint: `Nothing is lost. Remove the cause, then vml tx recover --on ${machine.name}, with or without --backward`,
      },
    )
  return state
}

/** What was kept is gone afterwards, and so is the journal. */
export async function forgetRemote(machine: RemoteMachine, journal: Journal): Promise<void> {
  const { status, stderr } = await tryWork(machine, { script: forgetScript(journal) })
  if (status === 0) return
  throw new VmlError('remote.command', `Cannot forget the journal on ${machine.name}: ${lastWords(stderr)}`, {
    hint: `Remove the cause, then vml tx recover --on ${machine.name}`,
  })
}

/** Undefined where there is no journal, or one that was cut off while it was written. */
export async function remoteState(machine: RemoteMachine): Promise<JournalState | undefined> {
  const bytes = await readRemoteFile(machine, remoteOpen(machine, 'journal', 'state'), stateBytesMax)
  return bytes && parseState(bytes, remoteOpen(machine, 'journal'))
}

export async function remoteJournal(machine: RemoteMachine): Promise<Journal | undefined> {
  const folder = remoteOpen(machine, 'journal')
  const bytes = await readRemoteFile(machine, inFolder(folder, 'steps') as RawPath, journalBytesMax)
  const journal = bytes && decodeJournal(bytes, folder)
  return journal && requireOwnKeeps(machine, journal)
}

/** What is removed with a journal are folders of VML's, whatever the journal says. */
function requireOwnKeeps(machine: RemoteMachine, journal: Journal): Journal {
  const own = remoteOpen(machine)
  for (const { folder, made } of journal.keeps)
    for (const path of [folder, ...made])
      if (!isWithin(path as string as RawPath, own) && !/\/\.vml-stage(?:\/keep)?$/.test(path))
        throw new VmlError(
          'integrity.format',
          `Cannot read the journal on ${machine.name}: it keeps things in "${printable(path)}"`,
        )
  return journal
}

/** All that is changed, and the folders above. */
async function listAround(
  machine: RemoteMachine,
  changes: readonly PathChange[],
): Promise<Map<RawPath, Attributes>> {
  const wanted = new Set<RawPath>()
  // Subvolumes and mounts below have their own folder to keep things in.
  for (const { path } of [...changes, { path: remoteOpen(machine) }])
    for (const each of withFoldersAbove(path)) {
      wanted.add(each)
      wanted.add(asRaw(`${each === rootPath ? '' : each}/.vml-stage`) as RawPath)
    }
  return await statusesOf(machine, [...wanted])
}

/** By its numbers: whoever writes to a file moves its time of change. */
function requireUnchanged(changes: readonly PathChange[], live: ReadonlyMap<RawPath, Attributes>): void {
  // In a folder that is itself new nothing can stand; and its name may lead elsewhere now.
  const comes = new Set(
    changes.flatMap(({ path, before, after }) =>
      after?.type === 'dir' && before?.type !== 'dir' ? [path] : [],
    ),
  )
  const different = changes.filter(({ path, before }) => {
    const now = live.get(path)
    if (before === undefined) return now !== undefined && nearestIn(parentPath(path), comes) === undefined
    return now === undefined || !isStill(before, now)
  })
  if (different.length > 0) throw changedMeanwhile(different.map(({ path }) => path))
}

function isStill(before: Fingerprint, now: Attributes): boolean {
  const same =
    before.type === now.type &&
    before.mode === now.mode &&
    before.uid === now.uid &&
    before.gid === now.gid &&
    before.inode === now.inode
  if (before.type === 'dir') return same
  return (
    same &&
    before.mtimeNs === now.mtimeNs &&
    before.size === now.size &&
    // One more name moves it, and nothing else does without moving another of these.
    (before.ctimeNs === now.ctimeNs || before.links !== now.links)
  )
}

/** Attributes of a folder that stays are set by setfattr alone. */
async function requireAttributes(machine: RemoteMachine, { steps }: Journal): Promise<void> {
  const step = steps.find((each) => each.kind === 'attributes' && each.after.xattrs !== undefined)
  if (step === undefined) return
  const { status } = await tryWork(machine, { script: 'command -v setfattr' })
  if (status === 0) return
  throw new VmlError(
    'unsupported',
    `Cannot change the attributes of "${printable(step.path)}" on ${machine.name}: it has no setfattr`,
    {
      hint: 'Nothing was changed. Debian: apt-get install attr, there',
    },
  )
}

/** Durable when it returns; a journal without a state has changed nothing. */
async function writeJournalThere(machine: RemoteMachine, journal: Journal): Promise<void> {
  const files: readonly (readonly [string, number, Uint8Array])[] = [
    ['steps', 0o600, encodeJournal(journal)],
    ['recover.sh', 0o700, recoverScript(journal)],
    ...readyStates().map(([name, bytes]) => [name, 0o600, bytes] as const),
  ]
  const folder = journal.folder as string as RawPath
  const own = { uid: 0, gid: 0, mtimeNs: BigInt(machine.clock.now()) * 1_000_000n }
  const nothing = async function* (): AsyncIterable<never> {
    yield* []
  }
  async function* items(): AsyncIterable<WriteItem> {
    yield { path: folder, attributes: { ...own, type: 'dir', mode: 0o700 }, segments: nothing }
    for (const [name, mode, bytes] of files)
      yield {
        path: inFolder(folder, name) as RawPath,
        attributes: { ...own, type: 'file', mode, size: bytes.length },
        segments: async function* () {
          yield { kind: 'data', bytes }
        },
      }
  }
  const failures = await machine.source.write(items(), [remoteOpen(machine)], machine.signal)
  const [first] = failures
  if (first)
    throw new VmlError('remote.command', `Cannot write the journal on ${machine.name}: ${first.message}`)
  // What lies there is what was written: nothing else is run.
  const sum = new Map<RawPath, string>()
  for await (const { path, sha256 } of machine.source.digest(
    files.map(([name]) => inFolder(folder, name) as RawPath),
  ))
    if (sha256 !== undefined) sum.set(path, sha256)
  for (const [name, , bytes] of files)
    if (sum.get(inFolder(folder, name) as RawPath) !== createHash('sha256').update(bytes).digest('hex'))
      throw new VmlError(
        'remote.command',
        `Cannot write the journal on ${machine.name}: what lies there is something else`,
      )
}

function nulEnded(paths: readonly RawPath[]): Buffer {
  return rawToBytes(asRaw(paths.map((path) => `${path}\0`).join('')))
}
