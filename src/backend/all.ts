// The table of places where a repository can lie; opened by app/ alone.
import { VmlError } from '../base/failure.ts'
import type { Backend } from './backend.ts'
import { schemeOf } from './location.ts'

/** What drivers are told beside the location; each takes what it knows. */
export interface DriverOptions {
  /** Instead of the user's own configuration of ssh. */
  readonly sshConfig?: string | undefined
  /** Where the drivers find the secrets and settings that the programs they are shared with take from there. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
}

interface Driver {
  /** How a location of it is written. */
  readonly example: string
  /** Whether it lies on another computer: then it is asked again after a failure, and small files are kept here. */
  readonly remote: boolean
  readonly open: (location: string, options: DriverOptions) => Promise<Backend>
}

/** By the word before the colon, as restic names them. Each is imported when it is used. */
const drivers: Readonly<Record<string, Driver>> = {
  local: {
    example: 'a folder',
    remote: false,
    open: async (location) => {
      const { openLocal } = await import('./local.ts')
      return openLocal(location.replace(/^local:/, ''))
    },
  },
  sftp: {
    example: 'sftp:USER@HOST:/PATH',
    remote: true,
    open: async (location, { sshConfig }) => {
      const { openSftpBackend } = await import('./sftp.ts')
      const { parseSftpLocation } = await import('./sftp-location.ts')
      return openSftpBackend(
        parseSftpLocation(location),
        sshConfig === undefined ? {} : { configFile: sshConfig },
      )
    },
  },
  rest: {
    example: 'rest:https://HOST/PATH/',
    remote: true,
    open: async (location, { environment = {} }) => {
      const { openRestBackend, parseRestLocation } = await import('./rest.ts')
      return openRestBackend(parseRestLocation(location), { environment })
    },
  },
  rclone: {
    example: 'rclone:REMOTE:PATH',
    remote: true,
    open: async (location, { environment = {} }) => {
      const { openRcloneBackend, parseRcloneLocation } = await import('./rclone.ts')
      return openRcloneBackend(parseRcloneLocation(location), { environment })
    },
  },
  s3: {
    example: 's3:https://HOST/BUCKET/PATH',
    remote: true,
    open: async (location, { environment = {} }) => {
      const { openS3Backend } = await import('./s3.ts')
      const { parseS3Location } = await import('./s3-location.ts')
      return openS3Backend(parseS3Location(location), { environment })
    },
  },
}

/** Fails with `usage` for a location that none of the drivers knows. Nothing is connected to before the first call. */
export async function openBackend(location: string, options: DriverOptions = {}): Promise<Backend> {
  return await driverOf(location).open(location, options)
}

export function isRemote(location: string): boolean {
  return driverOf(location).remote
}

function driverOf(location: string): Driver {
  const scheme = schemeOf(location)
  const driver = Object.entries(drivers).find(([name]) => name === scheme)?.[1]
  if (driver) return driver
  const known = Object.values(drivers).map(({ example }) => example)
  throw new VmlError('usage', `Cannot open "${scheme}:…": a logbook lies in ${known.join(', ')}`, {
    details: { scheme, known: Object.keys(drivers) },
    hint: `For a folder whose name holds a colon write "./${scheme}:…" or its whole path`,
  })
}
