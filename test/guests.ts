// Real guests for tests: `await using guest = await startGuest({ image: 'tiny@1' })` is there in about a second, resumed from saved memory.
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ImageName } from '../tools/images/images.ts'
import { goldenGuest } from './golden-guest.ts'
import { forwardedPort, makeOverlay, startMachine, writeSshFiles } from './guest-machine.ts'
import { removeLeftoverFolders } from './leftover-folders.ts'

export interface CommandResult {
  readonly status: number
  readonly stdout: string
  /** Standard output as it came; `stdout` is its UTF-8 reading. */
  readonly bytes: Buffer
  readonly stderr: string
}

export interface CommandOptions {
  readonly input?: string | Uint8Array
  /** Without it, a status other than 0 is a failure. */
  readonly mayFail?: boolean
}

/** A running guest. It is gone when it is disposed of, and when this process is. */
export interface Guest extends AsyncDisposable {
  readonly host: '127.0.0.1'
  readonly port: number
  /** The user of the image beside root: `lab` in tiny, `debian` in debian. */
  readonly user: string
  /** Lets in as root and as the user; neither has a key in their home but root, who has this one. */
  readonly keyFile: string
  readonly knownHostsFile: string
  /** For `ssh -F FILE user@127.0.0.1`: port, key, known hosts, no questions. */
  readonly sshConfigFile: string
  readonly sshArgs: readonly string[]
  readonly pid: number
  readonly qmpSocket: string
  /** Runs a command line over ssh, as root's shell reads it. */
  root(command: string, options?: CommandOptions): Promise<CommandResult>
  /** The same as the image's user. */
  lab(command: string, options?: CommandOptions): Promise<CommandResult>
}

export interface GuestOptions {
  readonly image: ImageName
  /** Default 256 for tiny, 512 for debian. Each size has saved memory of its own: keep to the default. */
  readonly memoryMiB?: number
}

// The process that made it is in its name: what a killed one left behind is removed by the next.
const folderPrefix = 'vml-guest-'

/** Resumes a private copy of the image's golden guest, and makes that one first where there is none (5 s; debian a minute). */
export async function startGuest({ image: name, memoryMiB }: GuestOptions): Promise<Guest> {
  removeLeftoverFolders(folderPrefix)
  const golden = await goldenGuest(name, memoryMiB ?? (name === 'debian@12' ? 512 : 256))
  await using resources = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), `${folderPrefix}${process.pid}-`))
  resources.defer(async () => await rm(folder, { recursive: true, force: true }))
  await makeOverlay(join(folder, 'disk.qcow2'), golden.diskFile)
  const machine = resources.use(
    await startMachine({
      image: golden.image,
      memoryMiB: memoryMiB ?? (name === 'debian@12' ? 512 : 256),
      folder,
      ramFile: golden.ramFile,
      ramShared: false,
      rootKeyFile: `${golden.keyFile}.pub`,
      incoming: true,
    }),
  )
  const { qmp, qmpSocket } = machine
  await qmp.execute('migrate-set-capabilities', {
    capabilities: [{ capability: 'x-ignore-shared', state: true }],
  })
  await qmp.execute('migrate-incoming', { uri: `exec:cat '${golden.stateFile}'` })
  // A guest that goes on, or is connected to, before all is loaded has no network for many seconds.
  while (await isLoading(async () => await qmp.execute('query-status'))) await sleep(5)
  await qmp.execute('cont')
  const port = await forwardedPort(qmp)
  // QEMU's own client has to let go of the socket: it serves one, and a test may want it.
  qmp.close()

  const { sshConfigFile, knownHostsFile } = await writeSshFiles({
    folder,
    port,
    keyFile: golden.keyFile,
    hostKey: golden.hostKey,
  })
  const user = golden.image.user
  const run = async (login: string, command: string, options: CommandOptions = {}) =>
    await runOverSsh(
      ['-F', sshConfigFile, ...sharedConnection(folder), `${login}@127.0.0.1`, command],
      options,
    )
  // The clock stood still since the memory was saved.
  await run('root', `date -u -s @${Math.ceil(Date.now() / 1000)} >/dev/null`)
  const owned = resources.move()
  return {
    host: '127.0.0.1',
    port,
    user,
    keyFile: golden.keyFile,
    knownHostsFile,
    sshConfigFile,
    sshArgs: ['-F', sshConfigFile],
    pid: machine.process.pid ?? 0,
    qmpSocket,
    root: async (command, options) => await run('root', command, options),
    lab: async (command, options) => await run(user, command, options),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

/** One connection per user for the harness's own commands; what is tested makes its own. It ends with the guest. */
function sharedConnection(folder: string): string[] {
  return ['-o', 'ControlMaster=auto', '-o', `ControlPath=${join(folder, '%r')}`, '-o', 'ControlPersist=60']
}

async function isLoading(query: () => Promise<unknown>): Promise<boolean> {
  const answer = await query()
  return typeof answer === 'object' && answer !== null && 'status' in answer && answer.status === 'inmigrate'
}

/** Runs ssh; a command that fails is a failure with its own words, unless it may. */
export async function runOverSsh(args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const child = spawn('ssh', args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  // A command that does not read its input closes the pipe; its status says more than EPIPE.
  child.stdin.on('error', () => {}).end(options.input ?? '')
  const ended = Promise.withResolvers<number>()
  // A connection that stays in the background holds standard error: the end of ssh counts, not that of its pipes.
  child.on('error', ended.reject).on('exit', (code) => ended.resolve(code ?? 255))
  const status = await ended.promise
  if (!child.stdout.readableEnded) await new Promise((resolve) => child.stdout.once('end', resolve))
  const stderr = Buffer.concat(err).toString()
  if (status !== 0 && options.mayFail !== true) {
    throw new Error(`ssh ${args.at(-2)} ended with ${status}: ${args.at(-1)}\n${stderr}`)
  }
  const bytes = Buffer.concat(out)
  return { status, stdout: bytes.toString(), bytes, stderr }
}
