// The shell histories of the user (V10).
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { baseName, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { runBounded } from './bounded-run.ts'
import type { Environment } from './facts-environment.ts'
import type { MachineUser } from './facts-system.ts'
import { nulTerminated, runScript, scriptArgv } from './guest-script.ts'

export interface HistoryFile {
  readonly shell: 'bash' | 'zsh' | 'fish'
  readonly path: RawPath
  /** Its last `historyBytesMax` bytes. */
  readonly content: Uint8Array
  /** The file is longer than `content`. */
  readonly cut: boolean
}

export const historyBytesMax = 64 * 1024 * 1024
const readTimeoutMs = 120_000

export async function readHistory(
  shell: Shell,
  request: {
    readonly user: MachineUser
    readonly environment: Environment
    readonly signal?: AbortSignal | undefined
  },
): Promise<HistoryFile[]> {
  const candidates = historyCandidates(request.user, request.environment)
  const stdout = await runScript(shell, {
    // Nothing but a regular file is opened, however the variables point.
    script: `xargs -0 -n 100 sh -c 'for path; do [ -f "$path" ] && [ -r "$path" ] && printf "%s\\000" "$path"; done; :' sh`,
    stdin: nulTerminated(candidates.map(({ path }) => path)),
    doing: 'look for the shell history',
    signal: request.signal,
  })
  const present = new Set(rawFromBytes(stdout).split('\0'))
  const files: HistoryFile[] = []
  for (const { shell: kind, path } of candidates) {
    if (!present.has(path)) continue
    const outcome = await runBounded(shell, {
      argv: scriptArgv({ script: `exec tail -c ${historyBytesMax + 1} "$1"`, words: [path] }),
      timeoutMs: readTimeoutMs,
      outputBytesMax: historyBytesMax + 1,
      signal: request.signal,
    })
    if (outcome.status !== 0) continue
    const cut = outcome.stdout.length > historyBytesMax
    files.push({ shell: kind, path, content: cut ? outcome.stdout.subarray(1) : outcome.stdout, cut })
  }
  return files
}

/** Where histories may lie: the default places, and where variables of the environment point. */
function historyCandidates(
  user: MachineUser,
  environment: Environment,
): Omit<HistoryFile, 'content' | 'cut'>[] {
  const get = (name: string): string | undefined =>
    environment.variables.find((variable) => variable.name === name)?.value
  const named = get('HISTFILE')
  const login: string = user.loginShell === undefined ? '' : baseName(user.loginShell)
  const zshFolder = get('ZDOTDIR') ?? user.home
  const dataFolder = get('XDG_DATA_HOME') ?? `${user.home}/.local/share`
  const places: readonly (readonly [HistoryFile['shell'], string | undefined])[] = [
    ['bash', login === 'bash' ? named : undefined],
    ['bash', `${user.home}/.bash_history`],
    ['zsh', login === 'zsh' ? named : undefined],
    ['zsh', `${zshFolder}/.zsh_history`],
    ['zsh', `${user.home}/.zsh_history`],
    ['zsh', `${user.home}/.histfile`],
    ['fish', `${dataFolder}/fish/fish_history`],
  ]
  const found = new Map<RawPath, Omit<HistoryFile, 'content' | 'cut'>>()
  for (const [shell, text] of places) {
    const path = parseRawPath((text ?? '') as RawText)
    if (path !== undefined && !found.has(path)) found.set(path, { shell, path })
  }
  return [...found.values()]
}
