// Asks a machine for its mounts, and which of those that matter answer, before anything walks into them.
import { isFailure } from '../base/failure.ts'
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { baseName, joinPath, parentPath, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { nulTerminated, protocolFailure, runScript, safeMessage } from './guest-script.ts'
import { mountOf, mountsBelow, parseMountInfo, type Mount } from '../wire/mount-table.ts'
import type { Tools } from './probe.ts'
import type { ScanProblem } from './source.ts'

/** A root that can be walked. */
export interface WalkRoot {
  readonly path: RawPath
  /** Its real place: folders above it may be links. */
  readonly physical: RawPath
  /** The mount point of the file system that holds it, where the machine tells. */
  readonly heldBy: RawPath | undefined
  /** Of that file system. */
  readonly type: string | undefined
}

/** What a walk below some roots will meet. */
export interface Terrain {
  readonly roots: readonly WalkRoot[]
  /** Roots that cannot be walked, and mounts below roots that do not answer. */
  readonly problems: readonly ScanProblem[]
  /** Mount points below the roots that answer: to be recorded, not entered. */
  readonly mounts: readonly Mount[]
  /** Mount points that must not even be looked at. */
  readonly dead: readonly RawPath[]
}

/** Never entered, whatever is asked for: kernel views, and software that is fetched by being looked at (V64). */
export const neverEntered = ['/proc', '/sys', '/dev', '/cvmfs'] as readonly string[] as readonly RawPath[]

/** A mount that has not answered by then is taken for dead. */
const mountAnswerSeconds = 5
/** When even ending the question hangs, the whole answer is given up. */
const probeSilenceMs = 15_000
const answerBytesMax = 16 * 1024 * 1024

export async function surveyTerrain(
  shell: Shell,
  tools: Tools,
  request: {
    readonly roots: readonly RawPath[]
    readonly prune: readonly RawPath[]
    readonly signal?: AbortSignal | undefined
  },
): Promise<Terrain> {
  const places = await readPlaces(shell, tools, request)
  const problems: ScanProblem[] = [...places.problems]
  const unseen = new Set<string>([...request.prune, ...neverEntered])
  const below = new Map<RawPath, Mount>()
  const holders = new Map<RawPath, Mount>()
  for (const root of places.roots) {
    for (const mount of mountsBelow(root, places.mounts)) {
      if (!isBelowAny(mount.path, unseen)) below.set(mount.path, mount)
    }
    const holder = mountOf(root.physical, places.mounts)
    if (holder && holder.path !== '/') holders.set(holder.path, holder)
  }
  const answers = await askMounts(shell, tools, [...new Map([...holders, ...below]).values()], request.signal)
  const roots: WalkRoot[] = []
  for (const root of places.roots) {
    const holder = mountOf(root.physical, places.mounts)
    const problem = holder && answers.get(holder.path)
    if (problem) problems.push({ ...problem, path: root.path })
    else roots.push({ ...root, heldBy: holder?.path, type: holder?.type })
  }
  const alive: Mount[] = []
  const dead: RawPath[] = []
  for (const mount of below.values()) {
    const problem = answers.get(mount.path)
    if (problem === undefined) {
      alive.push(mount)
      continue
    }
    dead.push(mount.path)
    if (!request.roots.includes(mount.path)) problems.push(problem)
  }
  return { roots, problems, mounts: alive, dead }
}

function isBelowAny(path: RawPath, folders: ReadonlySet<string>): boolean {
  for (let above = parentPath(path); above !== '/'; above = parentPath(above)) {
    if (folders.has(above)) return true
  }
  return false
}

interface Places {
  readonly mounts: readonly Mount[]
  readonly roots: readonly { readonly path: RawPath; readonly physical: RawPath }[]
  readonly problems: readonly ScanProblem[]
}

/** The mount table and where the roots really are. A root's own name is never followed, the folders above it are. */
async function readPlaces(
  shell: Shell,
  tools: Tools,
  request: { readonly roots: readonly RawPath[]; readonly signal?: AbortSignal | undefined },
): Promise<Places> {
  const stdout = await runScript(shell, {
    script: placesScript(tools),
    stdin: nulTerminated(request.roots.map(parentPath)),
    doing: 'read the mount table',
    outputBytesMax: answerBytesMax,
    signal: request.signal,
  })
  const parts = rawFromBytes(stdout).split('\0')
  const mounts = parseMountInfo((parts[0] ?? '') as RawText)
  const problems: ScanProblem[] = []
  const roots: { path: RawPath; physical: RawPath }[] = []
  if (parts.length !== 1 + 2 * request.roots.length + 1)
    throw protocolFailure(shell, 'it did not say where the folders to save are')
  for (const [index, path] of request.roots.entries()) {
    const status = Number(parts[1 + 2 * index])
    const real = (parts[2 + 2 * index] ?? '').replace(/\nx$/, '') as RawText
    const parent = status === 0 ? parseRawPath(real) : undefined
    if (parent !== undefined)
      roots.push({ path, physical: path === '/' ? path : joinPath(parent, baseName(path)) })
    else if (status >= 124 && status !== 126 && status !== 127)
      problems.push({
        kind: 'problem',
        path,
        problem: 'dead-mount',
        message: 'Its file system does not answer',
      })
    else if (/Permission denied/.test(real))
      problems.push({ kind: 'problem', path, problem: 'unreadable', message: 'Permission denied' })
    else
      problems.push({
        kind: 'problem',
        path,
        problem: 'vanished',
        message: 'There is no such file or folder',
      })
  }
  return { mounts, roots, problems }
}

function placesScript(tools: Tools): string {
  return `
cat /proc/self/mountinfo 2>/dev/null; printf '\\000'
xargs -0 -n 1 sh -c '
  real=$(${limited(tools)} sh -c "cd -P -- \\"\\$1\\" && pwd -P && echo x" sh "$1" 2>&1)
  printf "%s\\000%s\\000" "$?" "$real"' sh`
}

function limited(tools: Tools): string {
  return tools.timeout ? `timeout -s KILL ${mountAnswerSeconds}` : ''
}

/** The problem of each mount that does not answer, or that cannot be looked at. */
async function askMounts(
  shell: Shell,
  tools: Tools,
  mounts: readonly Mount[],
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<RawPath, ScanProblem>> {
  const problems = new Map<RawPath, ScanProblem>()
  if (mounts.length === 0) return problems
  const unanswered = new Set(mounts.map(({ path }) => path))
  await using process = await shell.start({
    argv: ['sh', '-c', `LC_ALL=C; export LC_ALL\n${askScript(tools)}`],
    // One word for each mount: xargs ends a batch where its room ends.
    stdin: nulTerminated(mounts.map(({ path, type }) => `${type === 'autofs' ? 'autofs' : 'other'} ${path}`)),
    idleTimeoutMs: probeSilenceMs,
    endsWhole: true,
    signal,
  })
  let text = ''
  try {
    for await (const chunk of process.stdout) {
      text += rawFromBytes(chunk)
      if (text.length > answerBytesMax) throw protocolFailure(shell, 'it says too much about its mounts')
    }
  } catch (error) {
    // A question that cannot even be ended leaves its mount, and those behind it, without an answer.
    if (!isFailure(error, 'unavailable.timeout')) throw error
  }
  const parts = text.split('\0')
  for (let index = 0; index + 2 < parts.length; index += 3) {
    const path = parts[index] as RawPath
    const status = Number(parts[index + 1])
    const said = parts[index + 2] ?? ''
    if (!unanswered.delete(path)) throw protocolFailure(shell, 'it speaks of a mount that was not asked for')
    if (status === 0) continue
    const slow = status >= 124 && status !== 126 && status !== 127
    const message = slow
      ? `It did not answer within ${mountAnswerSeconds} s`
      : safeMessage((said.split(': ').at(-1) ?? '').trim() as RawText)
    const denied = /Permission denied/.test(said)
    problems.set(path, { kind: 'problem', path, problem: denied ? 'unreadable' : 'dead-mount', message })
  }
  for (const path of unanswered) {
    const message = `It did not answer within ${mountAnswerSeconds} s`
    problems.set(path, { kind: 'problem', path, problem: 'dead-mount', message })
  }
  return problems
}

// All at once, because each may take its whole time. Asking an autofs point for its file system would mount it.
function askScript(tools: Tools): string {
  return `
xargs -0 -n 64 sh -c '
  for word; do
    kind=\${word%% *} path=\${word#* }
    (
      said=
      [ "$kind" = autofs ] || ${limited(tools)} stat -f -- "$path" >/dev/null 2>&1
      status=$?
      case $status in 126|127) status=0 ;; esac
      if [ $status -lt 124 ]; then
        said=$(${limited(tools)} stat -- "$path" 2>&1 >/dev/null)
        status=$?
      fi
      printf "%s\\000%s\\000%s\\000" "$path" "$status" "$said"
    ) &
  done
  wait' sh`
}
