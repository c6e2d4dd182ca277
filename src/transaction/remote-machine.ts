// A machine over ssh on which transactions are made without a program of ours there: its root's shell, its files, VML's own folder on it.
import type { Clock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import { asRaw, rawFromBytes, type RawText } from '../base/raw-text.ts'
import { parentPath, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Attributes, Xattr } from '../model/tree.ts'
import { nulTerminated, runScript } from '../source/guest-script.ts'
import { listExactly } from '../source/list-below.ts'
import type { Source } from '../source/source.ts'
import type { Shell } from '../wire/shell.ts'
import { pathIn } from './workplace.ts'

export interface RemoteMachine {
  /** Of the user's configuration; entries are of it. */
  readonly name: string
  /** Everything that it runs, it runs as root. */
  readonly shell: Shell
  readonly source: Source
  /** VML's own folder there: root's alone. */
  readonly state: RawPath
  readonly clock: Clock
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

/** Copies and hashes of some GiB take that long on a slow disk, and say nothing meanwhile. */
const workSilenceMs = 3_600_000
const answerBytesMax = 64 * 1024 * 1024

export interface RemoteWork {
  readonly script: RawText | string
  /** Plain words. */
  readonly words?: readonly string[]
  readonly stdin?: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
  /** Completes "Cannot …". */
  readonly doing: string
  readonly outputBytesMax?: number
}

/** What a script prints that ends well; `remote.command` for any other. */
export async function work(
  { shell, signal }: Pick<RemoteMachine, 'shell' | 'signal'>,
  wanted: RemoteWork,
): Promise<RawText> {
  const { outputBytesMax = answerBytesMax, ...rest } = wanted
  return rawFromBytes(
    await runScript(shell, { ...rest, outputBytesMax, idleTimeoutMs: workSilenceMs, signal }),
  )
}

/** The same, with its status: also of one that does not end well. It goes on where this is cancelled. */
export async function tryWork(
  { shell }: Pick<RemoteMachine, 'shell'>,
  { script, words = [], stdin, outputBytesMax = answerBytesMax }: Omit<RemoteWork, 'doing'>,
): Promise<{ readonly status: number; readonly stdout: RawText; readonly stderr: RawText }> {
  const { status, stdout, stderr } = await shell.run({
    argv: ['env', 'LC_ALL=C', 'sh', '-c', script, 'vml', ...words],
    outputBytesMax,
    idleTimeoutMs: workSilenceMs,
    endsWhole: true,
    ...(stdin ? { stdin } : {}),
  })
  return { status, stdout: rawFromBytes(stdout), stderr: rawFromBytes(stderr) }
}

/** The folder of the one stage that may be open there, and what lies in it. */
export function remoteOpen({ state }: Pick<RemoteMachine, 'state'>, ...names: readonly string[]): RawPath {
  return pathIn(state, 'stage', 'open', ...names)
}

/** Its bytes; undefined where it is not there. Fails where it is larger than anything that VML wrote. */
export async function readRemoteFile(
  machine: Pick<RemoteMachine, 'name' | 'shell'>,
  path: RawPath,
  bytesMax: number,
): Promise<Buffer | undefined> {
  const found = await tryWork(machine, {
    script:
      '[ -f "$1" ] || exit 44; size=$(stat -L -c %s -- "$1") && [ "$size" -le "$2" ] || exit 45; cat -- "$1"',
    words: [path, String(bytesMax)],
    outputBytesMax: bytesMax,
  })
  if (found.status === 44) return undefined
  if (found.status === 0 && found.stdout.length <= bytesMax) return Buffer.from(found.stdout, 'latin1')
  throw new VmlError(
    found.status === 45 ? 'integrity.format' : 'remote.command',
    `Cannot read "${path}" on ${machine.name}: ${found.status === 45 ? `it has more than ${bytesMax} bytes` : `status ${found.status}`}`,
  )
}

/** Durable when it returns, whole or not at all. */
export async function writeRemoteFile(
  machine: RemoteMachine,
  path: RawPath,
  bytes: Uint8Array | string,
): Promise<void> {
  await work(machine, {
    script: 'umask 077; cat >"$1.new" && sync "$1.new" && mv -f "$1.new" "$1" && sync "$(dirname "$1")"',
    words: [path],
    stdin: [typeof bytes === 'string' ? Buffer.from(bytes) : bytes],
    doing: `write "${path}"`,
  })
}

/** Numbers, times and link targets of exactly these paths, in one question. Those that are not there are not in it. */
export async function statusesOf(
  machine: RemoteMachine,
  paths: readonly RawPath[],
): Promise<Map<RawPath, Attributes>> {
  const found = new Map<RawPath, Attributes>()
  for await (const { path, attributes } of listExactly(machine.shell, paths, machine.signal))
    found.set(path, attributes)
  return found
}

/**
 * Extended attributes of each path, and the number of a device. Without contents: what is no file is packed by tar, of files a copy that has only
 * their attributes. `there` says what lies at them.
 */
export async function readRemoteXattrs(
  machine: RemoteMachine,
  there: ReadonlyMap<RawPath, Attributes>,
): Promise<Map<RawPath, { readonly xattrs: readonly Xattr[]; readonly device?: bigint }>> {
  const found = new Map<RawPath, { xattrs: readonly Xattr[]; device?: bigint }>()
  const files: RawPath[] = []
  const others: RawPath[] = []
  for (const [path, { type }] of there) {
    if (type === 'file') files.push(path)
    else if (type !== 'socket' && type !== 'irregular') others.push(path)
  }
  const shadow = files.length > 0 ? await makeRemoteFolder(machine, 'shadow') : machine.state
  const packed = new Map<RawPath, RawPath>(others.map((path) => [path, path]))
  try {
    if (files.length > 0) {
      await work(machine, {
        script: `umask 077; cd / &&
  xargs -0 cp --attributes-only --preserve=mode,ownership,timestamps,xattr --parents -t "$1" --`,
        words: [shadow],
        stdin: nulTerminated(files.map((path) => asRaw(path.slice(1)))),
        doing: 'read the attributes of files',
      })
      for (const path of files) packed.set((shadow + path) as RawPath, path)
    }
    for await (const record of machine.source.read([...packed.keys()], machine.signal)) {
      const path = packed.get(record.path)
      if (path === undefined) continue
      if (record.kind === 'problem')
        throw new VmlError('conflict', 'Cannot read the attributes of a file: it went away meanwhile', {
          details: { message: record.message },
          hint: 'Nothing was changed. Repeat it',
        })
      const { xattrs = [], device, size = 0 } = record.attributes
      if (size > 0)
        throw new VmlError(
          'remote.protocol',
          `Cannot understand ${machine.name}: a copy of a file's attributes has a content`,
        )
      if (xattrs.length > 0 || device !== undefined)
        found.set(path, { xattrs, ...(device === undefined ? {} : { device }) })
    }
  } finally {
    if (files.length > 0)
      await tryWork(machine, { script: 'rm -rf --one-file-system "$1"', words: [shadow] }).catch(() => {})
  }
  return found
}

/** A private folder of ours for a while; what a crash leaves of it goes with the next stage. */
export async function makeRemoteFolder(machine: RemoteMachine, name: 'shadow' | 'plan'): Promise<RawPath> {
  const made = await work(machine, {
    script: 'umask 077; mkdir -p "$1" && mktemp -d "$1/$2-XXXXXX"',
    words: [machine.state, name],
    doing: 'make a folder',
  })
  const folder = parseRawPath(asRaw(made.trim()))
  if (folder !== undefined && parentPath(folder) === machine.state) return folder
  throw new VmlError(
    'remote.protocol',
    `Cannot understand ${machine.name}: a folder that it made has another name`,
  )
}
