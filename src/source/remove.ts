// Removes exactly the paths asked for, without following a link anywhere on the way.
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import type { Shell } from '../wire/shell.ts'
import { nulTerminated, protocolFailure, runScript, safeMessage } from './guest-script.ts'
import type { PathFailure } from './source.ts'

const removeSilenceMs = 300_000
const answerBytesMax = 64 * 1024 * 1024

/** Files and links are unlinked, folders removed when empty; what is already gone is as it should be. */
export async function removeFiles(
  shell: Shell,
  paths: readonly RawPath[],
  signal?: AbortSignal,
): Promise<readonly PathFailure[]> {
  if (paths.length === 0) return []
  const asked = new Set<string>(paths)
  const stdout = await runScript(shell, {
    script: `xargs -0 -n 200 sh -c '${removeScript.replaceAll("'", `'\\''`)}' sh`,
    stdin: nulTerminated(paths),
    doing: 'remove files',
    idleTimeoutMs: removeSilenceMs,
    outputBytesMax: answerBytesMax,
    signal,
  })
  const parts = rawFromBytes(stdout).split('\0')
  const failures: PathFailure[] = []
  for (let index = 0; index + 1 < parts.length; index += 2) {
    const path = parseRawPath((parts[index] ?? '') as RawText)
    const message = safeMessage((parts[index + 1] ?? '') as RawText)
    if (path === undefined || !asked.has(path))
      throw protocolFailure(shell, 'it speaks of a file that was not to be removed')
    failures.push({ path, message: message === '' ? 'It is still there' : message })
  }
  return failures
}

// For each run of paths in one folder: enter the folder, and see by its real name (getcwd) that no link was followed.
// From then on names are relative to that very folder, whatever is done to the path meanwhile. Then unlink, then look
// at what is still there. A folder that its owner may not write is made writable for that moment.
const removeScript = `
fail() { printf '%s\\000%s\\000' "$1" "$2"; }
leave() {
  [ -z "$mode" ] || chmod "$mode" .
  mode=
}
enter() {
  leave
  here=$1
  if cd -P -- "\${1:-/}" 2>/dev/null && [ "$(pwd -P; echo x)" = "\${1:-/}
x" ]; then
    why=
    if [ ! -w . ] && [ -O . ]; then mode=$(stat -c %a . 2>/dev/null); chmod u+w . 2>/dev/null; fi
    return
  fi
  cd /
  last=$1
  while [ -n "$last" ] && [ ! -e "$last" ] && [ ! -L "$last" ]; do last=\${last%/*}; done
  why="Cannot enter its folder"
  if [ -L "$last" ]; then why="A folder on the way is a link"
  elif [ -n "$last" ] && [ ! -d "$last" ]; then why=gone
  elif cd -P -- "\${last:-/}" 2>/dev/null; then
    if [ "$(pwd -P; echo x)" != "\${last:-/}
x" ]; then why="A folder on the way is a link"
    elif [ "$last" != "$1" ]; then why=gone; fi
    cd /
  fi
}
flush() {
  [ $# -gt 0 ] || return
  said=$(rm -f -- "$@" 2>&1)
  for left; do
    if [ -L "$left" ] || [ -e "$left" ]; then fail "$here/\${left#./}" "\${said##*: }"; fi
  done
}
mode= why= here=x
first=yes
for path in "$@"; do
  if [ $first = yes ]; then set --; first=no; fi
  parent=\${path%/*}
  if [ "$parent" != "$here" ]; then flush "$@"; set --; enter "$parent"; fi
  case $why in
    '') ;;
    gone) continue ;;
    *) fail "$path" "$why"; continue ;;
  esac
  name=./\${path##*/}
  if [ -d "$name" ] && [ ! -L "$name" ]; then
    flush "$@"; set --
    said=$(rmdir -- "$name" 2>&1) || { [ ! -d "$name" ] || fail "$path" "\${said##*: }"; }
  else
    set -- "$@" "$name"
  fi
done
flush "$@"
leave
exit 0`
