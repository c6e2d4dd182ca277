// Puts files back: one tar stream into the machine's own tar, after a look that no folder on the way is a link.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes, type RawText } from '../base/raw-text.ts'
import { parentPath, pathParts, type RawPath } from '../model/raw-path.ts'
import type { Shell, ShellOutcome } from '../wire/shell.ts'
import { writeTar, type TarItem } from '../wire/tar-write.ts'
import { commandFailure, nulTerminated, protocolFailure, runScript, startScript } from './guest-script.ts'
import type { Tools } from './probe.ts'
import type { PathFailure, WriteItem } from './source.ts'
import { parseMessages } from './tool-messages.ts'

export interface WriteRequest {
  readonly items: AsyncIterable<WriteItem>
  readonly parents: readonly RawPath[]
  readonly signal?: AbortSignal | undefined
}

/** While tar waits for the disk; what we have not yet sent does not count. */
const writeSilenceMs = 600_000
const answerBytesMax = 16 * 1024 * 1024
/** Paths that stand in the details of a failure. */
const conflictsShownMax = 20

/**
 * Writes the items in their order. Fails with `conflict` before anything is changed when one of `parents` is not a
 * real folder, and, before that item is sent, when an item lies in no folder that was checked or written: then what
 * came before it is written. `unavailable.space` when the disk is full. What tar says of single paths is returned;
 * the proof is to read back.
 */
export async function writeFiles(
  shell: Shell,
  tools: Tools,
  { items, parents, signal }: WriteRequest,
): Promise<readonly PathFailure[]> {
  await checkFolders(shell, parents, signal)
  const failures: PathFailure[] = []
  const folders: TarItem[] = []
  // Folders get their own times and modes last, for writing into them changes the times, and a mode may forbid it.
  const foldersLast = tools.tar === 'busybox' || !tools.isRoot
  const checked = checkItems(items, { parents, failures })
  const first = prepare(checked, (folder) => {
    if (!foldersLast) return folder
    folders.push(folder)
    return { ...folder, attributes: { ...folder.attributes, mode: folder.attributes.mode | 0o700 } }
  })
  failures.push(...(await extract(shell, tools, { items: first, pass: 'all', signal })))
  if (folders.length > 0) {
    folders.sort((left, right) => pathParts(asPath(right)).length - pathParts(asPath(left)).length)
    failures.push(...(await extract(shell, tools, { items: eachOf(folders), pass: 'folders', signal })))
  }
  return failures
}

/** Every folder must be entered by its name and be called so by the kernel: then no part of it is a link. */
async function checkFolders(
  shell: Shell,
  folders: readonly RawPath[],
  signal: AbortSignal | undefined,
): Promise<void> {
  if (folders.length === 0) return
  const stdout = await runScript(shell, {
    script: `xargs -0 -n 200 sh -c '
      for folder; do
        if cd -P -- "$folder" 2>/dev/null && [ "$(pwd -P; echo x)" = "$folder
x" ]; then cd /; else printf "%s\\000" "$folder"; cd /; fi
      done' sh && printf 'checked\\000'`,
    stdin: nulTerminated(folders),
    doing: 'look at the folders to write into',
    outputBytesMax: answerBytesMax,
    signal,
  })
  const names = rawFromBytes(stdout).split('\0')
  if (names.at(-2) !== 'checked')
    throw protocolFailure(shell, 'it did not say whether the folders can be written into')
  const wrong = names.slice(0, -2) as RawText[]
  const example = wrong[0]
  if (example === undefined) return
  throw new VmlError(
    'conflict',
    `Cannot write to ${shell.label}: "${printable(example)}" is not a real folder there, or a folder above it is a link`,
    {
      details: { paths: wrong.slice(0, conflictsShownMax).map(printable), count: wrong.length },
      hint: 'Nothing was changed. Move that link or file away, or restore to another place with --to',
    },
  )
}

