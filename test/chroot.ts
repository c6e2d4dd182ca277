// A real Debian to change at will: `await using chroot = await openChroot()` is there in half a second, on a file system of its own.
import { execFile, spawn, type ChildProcessByStdio } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { homedir, constants, tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { promisify } from 'node:util'
import { chrootImage, type ChrootFlavour } from '../tools/chroots/chroots.ts'
import { bounded, holdNamespace, type NamespaceOptions } from './chroot-namespace.ts'
import { removeLeftoverFolders } from './leftover-folders.ts'

export interface RunResult {
  /** 128 and the signal's number when a signal ended it. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly env?: Readonly<Record<string, string>>
  /** Default: `/`. */
  readonly cwd?: string
  /** Without it, a status other than 0 is a failure. */
  readonly mayFail?: boolean
}

export type ChrootProcess = ChildProcessByStdio<Writable, Readable, Readable>

/** It is gone, with all that runs and is mounted in it, when it is disposed of, and when this process is. */
export interface Chroot extends AsyncDisposable {
  /**
   * Its `/` as this process sees it, mounts included: `/proc/PID/root`. Never to be resolved: what asks for the real path of something below
   * it (apt, `realpath`, absolute links) is told of this computer's own files. VML is run inside.
   */
  readonly path: string
  /** A folder of this computer that it sees at `/srv/archive`, read-only, on a mount of its own. */
  readonly archiveFolder: string
  /** Runs a program as root. What it leaves in the background goes on. */
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult>
  /** The same for a line that its `/bin/sh` reads. */
  sh(script: string, options?: RunOptions): Promise<RunResult>
  /** `/usr/bin/vml`: the program of this working tree. */
  vml(args: readonly string[], options?: RunOptions): Promise<RunResult>
  /** A program to talk to, or to end: SIGKILL for the child is one for the program. */
  start(argv: readonly string[], options?: Pick<RunOptions, 'env' | 'cwd'>): ChrootProcess
  /** Ends all its processes at once, and begins anew with what lies on its disk. Not with folders that lie apart, and not on tmpfs. */
  restart(): Promise<void>
}

export interface ChrootOptions extends NamespaceOptions {
  /** Default: small. */
  readonly flavour?: ChrootFlavour
}

const project = dirname(import.meta.dirname)
const environment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  USER: 'root',
  LOGNAME: 'root',
  SHELL: '/bin/sh',
  LANG: 'C.UTF-8',
  TERM: 'dumb',
  TZ: 'UTC',
  DEBIAN_FRONTEND: 'noninteractive',
  // Below /run, which is no part of what is compared or staged.
  NODE_COMPILE_CACHE: '/run/vml-code',
}

// The process that made it is in its name: what a killed one left behind is removed by the next.
const folderPrefix = 'vml-chroot-'

