// How the system's OpenSSH client is called: the user's own configuration holds, save for what would harm a program's use.
import { homedir } from 'node:os'
import { join } from 'node:path'

export interface SshAddress {
  readonly user?: string
  readonly host: string
  readonly port?: number
}

export interface SshOptions {
  readonly identityFile?: string
  /** Instead of the user's and the system's; for machines that VML itself made. */
  readonly knownHostsFile?: string
  /** Under which name the key stands there, whatever host and port are connected to. */
  readonly hostKeyAlias?: string
  /** Without it, what the user's configuration says; a question counts as no. */
  readonly strictHostKeyChecking?: 'yes' | 'accept-new' | 'no'
  readonly connectTimeoutS?: number
  readonly configFile?: string
  /** Where the socket of the connection lies, in a private folder; default is the system's folder for such. */
  readonly runtimeFolder?: string
}

export const connectTimeoutSDefault = 15
/** A dead connection ends after this times (this + 1): 40 s. */
const aliveIntervalS = 10
const aliveCountMax = 3

// Its messages are read, hence the C locale.
export const sshProgram = ['env', 'LC_ALL=C', 'ssh'] as const

/** Words up to the remote command. The first value of an option counts, so what stands here wins over files. */
export function connectionWords(options: SshOptions): string[] {
  const { identityFile, knownHostsFile, strictHostKeyChecking, configFile } = options
  return [
    ...sshProgram,
    ...(configFile === undefined ? [] : ['-F', configFile]),
    ...(identityFile === undefined
      ? []
      : ['-i', identityFile.replaceAll('%', '%%'), ...option('IdentitiesOnly', 'yes')]),
    ...(knownHostsFile === undefined
      ? []
      : [
          ...option('UserKnownHostsFile', quotedPath(knownHostsFile)),
          ...option('GlobalKnownHostsFile', '/dev/null'),
        ]),
    ...(options.hostKeyAlias === undefined ? [] : option('HostKeyAlias', options.hostKeyAlias)),
    ...(strictHostKeyChecking === undefined ? [] : option('StrictHostKeyChecking', strictHostKeyChecking)),
    ...option('ConnectTimeout', String(options.connectTimeoutS ?? connectTimeoutSDefault)),
    ...option('ServerAliveInterval', String(aliveIntervalS)),
    ...option('ServerAliveCountMax', String(aliveCountMax)),
    ...commonWords,
  ]
}

/** Words for one more session over a connection that stands. Never opens one of its own, never asks a configuration. */
export function sessionWords(address: SshAddress, socket: string): string[] {
  return [
    ...sshProgram,
    '-F',
    'none',
    '-S',
    socket,
    ...option('ControlMaster', 'no'),
    ...option('ProxyCommand', 'exit 255'),
    ...commonWords,
    ...destinationWords(address),
  ]
}

/** Words for a session over a connection of its own. */
export function aloneWords(address: SshAddress, options: SshOptions): string[] {
  return [
    ...connectionWords(options),
    '-S',
    'none',
    ...option('ControlMaster', 'no'),
    ...destinationWords(address),
  ]
}

export function masterWords(address: SshAddress, options: SshOptions, socket: string): string[] {
  return [
    ...connectionWords(options),
    '-S',
    socket,
    ...option('ControlMaster', 'yes'),
    ...option('ControlPersist', 'no'),
    ...destinationWords(address),
  ]
}

/** User, port and host, such that none can be taken for an option. */
export function destinationWords({ user, host, port }: SshAddress): string[] {
  return [
    ...(user === undefined ? [] : [`-l${user}`]),
    ...(port === undefined ? [] : [`-p${port}`]),
    '--',
    host,
  ]
}

export function option(name: string, value: string): string[] {
  return ['-o', `${name}=${value}`]
}

export function quotedPath(path: string): string {
  if (/["\r\n\0]/.test(path))
    throw new TypeError('Cannot give this path to ssh: it holds a quote or a line end')
  return `"${path.replaceAll('%', '%%')}"`
}

export function userKnownHostsFile(): string {
  return join(homedir(), '.ssh', 'known_hosts')
}

// A guest gets no agent, no forwards and no command of ours to run (V43).
const commonWords = [
  ...option('BatchMode', 'yes'),
  ...option('LogLevel', 'INFO'),
  ...option('RequestTTY', 'no'),
  ...option('EscapeChar', 'none'),
  ...option('ClearAllForwardings', 'yes'),
  ...option('ForwardAgent', 'no'),
  ...option('ForwardX11', 'no'),
  ...option('PermitLocalCommand', 'no'),
  ...option('RemoteCommand', 'none'),
]
