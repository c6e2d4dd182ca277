// A small system with rpm and dnf to change at will: `await using chroot = await openRpmChroot()` is there in a second.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { constants, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { removeLeftoverFolders } from './leftover-folders.ts'

export interface RunResult {
  /** 128 and the signal's number when a signal ended it. */
  readonly status: number
  readonly stdout: string
  /** Standard output as it came; `stdout` is its UTF-8 reading. */
  readonly bytes: Buffer
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly env?: Readonly<Record<string, string>>
  /** Without it, a status other than 0 is a failure. */
  readonly mayFail?: boolean
}

/** It is gone, with all that is mounted in it, when it is disposed of, and its mounts when this process is. */
export interface RpmChroot extends AsyncDisposable {
  /** Its `/` as this process sees it. */
  readonly path: string
  /** Words before a program's that have it run there. */
  readonly prefix: readonly string[]
  /** Runs a program as root, without a network. */
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult>
  /** The same for a line that its `/bin/sh` reads. */
  sh(script: string, options?: RunOptions): Promise<RunResult>
}

const project = dirname(import.meta.dirname)
const environment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LANG: 'C.UTF-8',
  LC_ALL: 'C.UTF-8',
  TERM: 'dumb',
  TZ: 'UTC',
}

// The process that made it is in its name: what a killed one left behind is removed by the next.
const folderPrefix = 'vml-rpm-chroot-'
/** `rpm -qa` with file lists of everything stays far below it. */
const outputBytesMax = 64 * 1024 * 1024

/** A layer of its own over the base, which is made where there is none (half a minute). */
export async function openRpmChroot(): Promise<RpmChroot> {
  if (process.getuid?.() !== 0) throw new Error('A chroot needs root; type: sudo npm test')
  removeLeftoverFolders(folderPrefix)
  const base = await promisify(execFile)(join(project, 'tools/images/rpm-chroot'))
  await using resources = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), `${folderPrefix}${process.pid}-`))
  resources.defer(async () => await rm(folder, { recursive: true, force: true }))
  const inside = join(folder, 'root')
  for (const part of ['root', 'upper', 'work']) mkdirSync(join(folder, part))
  const { pid } = resources.use(await holdNamespace(base.stdout.trim(), folder))
  const owned = resources.move()
  const prefix = ['nsenter', `--target=${pid}`, '--mount', '--net', '--', 'chroot', inside]
  const run = async (argv: readonly string[], options: RunOptions = {}) =>
    await runInside([...prefix, ...argv], options)
  return {
    path: `/proc/${pid}/root${inside}`,
    prefix,
    run,
    sh: async (script, options) => await run(['/bin/sh', '-c', script], options),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

/** Mounts that nobody else sees; they last as long as `cat`, which ends with its input, and so with this process. */
const holdScript = `set -e
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" chroot "$2/root"
set -- "$2/root"
mount -t proc proc "$1/proc"
mount -t sysfs -o ro sysfs "$1/sys"
for place in dev run tmp; do mount -t tmpfs -o mode=755 "$place" "$1/$place"; done
chmod 1777 "$1/tmp"
for node in null zero full random urandom tty; do : >"$1/dev/$node"; mount --bind "/dev/$node" "$1/dev/$node"; done
ln -s /proc/self/fd "$1/dev/fd"
echo ready
exec cat >/dev/null`

async function holdNamespace(base: string, folder: string): Promise<{ pid: number } & AsyncDisposable> {
  const child = spawn(
    'unshare',
    ['--mount', '--net', '--propagation', 'private', '/bin/sh', '-c', holdScript, 'sh', base, folder],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const ended = once(child, 'close')
  const [first] = await Promise.race([once(child.stdout, 'data'), ended])
  if (child.pid === undefined || !String(first).startsWith('ready'))
    throw new Error('The mounts of a chroot could not be made')
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await ended
    },
  }
}

async function runInside(
  argv: readonly string[],
  { input = '', env, mayFail = false }: RunOptions,
): Promise<RunResult> {
  const [program = '', ...words] = argv
  const child = spawn(program, words, { stdio: 'pipe', env: { ...environment, ...env } })
  const [out, err] = [collect(child.stdout), collect(child.stderr)]
  // A program that does not read its input closes the pipe; its status says more than EPIPE.
  child.stdin.on('error', () => {}).end(input)
  const ended = Promise.withResolvers<number>()
  child.on('error', ended.reject)
  child.on('close', (code, signal) => ended.resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)))
  const status = await ended.promise
  const result = { status, bytes: out(), stdout: out().toString(), stderr: err().toString() }
  if (status !== 0 && !mayFail)
    throw new Error(`${argv.join(' ')} ended with ${status} in the chroot\n${result.stdout}${result.stderr}`)
  return result
}

function collect(stream: NodeJS.ReadableStream): () => Buffer {
  const chunks: Buffer[] = []
  let bytes = 0
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= outputBytesMax) chunks.push(chunk)
  })
  return () => Buffer.concat(chunks)
}
