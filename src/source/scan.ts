// Lists everything below some folders of a machine, each path once, without entering what must not be foreign.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import {
  isRawName,
  isWithin,
  joinPath,
  parentPath,
  pathParts,
  rootPath,
  type RawPath,
} from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { gnuFindWords, plainFindWords, type WalkPlan } from './find-plan.ts'
import {
  commandFailure,
  freshNonce,
  nulTerminated,
  protocolFailure,
  runScript,
  safeMessage,
  startScript,
  wordsAtOnceBytesMax,
  xargsAtOnce,
} from './guest-script.ts'
import type { Mount } from '../wire/mount-table.ts'
import { type LocalCalls, walkHere } from './local-walk.ts'
import { openOwners, watchedSink } from './owners.ts'
import { neverEntered, surveyTerrain, type Terrain, type WalkRoot } from './mounts.ts'
import type { Tools } from './probe.ts'
import { statFormat } from './scan-records.ts'
import type { ListedSink, ScanProblem, ScanRecord, ScanRequest } from './source.ts'
import { attributeScript, explainMissing, readAttributeBatches, statFiles, type StatResult } from './stat.ts'
import { parseMessages } from './tool-messages.ts'
import { type OrdinaryPaths, readWalk } from './walk-reader.ts'
import { writeOutFirst, writeOutMapped } from './write-out.ts'
import { VmlError } from '../base/failure.ts'

/** Between two paths that find prints: a folder with millions of names is read without a word. */
const scanSilenceMs = 300_000
const namesBytesMax = 64 * 1024 * 1024

/**
 * Parents before children. Fails rather than leave something out without saying so: a walk that did not come to
 * its end is `remote.command`, one whose output is not what was asked for is `remote.protocol`.
 */
export async function* scanFiles(
  shell: Shell,
  tools: Tools,
  request: ScanRequest,
): AsyncIterable<ScanRecord> {
  const { prune = [], signal } = request
  const asked: RawPath[] = []
  for (const path of new Set(request.roots)) {
    if (neverEntered.some((folder) => isWithin(path, folder)))
      yield { kind: 'problem', path, problem: 'unreadable', message: 'This folder is never read' }
    else asked.push(path)
  }
  if (asked.length === 0) return
  const terrain = await surveyTerrain(shell, tools, { roots: asked, prune, signal })
  yield* terrain.problems
  // Before any walk begins; by the first one's own script where that is to be.
  let settle = request.settle ? terrain.roots.map(({ path }) => path) : []
  const settlesFirst = !request.calls && tools.find === 'gnu' && writeOutFirst(tools, settle) !== undefined
  if (!settlesFirst) {
    await writeOutMapped(shell, tools, settle, signal)
    settle = []
  }
  const unseen = [...prune, ...neverEntered]
  const owners = openOwners()
  const walks = walksOf(terrain.roots, unseen)
  const walked = new Set(walks.flat())
  const inner: RawPath[] = []
  const sink = request.sink && watchedSink(request.sink, owners)
  const way = { calls: request.calls, sink, signal }
  for (const roots of walks) {
    const foreign = (path: RawPath) => void inner.push(path)
    yield* owners.watch(walk(shell, tools, { terrain, roots, unseen, foreign, settle, ...way }))
    settle = []
  }
  // A root inside a file system that only the walk brought to light was not met after all.
  const left = terrain.roots.filter(
    (root) => !walked.has(root) && inner.some((path) => isWithin(root.path, path)),
  )
  for (const root of left)
    yield* owners.watch(
      walk(shell, tools, { terrain, roots: [root], unseen, foreign: () => {}, settle, ...way }),
    )
  if (request.onOwners && tools.find === 'gnu') request.onOwners(await owners.name(shell, tools, signal))
}

