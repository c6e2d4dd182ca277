// What busybox's tar leaves undone when it unpacks: modes and times of folders, owners and times of links, old times.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { parseRawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { nulTerminated, protocolFailure, runScript, safeMessage } from './guest-script.ts'
import type { Tools } from './probe.ts'
import type { PathFailure, WriteItem } from './source.ts'

const finishSilenceMs = 300_000
const answerBytesMax = 64 * 1024 * 1024
const nsPerSecond = 1_000_000_000n
/** Items that are taken before the first of them is sent; their content is not. */
const aheadMax = 500

/**
 * busybox puts links with `..` or `/` in them off to the end unless it is told that they are meant, and leaves the
 * mode alone where it could not give a file away.
 */
export function busyboxScript(tools: Tools): string {
  return `EXTRACT_UNSAFE_SYMLINKS=1; export EXTRACT_UNSAFE_SYMLINKS; umask 0
exec tar -x -f - -p ${tools.isRoot ? '--numeric-owner' : '-o'} -C /`
}

/**
 * busybox takes a link to a folder for a folder and would write behind it. So before items are sent, what stands
 * where their folders go is looked at, many at a time: what is no folder is removed, and a folder that is to be
 * read-only, and may be so already, is opened. What is still to be done to items in the end goes into `later`.
 */
export async function* forBusybox(
  shell: Shell,
  request: {
    readonly items: AsyncIterable<WriteItem>
    readonly later: WriteItem[]
    readonly signal: AbortSignal | undefined
  },
): AsyncIterable<WriteItem> {
  let ahead: WriteItem[] = []
  for await (const item of request.items) {
    ahead.push(item)
    if (ahead.length < aheadMax) continue
    yield* release(ahead)
    ahead = []
  }
  yield* release(ahead)

  async function* release(items: readonly WriteItem[]): AsyncIterable<WriteItem> {
    const folders = items.filter(({ attributes }) => attributes.type === 'dir')
    if (folders.length > 0) await clearFolders(shell, folders, request.signal)
    for (const item of items) {
      const { type, mode, mtimeNs } = item.attributes
      if (type === 'dir' || type === 'symlink' || mtimeNs < 0n) request.later.push(item)
      yield type === 'dir' ? { ...item, attributes: { ...item.attributes, mode: mode | 0o700 } } : item
    }
  }
}

/** In order, so that a folder below one that was a link is looked for where the link was, and not found. */
async function clearFolders(
  shell: Shell,
  folders: readonly WriteItem[],
  signal: AbortSignal | undefined,
): Promise<void> {
  await runScript(shell, {
    script: `xargs -0 -n 200 sh -c '
      for path; do
        if [ -L "$path" ]; then rm -f -- "$path"
        elif [ -d "$path" ]; then [ -w "$path" ] || chmod u+rwx -- "$path" 2>/dev/null
        elif [ -e "$path" ]; then rm -f -- "$path"
        fi
        if [ -L "$path" ]; then exit 255; fi
      done; :' sh`,
    stdin: nulTerminated(folders.map(({ path }) => path)),
    doing: 'clear the place of folders',
    idleTimeoutMs: finishSilenceMs,
    signal,
  })
}

/** In the given order. */
export async function finishForBusybox(
  shell: Shell,
  tools: Tools,
  { items, signal }: { readonly items: readonly WriteItem[]; readonly signal: AbortSignal | undefined },
): Promise<PathFailure[]> {
  // One word for each item: xargs ends a batch where its room ends, in the middle of words that belong together.
  const words = items.map(({ path, attributes: { type, mode, uid, gid, mtimeNs } }) =>
    [
      type === 'dir' ? mode.toString(8) : '-',
      type === 'symlink' && tools.isRoot ? `${uid}:${gid}` : '-',
      String((mtimeNs - (((mtimeNs % nsPerSecond) + nsPerSecond) % nsPerSecond)) / nsPerSecond),
      path,
    ].join(' '),
  )
  const stdout = await runScript(shell, {
    script: `xargs -0 -n 200 sh -c '
      for word; do
        mode=\${word%% *}; word=\${word#* }
        owner=\${word%% *}; word=\${word#* }
        time=\${word%% *}; path=\${word#* }
        said=
        if [ "$mode" = - ]; then touch=-h; else
          touch=-c
          if [ -L "$path" ]; then said="It became a link"; else said=$(chmod -- "$mode" "$path" 2>&1); fi
        fi
        [ "$owner" = - ] || said=$(chown -h -- "$owner" "$path" 2>&1)
        [ -n "$said" ] || said=$(touch $touch -d "@$time" -- "$path" 2>&1)
        [ -z "$said" ] || printf "%s\\000%s\\000" "$path" "\${said##*: }"
      done' sh`,
    stdin: nulTerminated(words),
    doing: 'set the times of folders',
    idleTimeoutMs: finishSilenceMs,
    outputBytesMax: answerBytesMax,
    signal,
  })
  const parts = rawFromBytes(stdout).split('\0')
  const failures: PathFailure[] = []
  for (let index = 0; index + 1 < parts.length; index += 2) {
    const path = parseRawPath((parts[index] ?? '') as RawText)
    if (path === undefined) throw protocolFailure(shell, 'it speaks of a file that is none')
    failures.push({ path, message: safeMessage((parts[index + 1] ?? '') as RawText) })
  }
  return failures
}
