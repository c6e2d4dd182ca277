// Reads from ssh's own messages why a connection failed.
import { VmlError, type FailureCode } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'

export type SshTrouble =
  | 'host-key-changed'
  | 'host-key-unknown'
  | 'authentication'
  | 'configuration'
  | 'sessions'
  | 'timeout'
  | 'network'

// OpenSSH prints these in English in the C locale. Order counts: a changed key also fails verification.
const signs: readonly (readonly [RegExp, SshTrouble])[] = [
  [
    /REMOTE HOST IDENTIFICATION HAS CHANGED|REVOKED HOST KEY|marked as revoked|differs from the key for/i,
    'host-key-changed',
  ],
  [/Host key verification failed|No \S+ host key is known/, 'host-key-unknown'],
  [
    /Permission denied|Too many authentication failures|No supported authentication methods/i,
    'authentication',
  ],
  [
    /Bad configuration option|terminating, \d+ bad configuration|Bad owner or permissions|Can't open user config/i,
    'configuration',
  ],
  [/Session open refused|session request failed/, 'sessions'],
  [/timed out|Timeout, server/i, 'timeout'],
]

export function troubleOf(stderr: Buffer): SshTrouble {
  const text = stderr.toString('latin1')
  return signs.find(([pattern]) => pattern.test(text))?.[1] ?? 'network'
}

/** Whether the machine allows no more sessions on a connection. */
export function isSessionRefusal(error: unknown): boolean {
  return error instanceof VmlError && error.details['reason'] === 'sessions'
}

const outcomes: Readonly<Record<SshTrouble, { code: FailureCode; hint: string }>> = {
  'host-key-changed': {
    code: 'remote.denied',
    hint: 'If the machine was made anew, remove its old key with ssh-keygen -R; if not, do not go on',
  },
  'host-key-unknown': {
    code: 'remote.denied',
    hint: 'Connect once with ssh and accept the key after comparing it',
  },
  authentication: {
    code: 'remote.denied',
    hint: 'Let ssh reach this machine without a password: ssh-copy-id, or a key in the agent',
  },
  configuration: { code: 'usage', hint: 'Correct the configuration of ssh' },
  sessions: {
    code: 'remote.denied',
    hint: 'Raise MaxSessions in the sshd_config of the machine to at least 10',
  },
  timeout: { code: 'unavailable.timeout', hint: 'See whether the machine is running and can be reached' },
  network: { code: 'unavailable.network', hint: 'See whether the machine is running and can be reached' },
}

export function sshFailure(
  action: string,
  stderr: Buffer,
  trouble: SshTrouble,
  details: Readonly<Record<string, unknown>> = {},
): VmlError {
  const { code, hint } = outcomes[trouble]
  return new VmlError(code, `${action}: ${lastLine(stderr)}`, {
    hint,
    details: { reason: trouble, ...details },
  })
}

const shownCharactersMax = 300

/** The last line that says something, safe to print. */
export function lastLine(stderr: Buffer): string {
  const lines = stderr.toString('utf8').split(/[\r\n]+/)
  const line = lines.findLast((each) => each.trim() !== '')?.trim() ?? 'no message'
  return printableText(line.slice(0, shownCharactersMax)).replace(/\.$/, '')
}