/** Which roots one walk takes: none that another root's walk meets anyway, none below another root of the same walk. */
function walksOf(roots: readonly WalkRoot[], unseen: readonly RawPath[]): WalkRoot[][] {
  const walks: WalkRoot[][] = []
  const outerFirst = roots.toSorted((left, right) => left.path.length - right.path.length)
  for (const root of outerFirst) {
    if (outerFirst.some((other) => other !== root && meets(other, root, unseen))) continue
    const walk = walks.find((others) => !others.some((other) => isWithin(root.path, other.path)))
    if (walk) walk.push(root)
    else walks.push([root])
  }
  return walks
}

/** Whether the walk below `outer` comes to `inner`: same file system, no link and nothing unseen between them. */
function meets(outer: WalkRoot, inner: WalkRoot, unseen: readonly RawPath[]): boolean {
  if (!isWithin(inner.path, outer.path) || outer.heldBy !== inner.heldBy) return false
  if (inner.physical === outer.physical || !isWithin(inner.physical, outer.physical)) return false
  if (
    pathParts(inner.path).length - pathParts(outer.path).length !==
    pathParts(inner.physical).length - pathParts(outer.physical).length
  )
    return false
  return !unseen.some(
    (folder) => isWithin(folder, outer.path) && folder !== inner.path && isWithin(inner.path, folder),
  )
}

/** Where a look at a path may take its time, find looks: it can be ended. */
const answeringFileSystems: ReadonlySet<string> = new Set(
  'ext2 ext3 ext4 xfs btrfs zfs bcachefs f2fs jfs tmpfs ramfs overlay vfat exfat ntfs3 squashfs erofs'.split(
    ' ',
  ),
)

interface Walk {
  readonly terrain: Terrain
  readonly roots: readonly WalkRoot[]
  readonly unseen: readonly RawPath[]
  /** Told of each file system that is in no mount table: its folder is listed, nothing below it. */
  readonly foreign: (path: RawPath) => void
  /** What find writes out before it begins: `writeOutFirst`. */
  readonly settle: readonly RawPath[]
  /** Set where this process may list the files itself, given a sink. */
  readonly calls: LocalCalls | undefined
  readonly sink: ListedSink | undefined
  readonly signal: AbortSignal | undefined
}

async function* walk(shell: Shell, tools: Tools, request: Walk): AsyncIterable<ScanRecord> {
  const { terrain, signal } = request
  const roots = request.roots.map(({ path }) => path)
  const rooted = (path: RawPath): boolean => roots.some((root) => isWithin(path, root))
  const others = new Set<string>(
    terrain.roots.map(({ path }) => path).filter((path) => !roots.includes(path)),
  )
  const mounts = new Map<string, Mount>()
  for (const mount of terrain.mounts)
    if (rooted(mount.path) && !roots.includes(mount.path)) mounts.set(mount.path, mount)
  const beside = await besideDead(shell, terrain.dead.filter(rooted), signal)
  const starts = [...roots, ...beside.starts]
  const plan: WalkPlan = {
    starts,
    prune: [...request.unseen.filter(rooted), ...(mounts.keys() as Iterable<RawPath>), ...beside.parents],
  }
  const startSet = new Set<string>(starts)
  const recorded = new Set<string>()
  const unseen = new Set<string>(roots)
  let device: bigint | undefined
  const { calls, sink } = request
  const isHere = request.roots.every(({ type }) => type !== undefined && answeringFileSystems.has(type))
  const special = new Set([...starts, ...plan.prune, ...(others as Set<RawPath>)].map(parentPath))
  const ordinary = sink && {
    sink,
    isOrdinary: (folder: RawPath) => rooted(folder) && !special.has(folder),
    device: () => device,
  }
  const results =
    calls && sink && isHere
      ? runWalkHere(shell, tools, { calls, sink, plan, signal })
      : runWalk(shell, tools, { plan, ordinary, settle: request.settle, signal })
  for await (const found of results) {
    if ('kind' in found) {
      yield found
      continue
    }
    const { path, verdict, attributes } = found
    if (!rooted(path)) throw protocolFailure(shell, 'it lists a file that was not asked for')
    if (attributes === undefined) {
      unseen.delete(path)
      yield { kind: 'problem', path, problem: 'vanished', message: 'It went away while the folder was read' }
      continue
    }
    if (startSet.has(path)) device = attributes.deviceId
    unseen.delete(path)
    const mount = mounts.get(path)
    if (mount) recorded.add(path)
    // A file system within the file system, as btrfs has them, is in no mount table, and find stays out of it.
    const subvolume = !mount && attributes.type === 'dir' && attributes.deviceId !== device
    if (subvolume) request.foreign(path)
    // Another root's own walk records it.
    if (others.has(path) && (mount || subvolume)) continue
    yield { kind: 'item', path, attributes }
    if (mount) yield { kind: 'mount', path, type: mount.type }
    else if (subvolume) yield { kind: 'mount', path, type: 'subvolume' }
    else if (verdict === 'unreadable' && !plan.prune.includes(path))
      yield { kind: 'problem', path, problem: 'unreadable', message: 'Permission denied' }
  }
  yield* explainMissing(shell, [...unseen] as RawPath[], signal)
  // busybox's find does not print the folder of another file system.
  const unprinted = [...mounts.values()].filter(({ path }) => !recorded.has(path) && !others.has(path))
  for await (const record of statFiles(
    shell,
    tools,
    unprinted.map(({ path }) => path),
    signal,
  )) {
    if (record.kind === 'problem') continue
    yield record
    yield { kind: 'mount', path: record.path, type: mounts.get(record.path)?.type ?? 'unknown' }
  }
}