/** Nothing is sent that would lie in a folder which nobody has looked at. */
async function* checkItems(
  items: AsyncIterable<WriteItem>,
  { parents, failures }: { readonly parents: readonly RawPath[]; readonly failures: PathFailure[] },
): AsyncIterable<WriteItem> {
  const real = new Set<string>(parents)
  for await (const item of items) {
    const { path, attributes } = item
    if (path !== '/' && !real.has(parentPath(path)))
      throw new VmlError(
        'conflict',
        `Cannot write "${printable(path)}": the folder it lies in was not checked`,
      )
    if (attributes.type === 'socket' || attributes.type === 'irregular') {
      failures.push({ path, message: `A file of type ${attributes.type} cannot be written` })
      continue
    }
    if (attributes.type === 'dir') real.add(path)
    else real.delete(path)
    yield item
  }
}

async function* prepare(
  items: AsyncIterable<WriteItem>,
  folder: (item: TarItem) => TarItem,
): AsyncIterable<TarItem> {
  for await (const item of items) {
    const tarItem: TarItem = {
      name: tarName(item.path),
      attributes: item.attributes,
      ...(item.hardLinkTo === undefined ? {} : { hardLinkTo: tarName(item.hardLinkTo) }),
      ...(item.extents === undefined ? {} : { extents: item.extents }),
      segments: () => item.segments(),
    }
    yield item.attributes.type === 'dir' ? folder(tarItem) : tarItem
  }
}

function tarName(path: RawPath): RawText {
  return (path === '/' ? '.' : path.slice(1)) as RawText
}

function asPath({ name }: { readonly name: RawText }): RawPath {
  return (name === '.' ? '/' : `/${name}`) as RawPath
}

async function* eachOf<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items
}

async function extract(
  shell: Shell,
  tools: Tools,
  request: {
    readonly items: AsyncIterable<TarItem>
    readonly pass: 'all' | 'folders'
    readonly signal: AbortSignal | undefined
  },
): Promise<readonly PathFailure[]> {
  const gnu = tools.tar === 'gnu'
  await using process = await startScript(shell, {
    script: gnu ? gnuScript(tools, request.pass) : busyboxScript,
    stdin: writeTar(request.items, {
      sparse: gnu,
      xattrs: tools.tarXattrs,
      format: gnu ? 'gnu-tar' : 'busybox',
    }),
    idleTimeoutMs: writeSilenceMs,
    signal: request.signal,
  })
  for await (const _ of process.stdout);
  return judge(shell, tools, await process.outcome)
}

/**
 * -P: links are made at once, whatever they point to; nothing lies behind a link, since every folder was checked.
 * Files are unlinked and made anew (tar's default), so that a running program keeps the file it runs. Owners go by
 * number. Who is not root may have folders that must not be written: `--no-overwrite-dir` opens those for the time.
 */
function gnuScript(tools: Tools, pass: 'all' | 'folders'): string {
  const owner = tools.isRoot ? '--same-owner --numeric-owner' : '--no-same-owner'
  const xattrs = tools.tarXattrs ? "--xattrs '--xattrs-include=*'" : ''
  const folders = tools.isRoot || pass === 'folders' ? '' : '--no-overwrite-dir'
  return `exec tar -x -f - -p ${owner} ${xattrs} ${folders} --delay-directory-restore -P \\
    --quoting-style=escape --warning=no-timestamp -C /`
}

// busybox puts links with `..` or `/` in them off to the end unless it is told that they are meant.
const busyboxScript = `EXTRACT_UNSAFE_SYMLINKS=1; export EXTRACT_UNSAFE_SYMLINKS; umask 0
exec tar -x -f - -p --numeric-owner -C /`

function judge(shell: Shell, tools: Tools, outcome: ShellOutcome): readonly PathFailure[] {
  const text = outcome.stderr.toString('latin1')
  if (/No space left on device|Disk quota exceeded/.test(text))
    throw new VmlError('unavailable.space', `Cannot write all files: the disk of ${shell.label} is full`, {
      hint: 'Make room there and restore again: what is already written stays, the rest follows',
    })
  if (outcome.status === 0) return []
  if (outcome.status > 2) throw commandFailure(shell, 'write files', outcome)
  if (tools.tar === 'busybox') throw commandFailure(shell, 'write all files', outcome)
  const failures: PathFailure[] = []
  for (const { path, text: message } of parseMessages(outcome.stderr, 'tar').messages)
    if (path !== undefined) failures.push({ path, message })
  if (failures.length === 0) throw commandFailure(shell, 'write files', outcome)
  return failures
}
