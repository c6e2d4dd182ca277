// The environment variables that a login shell of the user has, whatever its start files print or do.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { baseName, compareRaw, type RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { whoScript, type MachineUser } from './facts-system.ts'
import { runParts, type GuestPart, type PartOutcome } from './guest-parts.ts'
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

/** Asks the login shell of whoever logs in, or a given one, in a given home. */
export interface EnvironmentQuestion {
  readonly part: GuestPart
  readonly nonce: string
}

export function askLoginShell(given?: {
  readonly program: string
  readonly home: RawPath
}): EnvironmentQuestion {
  const nonce = freshNonce()
  // Understood by every shell of the list. Start files print what they like before and after the two marks.
  const ask = `printf %s ${nonce}; env -0 || cat /proc/self/environ; printf %s ${nonce}`
  const part = {
    script: loginScript,
    words: [ask, ...(given ? [given.program, given.home] : [])],
    timeoutMs: loginTimeoutMs,
    outputBytesMax: environmentBytesMax,
  }
  return { part, nonce }
}

// Where no login shell is given, one that does not take these words is not run.
const loginScript = `
if [ "$#" = 1 ]; then
  ${whoScript}
  case \${vml_login##*/} in ${[...loginShells].join('|')}) ;; *) exit 3 ;; esac
  set -- "$1" "$vml_login" "$vml_home"
fi
unset LC_ALL
cd "$3"
exec "$2" -l -c "$1"`

export async function readEnvironment(
  shell: Shell,
  request: {
    readonly user: MachineUser
    /** What its login shell answered already. */
    readonly asked?: { readonly nonce: string; readonly outcome: PartOutcome }
    readonly signal?: AbortSignal | undefined
  },
): Promise<Environment> {
  const { user, asked, signal } = request
  const login = user.loginShell
  const name: string | undefined = login === undefined ? undefined : baseName(login)
  let problem = 'Its login shell is not known'
  if (login !== undefined && name !== undefined && loginShells.has(name)) {
    const own = asked ? tellEnvironment(asked) : await askShell(shell, login, { user, signal })
    if ('variables' in own) return { variables: own.variables, shell: name }
    problem = own.problem
  } else if (name !== undefined) problem = 'Its login shell cannot be asked'
  const plain = await askShell(shell, '/bin/sh', { user, signal })
  return 'variables' in plain
    ? { variables: plain.variables, shell: 'sh', problem }
    : { variables: [], problem }
}

type Told = { readonly variables: readonly EnvironmentVariable[] } | { readonly problem: string }

async function askShell(
  shell: Shell,
  program: string,
  { user, signal }: { readonly user: MachineUser; readonly signal?: AbortSignal | undefined },
): Promise<Told> {
  const { part, nonce } = askLoginShell({ program, home: user.home })
  const [outcome] = await runParts(shell, [part], { signal })
  return outcome ? tellEnvironment({ nonce, outcome }) : { problem: notTold }
}

const notTold = 'Its login shell did not tell its variables'

function tellEnvironment({
  nonce,
  outcome,
}: {
  readonly nonce: string
  readonly outcome: PartOutcome
}): Told {
  if (outcome.limit === 'time')
    return { problem: `Its login shell did not get ready within ${loginTimeoutMs / 1000} s` }
  const parts = rawFromBytes(outcome.stdout).split(nonce)
  const text = parts[1]
  if (parts.length !== 3 || text === undefined) return { problem: notTold }
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
