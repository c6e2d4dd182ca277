// What busybox's tar leaves undone when it unpacks: modes and times of folders, owners and times of links, old times.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { nulTerminated, protocolFailure, runScript, safeMessage } from './guest-script.ts'
import type { Tools } from './probe.ts'
import type { PathFailure, WriteItem } from './source.ts'

const finishSilenceMs = 300_000
const answerBytesMax = 64 * 1024 * 1024
const nsPerSecond = 1_000_000_000n

/**
 * busybox puts links with `..` or `/` in them off to the end unless it is told that they are meant, and leaves the
 * mode alone where it could not give a file away.
 */
export function busyboxScript(tools: Tools): string {
  return `EXTRACT_UNSAFE_SYMLINKS=1; export EXTRACT_UNSAFE_SYMLINKS; umask 0
exec tar -x -f - -p ${tools.isRoot ? '--numeric-owner' : '-o'} -C /`
}

/** Folders are made such that they can be written into; what is still to be done to items goes into `later`. */
export async function* forBusybox(
  shell: Shell,
  tools: Tools,
  request: {
    readonly items: AsyncIterable<WriteItem>
    readonly later: WriteItem[]
    readonly signal: AbortSignal | undefined
  },
): AsyncIterable<WriteItem> {
  for await (const item of request.items) {
    const { path, attributes } = item
    const isFolder = attributes.type === 'dir'
    if (isFolder || attributes.type === 'symlink' || attributes.mtimeNs < 0n) request.later.push(item)
    if (!isFolder) {
      yield item
      continue
    }
    // A folder that is to be read-only may be so already, and busybox does not change the mode of what is there.
    if (!tools.isRoot && (attributes.mode & 0o200) === 0) await openFolder(shell, path, request.signal)
    yield { ...item, attributes: { ...attributes, mode: attributes.mode | 0o700 } }
  }
}

async function openFolder(shell: Shell, path: RawPath, signal: AbortSignal | undefined): Promise<void> {
  await runScript(shell, {
    script: `xargs -0 sh -c 'if [ -d "$1" ] && [ ! -L "$1" ]; then chmod u+rwx -- "$1" 2>/dev/null; fi; :' sh`,
    stdin: nulTerminated([path]),
    doing: 'open a folder for writing',
    signal,
  })
}

/** In the given order. */
export async function finishForBusybox(
  shell: Shell,
  tools: Tools,
  { items, signal }: { readonly items: readonly WriteItem[]; readonly signal: AbortSignal | undefined },
): Promise<PathFailure[]> {
  const words = items.flatMap(({ path, attributes: { type, mode, uid, gid, mtimeNs } }) => [
    type === 'dir' ? mode.toString(8) : '-',
    type === 'symlink' && tools.isRoot ? `${uid}:${gid}` : '-',
    String((mtimeNs - (((mtimeNs % nsPerSecond) + nsPerSecond) % nsPerSecond)) / nsPerSecond),
    path,
  ])
  const stdout = await runScript(shell, {
    script: `xargs -0 -n 200 sh -c '
      while [ $# -gt 3 ]; do
        said=
        if [ "$1" = - ]; then touch=-h; else
          touch=-c
          if [ -L "$4" ]; then said="It became a link"; else said=$(chmod -- "$1" "$4" 2>&1); fi
        fi
        [ "$2" = - ] || said=$(chown -h -- "$2" "$4" 2>&1)
        [ -n "$said" ] || said=$(touch $touch -d "@$3" -- "$4" 2>&1)
        [ -z "$said" ] || printf "%s\\000%s\\000" "$4" "\${said##*: }"
        shift 4
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
