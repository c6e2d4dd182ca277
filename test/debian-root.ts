// A small Debian 12 of its own in a folder: apt and dpkg as they are, without network, in a private mount namespace for each program.
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Shell } from '../src/wire/shell.ts'
import { markVariable } from '../tools/test-processes.ts'

export interface RootOutcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface DebianRoot extends Disposable {
  readonly path: string
  /** Runs a program as root, and never fails for what it ends with. */
  run(argv: readonly string[]): Promise<RootOutcome>
}

// Named by what it is made of; busybox for its sh.
const recipe = ['--variant=minbase', '--include=ca-certificates,busybox', 'bookworm']

export function openDebianRoot(): DebianRoot {
  const cache =
    process.env['VML_TEST_CACHE'] ??
    join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'vml-build')
  const name = createHash('sha256').update(recipe.join(' ')).digest('hex').slice(0, 16)
  const image = join(cache, 'roots', `${name}.tar`)
  if (!existsSync(image))
    // The kernel frees the lock when its holder is gone; who has waited for it finds the image.
    execFileSync('sh', ['-c', makeScript, 'sh', image, ...recipe], { stdio: ['ignore', 'ignore', 'inherit'] })
  const path = mkdtempSync(join(tmpdir(), 'vml-root-'))
  execFileSync('tar', ['-C', path, '-xf', image, '--exclude=./dev/*'])
  return {
    path,
    async run(argv) {
      const words = [
        '-m',
        '-n',
        '--propagation',
        'private',
        '/bin/sh',
        '-c',
        mountScript,
        'sh',
        path,
        ...argv,
      ]
      const child = spawn('unshare', words, { stdio: ['ignore', 'pipe', 'pipe'], env: environment() })
      const ended = Promise.withResolvers<number>()
      child.on('error', ended.reject).on('close', (status) => ended.resolve(status ?? 128))
      const [status, stdout, stderr] = await Promise.all([
        ended.promise,
        Array.fromAsync<Buffer>(child.stdout),
        Array.fromAsync<Buffer>(child.stderr),
      ])
      const text = (chunks: readonly Buffer[]) => Buffer.concat(chunks).toString('latin1')
      return { status, stdout: text(stdout), stderr: text(stderr) }
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  }
}

/** Programs of the root, as this user. */
export function shellOf(root: DebianRoot, user?: number): Shell {
  return {
    label: 'the root',
    start: () => Promise.reject(new Error('not asked for')),
    async run({ argv }) {
      const words = user === undefined ? argv : ['setpriv', `--reuid=${user}`, '--clear-groups', ...argv]
      const { status, stdout, stderr } = await root.run(words)
      return { status, stdout: Buffer.from(stdout, 'latin1'), stderr: Buffer.from(stderr, 'latin1') }
    },
    async [Symbol.asyncDispose]() {},
  }
}

const makeScript = `
image=$1; shift
mkdir -p "\${image%/*}" && exec 9>"$image.lock" && flock 9 || exit
[ ! -e "$image" ] || exit 0
mmdebstrap --quiet --format=tar "$@" - >"$image.part" && mv "$image.part" "$image"`

const mountScript = `
set -e
root=$1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs run "$root/run"
mount -t tmpfs tmp "$root/tmp"
mount --rbind /dev "$root/dev"
shift
exec chroot "$root" "$@"`

function environment(): NodeJS.ProcessEnv {
  return {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LC_ALL: 'C',
    DEBIAN_FRONTEND: 'noninteractive',
    [markVariable]: process.env[markVariable] ?? '',
  }
}