/** A private copy of the base of its flavour, which is built where there is none (half a minute; full some minutes). */
export async function openChroot(options: ChrootOptions = {}): Promise<Chroot> {
  if (process.getuid?.() !== 0) throw new Error('A chroot needs root; type: sudo npm test')
  removeLeftoverFolders(folderPrefix)
  const { flavour = 'small', fileSystem = 'ext4' } = options
  await using resources = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), `${folderPrefix}${process.pid}-`))
  resources.defer(async () => await rm(folder, { recursive: true, force: true }))
  const mountPoint = join(folder, 'root')
  const archiveFolder = join(folder, 'archive')
  for (const made of [mountPoint, archiveFolder]) mkdirSync(made)
  const image = await ownImage(flavour, fileSystem, join(folder, 'image'))
  // Each working tree lies at the same place in its chroots: in one cache they would overwrite each other's code at every start.
  const tree = createHash('sha256').update(project).digest('hex').slice(0, 16)
  const codeCache = join(process.env['NODE_COMPILE_CACHE'] ?? join(cacheFolder(), 'code'), `tree-${tree}`)
  mkdirSync(codeCache, { recursive: true })
  const hold = async () =>
    await holdNamespace({ image, mountPoint, project, codeCache, archiveFolder }, { ...options, fileSystem })
  let namespace = await hold()
  resources.defer(async () => await namespace[Symbol.asyncDispose]())
  const pathOf = () => `/proc/${namespace.pid}/root`
  await writeFile(join(pathOf(), 'usr/bin/vml'), startVml, { mode: 0o755 })
  const enter = (argv: readonly string[], cwd: string | undefined) =>
    entering(namespace.pid, options.systemd ? ['setpriv', ...bounded, '--', ...argv] : argv, cwd)
  let runs = 0
  const owned = resources.move()
  const run = async (argv: readonly string[], runOptions: RunOptions = {}) =>
    await runInside(enter(argv, runOptions.cwd), join(folder, `run-${runs++}`), runOptions)
  return {
    get path() {
      return pathOf()
    },
    archiveFolder,
    run,
    sh: async (script, runOptions) => await run(['/bin/sh', '-c', script], runOptions),
    vml: async (args, runOptions) => await run(['/usr/bin/vml', ...args], runOptions),
    start: (argv, { env, cwd } = {}) =>
      spawn('nsenter', enter(argv, cwd), { stdio: 'pipe', env: { ...environment, ...env } }),
    async restart() {
      await namespace[Symbol.asyncDispose]()
      namespace = await hold()
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

/** As one that is installed would be started: by its path, whatever the variables are. */
const startVml = `#!/bin/sh
exec /opt/vml/${relative(project, process.execPath)} /opt/vml/src/cli/vml.js "$@"
`

async function ownImage(
  flavour: ChrootFlavour,
  fileSystem: NonNullable<ChrootOptions['fileSystem']>,
  file: string,
): Promise<string> {
  const base = await chrootImage(flavour, fileSystem === 'tmpfs' ? 'ext4' : fileSystem)
  if (fileSystem === 'tmpfs') return base
  // Node's copy would fill the holes.
  await promisify(execFile)('cp', ['--reflink=auto', '--sparse=always', base, file])
  return file
}

/** Output goes to files: what a program leaves in the background may hold them open for as long as it likes. */
async function runInside(
  words: readonly string[],
  outputFile: string,
  { input = '', env, mayFail = false }: RunOptions,
): Promise<RunResult> {
  const files = [`${outputFile}.out`, `${outputFile}.err`] as const
  const [out, err] = files.map((file) => openSync(file, 'wx'))
  const ended = Promise.withResolvers<number>()
  try {
    const child = spawn('nsenter', words, {
      stdio: ['pipe', out, err],
      env: { ...environment, ...env },
    })
    child.on('error', ended.reject)
    child.on('exit', (code, signal) => ended.resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)))
    // A program that does not read its input closes the pipe; its status says more than EPIPE.
    child.stdin?.on('error', () => {}).end(input)
  } finally {
    for (const file of [out, err]) if (file !== undefined) closeSync(file)
  }
  const status = await ended.promise
  const [stdout = '', stderr = ''] = files.map((file) => readFileSync(file, 'utf8'))
  for (const file of files) rmSync(file)
  if (status !== 0 && !mayFail)
    throw new Error(`${words.join(' ')} ended with ${status} in the chroot\n${stdout}${stderr}`)
  return { status, stdout, stderr }
}

/** Arguments of nsenter. A program ends when nsenter does, and its children do as they please. */
function entering(pid: number, argv: readonly string[], cwd = '/'): string[] {
  const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--net']
  return [
    `--target=${pid}`,
    ...namespaces,
    `--wdns=${cwd}`,
    '--',
    'setpriv',
    '--pdeathsig',
    'SIGKILL',
    '--',
    ...argv,
  ]
}

function cacheFolder(): string {
  return (
    process.env['VML_TEST_CACHE'] ??
    join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'vml-build')
  )
}
