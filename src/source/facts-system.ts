// Who the user of a machine is and what system it runs.
import { rawFromBytes, rawToBytes, rawToUtf8, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { endedPart, type GuestPart, type PartOutcome } from './guest-parts.ts'
import { plainScript, protocolFailure } from './guest-script.ts'

export interface MachineUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: RawPath
  readonly loginShell?: RawPath
}

/** What the machine answered, by key; see `systemScript`. */
export type SystemAnswers = ReadonlyMap<string, RawText>

const answerBytesMax = 4 * 1024 * 1024
const systemTimeoutMs = 30_000
const wordCharactersMax = 255
const releaseLinesMax = 100
const releaseValueCharactersMax = 1024

export function systemPart(): GuestPart {
  return { script: plainScript(systemScript), timeoutMs: systemTimeoutMs, outputBytesMax: answerBytesMax }
}

export function parseSystem(shell: Shell, outcome: PartOutcome): SystemAnswers {
  const parts = rawFromBytes(endedPart(shell, 'ask what system it is', outcome)).split('\0') as RawText[]
  const said = new Map<string, RawText>()
  for (let index = 0; index + 1 < parts.length; index += 2)
    said.set(parts[index] ?? '', (parts[index + 1] ?? '') as RawText)
  return said
}

/**
 * Finds the home, which is where the session says it is, and the login shell, which the password file knows. Names that are not
 * exported: the user's environment stays as it is.
 */
export const whoScript = `
unset vml_name vml_entry vml_home vml_login
vml_name=$(id -un 2>/dev/null)
vml_entry=$(getent passwd "$vml_name" 2>/dev/null || grep "^$vml_name:" /etc/passwd 2>/dev/null | head -n 1)
vml_home=\${HOME:-}
[ -n "$vml_home" ] || vml_home=$(printf '%s\\n' "$vml_entry" | cut -d: -f6)
vml_login=$(printf '%s\\n' "$vml_entry" | cut -d: -f7)`

const systemScript = `
say() { printf '%s\\000%s\\000' "$1" "$2"; }
${whoScript}
say name "$vml_name"
say uid "$(id -u)"
say gid "$(id -g)"
say home "$vml_home"
say shell "$vml_login"
for file in /etc/os-release /usr/lib/os-release; do
  if [ -r $file ]; then say os "$(head -c 65536 $file)"; break; fi
done
[ -r /etc/cernvm-release ] && say cernvm "$(head -c 4096 /etc/cernvm-release)"
say system "$(uname -s)"
say kernel "$(uname -r)"
say architecture "$(uname -m)"
say hostname "$(uname -n)"
say mounts "$(head -c 2097152 /proc/self/mountinfo 2>/dev/null)"`

/** Fails with `remote.protocol` when the machine does not say. */
export function parseUser(shell: Shell, said: SystemAnswers): MachineUser {
  const home = parseRawPath(said.get('home') ?? ('' as RawText))
  const uid = said.get('uid') ?? ''
  const gid = said.get('gid') ?? ''
  if (home === undefined || !/^\d{1,10}$/.test(uid) || !/^\d{1,10}$/.test(gid))
    throw protocolFailure(shell, 'it does not say who its user is and where the home is')
  const loginShell = parseRawPath(said.get('shell') ?? ('' as RawText))
  return {
    name: word(said.get('name')) ?? uid,
    uid: Number(uid),
    gid: Number(gid),
    home,
    ...(loginShell === undefined || loginShell === '/' ? {} : { loginShell }),
  }
}

/** os-release(5): `KEY=value`, quoted as in a shell. */
export function parseOsRelease(text: string): Readonly<Record<string, string>> {
  const os: Record<string, string> = {}
  for (const line of text.split('\n').slice(0, releaseLinesMax)) {
    const match = /^([A-Z][A-Z0-9_]{0,63})=(.*)$/.exec(line)
    if (match?.[1] === undefined || match[2] === undefined) continue
    const quoted = /^"((?:[^"\\]|\\.)*)"\s*$/.exec(match[2])?.[1]?.replace(/\\(.)/g, '$1')
    const value = quoted ?? /^'([^']*)'\s*$/.exec(match[2])?.[1] ?? match[2].trim()
    os[match[1]] = readable(value as RawText).slice(0, releaseValueCharactersMax)
  }
  return os
}

/** One line of text that people can read, or undefined. */
export function word(text: RawText | string | undefined): string | undefined {
  const line = readable((text ?? '') as RawText).trim()
  return line === '' || line.length > wordCharactersMax || /\p{Cc}/u.test(line) ? undefined : line
}

/** UTF-8 as it reads; what is not UTF-8 is shown by replacement characters, since this is text for people. */
function readable(text: RawText): string {
  return rawToUtf8(text) ?? rawToBytes(text).toString('utf8')
}
