// Puts files back: one tar stream into the machine's own tar, after a look that no folder on the way is a link.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes, type RawText } from '../base/raw-text.ts'
import { parentPath, pathParts, type RawPath } from '../model/raw-path.ts'
import type { Shell, ShellOutcome } from '../wire/shell.ts'
import { writeTar, type TarItem } from '../wire/tar-write.ts'
import { commandFailure, nulTerminated, protocolFailure, runScript, startScript } from './guest-script.ts'
import type { Tools } from './probe.ts'
import { busyboxScript, finishForBusybox, forBusybox } from './write-busybox.ts'
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
  const later: WriteItem[] = []
  const checked = checkItems(items, { parents, failures })
  const first = tools.tar === 'busybox' ? forBusybox(shell, { items: checked, later, signal }) : checked
  const sent = tools.tar === 'gnu' && !tools.isRoot ? keepFolders(first, later) : first
  failures.push(...(await extract(shell, tools, { items: asTarItems(sent), pass: 'all', signal })))
  if (later.length === 0) return failures
  // Deepest first: what is done to a folder changes the times of the one above it.
  later.sort((left, right) => depthForFinish(right) - depthForFinish(left))
  if (tools.tar === 'busybox')
    failures.push(...(await finishForBusybox(shell, tools, { items: later, signal })))
  else
    failures.push(
      ...(await extract(shell, tools, { items: asTarItems(eachOf(later)), pass: 'folders', signal })),
    )
  return failures
}

function depthForFinish({ path, attributes }: WriteItem): number {
  return attributes.type === 'dir' ? pathParts(path).length : Number.MAX_SAFE_INTEGER
}

/** Folders that a user must not write into are opened by tar for the time; what they shall be is then set at the end. */
async function* keepFolders(items: AsyncIterable<WriteItem>, later: WriteItem[]): AsyncIterable<WriteItem> {
  for await (const item of items) {
    if (item.attributes.type === 'dir') later.push(item)
    yield item
  }
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

async function* asTarItems(items: AsyncIterable<WriteItem>): AsyncIterable<TarItem> {
  for await (const { path, hardLinkTo, ...item } of items) {
    yield {
      name: tarName(path),
      attributes: item.attributes,
      ...(hardLinkTo === undefined ? {} : { hardLinkTo: tarName(hardLinkTo) }),
      ...(item.extents === undefined ? {} : { extents: item.extents }),
      segments: () => item.segments(),
    }
  }
}

function tarName(path: RawPath): RawText {
  return (path === '/' ? '.' : path.slice(1)) as RawText
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
    script: gnu ? gnuScript(tools, request.pass) : busyboxScript(tools),
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
  // With --acls tar also takes away lists that a new file inherited and its original did not have.
  const xattrs = `${tools.tarXattrs ? "--xattrs '--xattrs-include=*'" : ''} ${tools.tarAcls ? '--acls' : ''}`
  const folders = tools.isRoot || pass === 'folders' ? '' : '--no-overwrite-dir'
  return `exec tar -x -f - -p ${owner} ${xattrs} ${folders} --delay-directory-restore -P \\
    --quoting-style=escape --warning=no-timestamp -C /`
}

function judge(shell: Shell, tools: Tools, outcome: ShellOutcome): readonly PathFailure[] {
  const text = outcome.stderr.toString('latin1')
  // Where a write was cut short, GNU tar does not say by what.
  if (/No space left on device|Disk quota exceeded|Wrote only \d+ of \d+ bytes/.test(text))
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
