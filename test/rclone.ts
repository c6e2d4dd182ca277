// A private server of restic's REST protocol on this host's loopback: rclone, over a folder of its own: `await using rclone = await startRclone()`.
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Rclone extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, without a slash at its end. */
  readonly url: string
  /** What it serves; a repository at `url/name/` lies in `folder/name`. */
  readonly folder: string
  readonly pid: number
}

export interface RcloneOptions {
  /** Who may ask; default: everybody. */
  readonly credentials?: { readonly user: string; readonly password: string }
  /** Further options of `rclone serve restic`. */
  readonly args?: readonly string[]
}

// It answers within a tenth of a second; under load it may take more.
const startMsMax = 30_000

/** It is gone when disposed of, and when this process is. */
export async function startRclone({ credentials, args = [] }: RcloneOptions = {}): Promise<Rclone> {
  await using resources = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'vml-rclone-'))
  resources.defer(async () => await rm(folder, { recursive: true, force: true }))
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'SIGTERM', 'rclone', 'serve', 'restic', '--addr', '127.0.0.1:0', ...args, folder],
    {
      env: {
        ...rcloneEnvironment,
        ...(credentials && { RCLONE_USER: credentials.user, RCLONE_PASS: credentials.password }),
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  const gone = Promise.withResolvers<undefined>()
  child.on('close', () => gone.resolve(undefined)).on('error', () => gone.resolve(undefined))
  resources.defer(async () => {
    child.kill('SIGTERM')
    await gone.promise
  })
  const url = Promise.withResolvers<string>()
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-64 * 1024)
    const [found] = /http:\/\/127\.0\.0\.1:\d+/.exec(said) ?? []
    if (found !== undefined) url.resolve(found)
  })
  const timer = setTimeout(() => url.reject(new Error(`rclone does not serve: ${said}`)), startMsMax)
  void gone.promise.then(() => url.reject(new Error(`rclone ended: ${said}`)))
  const address = await url.promise.finally(() => clearTimeout(timer))
  const owned = resources.move()
  return {
    url: address,
    folder,
    pid: child.pid ?? 0,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

/** Nothing of this computer's own configuration of rclone is seen. */
export const rcloneEnvironment: Readonly<Record<string, string>> = {
  PATH: process.env['PATH'] ?? '',
  HOME: '/nonexistent',
  RCLONE_CONFIG: '/dev/null',
}