/**
 * A walk looks at every folder that it lists, and would hang at a mount that does not answer. So the folder that
 * holds such a mount is not foreign; what else is in it becomes starting points. Names are read without looking at them.
 */
async function besideDead(
  shell: Shell,
  dead: readonly RawPath[],
  signal: AbortSignal | undefined,
): Promise<{ readonly parents: readonly RawPath[]; readonly starts: readonly RawPath[] }> {
  if (dead.length === 0) return { parents: [], starts: [] }
  const parents = [...new Set(dead.map(parentPath))].toSorted(
    (left, right) => pathParts(left).length - pathParts(right).length,
  )
  const stdout = await runScript(shell, {
    script: `xargs -0 -n 1 sh -c '
      cd -P -- "$1" 2>/dev/null && for name in * .[!.]* ..?*; do
        case $name in "*"|".[!.]*"|"..?*") [ -e "$name" ] || [ -L "$name" ] || continue ;; esac
        printf "%s\\000" "$name"
      done
      printf "\\000"' sh`,
    stdin: nulTerminated(parents),
    doing: 'list the folder around a mount that does not answer',
    outputBytesMax: namesBytesMax,
    signal,
  })
  const names = rawFromBytes(stdout).split('\0')
  const starts: RawPath[] = []
  let parent = 0
  for (const name of names.slice(0, -1) as RawText[]) {
    const folder = parents[parent]
    if (folder === undefined || (name !== '' && !isRawName(name)))
      throw protocolFailure(shell, 'it lists a name that is none')
    if (name === '') parent++
    else if (isRawName(name)) starts.push(joinPath(folder, name))
  }
  if (parent !== parents.length) throw protocolFailure(shell, 'the list of its files was cut off')
  return { parents, starts: starts.filter((path) => !dead.includes(path)) }
}

/** The same by this process itself; what lies deep by find. */
async function* runWalkHere(
  shell: Shell,
  tools: Tools,
  {
    calls,
    sink,
    plan,
    signal,
  }: Pick<Walk, 'signal'> & {
    readonly calls: LocalCalls
    readonly sink: ListedSink
    readonly plan: WalkPlan
  },
): AsyncIterable<StatResult | ScanProblem> {
  for (const start of plan.starts) {
    const deep = new Set<RawPath>()
    yield* walkHere(calls, start, { sink, prune: plan.prune, tooDeep: (path) => void deep.add(path), signal })
    const missing = new Set(deep)
    const rest = { plan: { starts: [...deep], prune: plan.prune }, ordinary: undefined, settle: [], signal }
    for await (const found of deep.size > 0 ? runWalk(shell, tools, rest) : []) {
      if (!('kind' in found)) missing.delete(found.path)
      if ('kind' in found || !deep.has(found.path)) yield found
      else if (found.verdict === 'unreadable')
        yield { kind: 'problem', path: found.path, problem: 'unreadable', message: 'Permission denied' }
    }
    yield* explainMissing(shell, [...missing], signal)
  }
}

