// `sftp:user@host:/path` and `sftp://user@host:port//path`, as restic writes them (restic, doc/030_preparing_a_new_repo.rst).
import { VmlError } from '../base/failure.ts'
import type { SshAddress } from '../wire/ssh-client.ts'

export interface SftpLocation {
  readonly address: SshAddress
  /** Relative ones begin in the folder where a login starts. */
  readonly path: string
}

const usageHint =
  'Write sftp:USER@HOST:/PATH, or sftp://USER@HOST:PORT//PATH with two slashes for a path from the root'

/** Fails with `usage`; never prints a password that stands where none may. */
export function parseSftpLocation(location: string): SftpLocation {
  const { user, host, port, path } = location.startsWith('sftp://')
    ? parseUrl(location)
    : parseShort(location)
  // ssh would take it for an option, or a shell of its configuration for more than a name.
  if (!/^[A-Za-z0-9._:%-]+$/.test(host) || host.startsWith('-')) throw wrong('its host is no name of one')
  if (user !== undefined && !/^[^\s'"`$\\;&|<>(){}-][^\s'"`$\\;&|<>(){}]*$/.test(user))
    throw wrong('its user is no name of one')
  if (path === '' || path.includes('\0')) throw wrong('it names no path')
  if (path.startsWith('~'))
    throw wrong('a path on another host has no "~": leave it out, relative paths begin there')
  return {
    address: { host, ...(user === undefined ? {} : { user }), ...(port === undefined ? {} : { port }) },
    path: path.length > 1 ? path.replace(/\/+$/, '') || '/' : path,
  }
}

interface Parts {
  readonly user: string | undefined
  readonly host: string
  readonly port?: number | undefined
  readonly path: string
}

/** `sftp://[user@]host[:port]/path`: after one slash the path is relative, after two it begins at the root. */
function parseUrl(location: string): Parts {
  const match = /^sftp:\/\/(?:([^/]*)@)?(\[[^\]/]+\]|[^:/@]*)(?::([0-9]{1,5}))?\/(.*)$/s.exec(location)
  if (!match) throw wrong('it is not sftp://USER@HOST:PORT/PATH')
  const [, user, host = '', portText, path = ''] = match
  if (user?.includes(':')) throw wrong('a password does not belong there: ssh logs in with keys')
  const port = portText === undefined ? undefined : Number(portText)
  if (port !== undefined && (port < 1 || port > 65_535)) throw wrong('its port is none')
  return { user: decode(user), host: host.replace(/^\[|\]$/g, ''), port, path: decode(path) ?? '' }
}

/** `sftp:[user@]host:path`; the last `@` counts, since names of a domain have one too. */
function parseShort(location: string): Parts {
  const match = /^sftp:(?:([^:/]*)@)?(\[[^\]/]+\]|[^:/@]+):(.*)$/s.exec(location)
  if (!match) throw wrong('it is not sftp:USER@HOST:PATH')
  const [, user, host = '', path = ''] = match
  return { user, host: host.replace(/^\[|\]$/g, ''), path }
}

function decode(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  try {
    return decodeURIComponent(text)
  } catch {
    throw wrong('a "%" in it is not followed by two digits')
  }
}

function wrong(why: string): VmlError {
  return new VmlError('usage', `Cannot use this sftp location: ${why}`, { hint: usageHint })
}

export function sftpLabel({ user, host, port }: SshAddress): string {
  const name = host.includes(':') ? `[${host}]` : host
  return `${user === undefined ? '' : `${user}@`}${name}${port === undefined ? '' : `:${port}`}`
}

export function formatSftpLocation({ address, path }: SftpLocation): string {
  const label = sftpLabel(address)
  return address.port === undefined ? `sftp:${label}:${path}` : `sftp://${label}/${path}`
}
