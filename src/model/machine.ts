// A machine: what is logged. It stands in the user's configuration.

export type MachineAddress =
  | { readonly kind: 'local' }
  | { readonly kind: 'ssh'; readonly user?: string; readonly host: string; readonly port?: number }

/** NAME@VERSION of a base image, as the user or the machine itself gave it. */
export interface ImageReference {
  readonly name: string
  readonly version: string
}

export interface Machine {
  readonly name: string
  readonly address: MachineAddress
  readonly image?: ImageReference
}

const namePattern = /^[a-z0-9][a-z0-9._-]{0,62}$/i
const hostPattern = /^[a-z0-9_][a-z0-9._-]*$|^\[?[0-9a-f:.%a-z]+\]?$/i
const userPattern = /^[a-z0-9_][a-z0-9._-]*\$?$/i

export function isMachineName(text: string): boolean {
  return namePattern.test(text) && text !== 'now'
}

/** `ssh://user@host:port` or `local:`; undefined for anything else (a leading `-` in host or user included). */
export function parseMachineAddress(text: string): MachineAddress | undefined {
  if (text === 'local:' || text === 'local') return { kind: 'local' }
  const match = /^ssh:\/\/(?:([^@/]+)@)?(\[[^\]]+\]|[^:/@]+)(?::(\d{1,5}))?\/?$/.exec(text)
  if (!match) return undefined
  const [, user, host = '', port] = match
  if (!hostPattern.test(host) || (user !== undefined && !userPattern.test(user))) return undefined
  const portNumber = port === undefined ? undefined : Number(port)
  if (portNumber !== undefined && (portNumber < 1 || portNumber > 65535)) return undefined
  return {
    kind: 'ssh',
    host: host.replace(/^\[|\]$/g, ''),
    ...(user === undefined ? {} : { user }),
    ...(portNumber === undefined ? {} : { port: portNumber }),
  }
}

export function formatMachineAddress(address: MachineAddress): string {
  if (address.kind === 'local') return 'local:'
  const host = address.host.includes(':') ? `[${address.host}]` : address.host
  return `ssh://${address.user === undefined ? '' : `${address.user}@`}${host}${address.port === undefined ? '' : `:${address.port}`}`
}

/** `NAME@VERSION`, or undefined. */
export function parseImageReference(text: string): ImageReference | undefined {
  const match = /^([A-Za-z0-9][\w.+-]{0,63})@([A-Za-z0-9][\w.+:~-]{0,63})$/.exec(text)
  return match?.[1] !== undefined && match[2] !== undefined
    ? { name: match[1], version: match[2] }
    : undefined
}

export function formatImageReference(image: ImageReference): string {
  return `${image.name}@${image.version}`
}
