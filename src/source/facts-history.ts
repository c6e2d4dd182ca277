// The shell histories of the user (V10).
import type { RawText } from '../base/raw-text.ts'
import { baseName, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Environment } from './facts-environment.ts'
import type { MachineUser } from './facts-system.ts'
import type { GuestPart, PartOutcome } from './guest-parts.ts'

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

/** Where a history may lie, and the question for it. */
export interface HistoryQuestion {
  readonly candidate: Omit<HistoryFile, 'content' | 'cut'>
  readonly part: GuestPart
}

export function askHistory(user: MachineUser, environment: Environment): HistoryQuestion[] {
  return historyCandidates(user, environment).map((candidate) => ({
    candidate,
    part: {
      script: `exec tail -c ${historyBytesMax + 1} "$1"`,
      words: [candidate.path],
      timeoutMs: readTimeoutMs,
      outputBytesMax: historyBytesMax + 1,
      // Nothing but a regular file is opened, however the variables point.
      onlyIf: candidate.path,
    },
  }))
}

export function historyFile(
  { candidate }: HistoryQuestion,
  { status, stdout }: PartOutcome,
): HistoryFile | undefined {
  if (status !== 0) return undefined
  const cut = stdout.length > historyBytesMax
  return { ...candidate, content: cut ? stdout.subarray(1) : stdout, cut }
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