async function* runWalk(
  shell: Shell,
  tools: Tools,
  {
    plan,
    ordinary,
    settle,
    signal,
  }: Pick<Walk, 'settle' | 'signal'> & {
    readonly plan: WalkPlan
    readonly ordinary: OrdinaryPaths | undefined
  },
): AsyncIterable<StatResult | ScanProblem> {
  const words = tools.find === 'gnu' ? gnuFindWords(plan) : plainFindWords(plan)
  if (words.reduce((bytes, word) => bytes + word.length + 1, 0) > wordsAtOnceBytesMax)
    throw new VmlError(
      'unsupported',
      `Cannot list the files of ${shell.label}: too many folders are to be left out`,
      {
        hint: 'Name fewer folders to include and exclude, or exclude a folder above them',
      },
    )
  const nonce = freshNonce()
  const gnu = tools.find === 'gnu'
  await using process = await startScript(shell, {
    script: gnu
      ? `${writeOutFirst(tools, settle) ?? ''}\n${xargsAtOnce} find`
      : `${xargsAtOnce} find | ${attributeScript}`,
    words: gnu ? settle : [nonce, statFormat(nonce)],
    stdin: nulTerminated(words),
    idleTimeoutMs: scanSilenceMs,
    signal,
  })
  let ended = false
  const records = gnu
    ? readWalk(shell, process.stdout, ordinary)
    : readAttributeBatches(shell, tools, process.stdout, nonce)
  for await (const record of records) {
    if (ended) throw protocolFailure(shell, 'its list of files does not end where it should')
    if (record.isEnd) ended = true
    else yield record
  }
  const outcome = await process.outcome
  if (!ended) throw commandFailure(shell, 'list all files', outcome)
  yield* problemsOf(outcome.stderr, tools, plan)
}

/** What find could not read, beyond what the records already say. */
function* problemsOf(stderr: Buffer, tools: Tools, plan: WalkPlan): Iterable<ScanProblem> {
  const root = plan.starts[0] ?? rootPath
  if (tools.find !== 'gnu') {
    // Names stand unquoted in these messages, with their line ends: only the reasons can be told apart. What they say
    // of paths that are gone or closed is known from the records.
    for (const reason of plainReasons(stderr))
      yield { kind: 'problem', path: root, problem: 'unreadable', message: `Something below: ${reason}` }
    return
  }
  const { messages, complete } = parseMessages(stderr, 'find')
  for (const { path, text } of messages) {
    // Roots that gave no record are asked about one by one.
    if (path !== undefined && plan.starts.includes(path) && text === 'No such file or directory') continue
    const problem = text === 'No such file or directory' ? 'vanished' : 'unreadable'
    const below = path !== undefined && plan.starts.some((start) => isWithin(path, start))
    yield { kind: 'problem', path: below ? path : root, problem, message: text }
  }
  if (!complete)
    yield {
      kind: 'problem',
      path: root,
      problem: 'unreadable',
      message: 'More could not be read than can be listed',
    }
}

const reasonsShownMax = 10

function plainReasons(stderr: Buffer): Iterable<string> {
  const reasons = new Set<string>()
  for (const line of stderr.toString('latin1').split('\n')) {
    const reason = /: ([^:]+)$/.exec(line)?.[1] ?? ''
    if (reason === '' || /^(?:Permission denied|No such file or directory)$/.test(reason)) continue
    if (reasons.size < reasonsShownMax) reasons.add(safeMessage(reason as RawText))
  }
  return reasons
}
