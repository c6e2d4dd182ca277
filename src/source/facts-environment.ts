// The environment variables that a login shell of the user has, whatever its start files print or do.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { baseName, compareRaw } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { runBounded } from './bounded-run.ts'
import type { MachineUser } from './facts-system.ts'
import { freshNonce } from './guest-script.ts'

export interface EnvironmentVariable {
  readonly name: RawText
  readonly value: RawText
}
export interface Environment {
  /** Sorted by name, each name once. */
  readonly variables: readonly EnvironmentVariable[]
  /** The shell that was asked; undefined when none answered. */
  readonly shell?: string
  /** Why the user's own login shell could not be asked, as a sentence. */
  readonly problem?: string
}

const loginTimeoutMs = 10_000
/** Linux passes at most a quarter of the stack to a program, 2 MiB as a rule; start files may print besides. */
const environmentBytesMax = 8 * 1024 * 1024
/** Shells that take `-l -c`. csh does not; its users get sh's view. */
const loginShells = new Set(['bash', 'zsh', 'fish', 'dash', 'ash', 'sh', 'ksh', 'mksh', 'busybox'])
/** Of this very session or of the shell that was asked, not of the user's environment. */
const ownNames = /^(?:SSH_(?:CLIENT|CONNECTION|TTY|ORIGINAL_COMMAND|AUTH_SOCK|USER_AUTH)|SHLVL|_|PWD|OLDPWD)$/

export async function readEnvironment(
  shell: Shell,
  { user, signal }: { readonly user: MachineUser; readonly signal?: AbortSignal | undefined },
): Promise<Environment> {
  const login = user.loginShell
  const name: string | undefined = login === undefined ? undefined : baseName(login)
  let problem = 'Its login shell is not known'
  if (login !== undefined && name !== undefined && loginShells.has(name)) {
    const own = await askShell(shell, login, { user, signal })
    if ('variables' in own) return { variables: own.variables, shell: name }
    problem = own.problem
  } else if (name !== undefined) problem = 'Its login shell cannot be asked'
  const plain = await askShell(shell, '/bin/sh', { user, signal })
  return 'variables' in plain
    ? { variables: plain.variables, shell: 'sh', problem }
    : { variables: [], problem }
}

async function askShell(
  shell: Shell,
  program: string,
  { user, signal }: { readonly user: MachineUser; readonly signal?: AbortSignal | undefined },
): Promise<{ readonly variables: readonly EnvironmentVariable[] } | { readonly problem: string }> {
  const nonce = freshNonce()
  // Understood by every shell of the list. Start files print what they like before and after the two marks.
  const ask = `printf %s ${nonce}; env -0 || cat /proc/self/environ; printf %s ${nonce}`
  const outcome = await runBounded(shell, {
    argv: ['sh', '-c', 'unset LC_ALL; cd "$1"; exec "$2" -l -c "$3"', 'vml', user.home, program, ask],
    timeoutMs: loginTimeoutMs,
    outputBytesMax: environmentBytesMax,
    signal,
  })
  if (outcome.limit === 'time')
    return { problem: `Its login shell did not get ready within ${loginTimeoutMs / 1000} s` }
  const parts = rawFromBytes(outcome.stdout).split(nonce)
  const text = parts[1]
  if (parts.length !== 3 || text === undefined)
    return { problem: 'Its login shell did not tell its variables' }
  return { variables: parseEnvironment(text) }
}

export function parseEnvironment(text: string): EnvironmentVariable[] {
  const variables = new Map<string, string>()
  for (const assignment of text.split('\0')) {
    const equals = assignment.indexOf('=')
    if (equals <= 0) continue
    const name = assignment.slice(0, equals)
    if (!ownNames.test(name)) variables.set(name, assignment.slice(equals + 1))
  }
  return [...variables]
    .map(([name, value]) => ({ name: name as RawText, value: value as RawText }))
    .toSorted((left, right) => compareRaw(left.name, right.name))
}
