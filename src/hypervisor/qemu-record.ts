// What is known of one machine under QEMU: the file vm.json in its folder, and whether its QEMU is running.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { writeFileDurable } from '../base/files.ts'

const text = z.string().max(4_096)
const path = text.regex(/^\/[^\0]*$/)
const schema = z.object({
  schema: z.literal(1),
  /** QEMU is started with it, and known by it. */
  id: z.uuid(),
  name: text,
  state: z.enum(['creating', 'ready', 'removing']),
  image: z.object({
    name: text,
    version: text,
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    format: z.enum(['qcow2', 'raw']),
    seed: z.enum(['nocloud', 'systemd-credentials', 'baked']),
    disk: path,
    kernel: path.exactOptional(),
    initrd: path.exactOptional(),
    kernelArguments: text.exactOptional(),
  }),
  memoryMiB: z
    .int()
    .min(16)
    .max(16 * 1024 * 1024),
  user: text,
  hostname: text,
  network: z.enum(['user', 'restricted']),
  /** Versioned, so that another QEMU shows the guest the same machine. */
  machineType: text,
  /** Of the last start. */
  started: z
    .object({
      qemuVersion: text,
      accelerator: z.enum(['kvm', 'tcg']),
      cpu: text,
      sshPort: z.int().min(1).max(65_535),
      arguments: z.array(text).max(200),
    })
    .exactOptional(),
})

export type MachineRecord = Readonly<z.infer<typeof schema>>

export const recordName = 'vm.json'
export const pidName = 'qemu.pid'

/** Undefined when there is none: the folder was just made, or all but gone. */
export async function readRecord(folder: string): Promise<MachineRecord | undefined> {
  let value: unknown
  try {
    value = JSON.parse(await readFile(join(folder, recordName), 'utf8'))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    if (!(error instanceof SyntaxError)) throw error
  }
  const outcome = schema.safeParse(value)
  if (outcome.success) return outcome.data
  throw new VmlError(
    'integrity.format',
    `Cannot read "${join(folder, recordName)}": ${outcome.error.issues[0]?.message}`,
    {
      cause: outcome.error,
    },
  )
}

export async function writeRecord(folder: string, record: MachineRecord): Promise<void> {
  await writeFileDurable(join(folder, recordName), `${JSON.stringify(schema.parse(record), null, 2)}\n`)
}

export interface RunningQemu {
  readonly pid: number
  /** From its own command line: of two starts at once, vm.json may hold the port of the one that lost. */
  readonly sshPort?: number
}

/**
 * The QEMU that runs the machine in this folder, or undefined. A number in a file proves nothing: the process must have
 * been started with this folder's pid file and, where it is known, this machine's id.
 */
export async function findRunning(folder: string, id: string | undefined): Promise<RunningQemu | undefined> {
  const pidFile = join(folder, pidName)
  const pid = await holderOfPidFile(folder)
  if (pid === undefined) return undefined
  const args = (await readOrEmpty(`/proc/${pid}/cmdline`)).split('\0')
  const at = args.indexOf('-pidfile')
  if (at === -1 || args[at + 1] !== pidFile || (id !== undefined && !args.includes(id))) return undefined
  const port = args
    .map((arg) => /^user,id=net0,hostfwd=tcp:127\.0\.0\.1:(\d+)-:22/.exec(arg)?.[1])
    .find(Boolean)
  return { pid, ...(port === undefined ? {} : { sshPort: Number(port) }) }
}

/**
 * Whether the process of the pid file is just ending: it has no memory and so no command line any more, but may still hold
 * its port and the locks of its disks. A kernel thread that got its number looks the same, so nobody should wait long.
 */
export async function isLeaving(folder: string): Promise<boolean> {
  const pid = await holderOfPidFile(folder)
  if (pid === undefined || (await readOrEmpty(`/proc/${pid}/cmdline`)) !== '') return false
  // proc(5): the state follows the name in parentheses. A zombie has let go of everything, unless other threads still end.
  const state = /\) (\S)/.exec(await readOrEmpty(`/proc/${pid}/stat`))?.[1]
  return state !== undefined && (!/[ZX]/.test(state) || (await threadsOf(pid)) > 1)
}

/** The number in the pid file, which says nothing about what that process is now; undefined where none is. */
export async function holderOfPidFile(folder: string): Promise<number | undefined> {
  const pid = Number((await readOrEmpty(join(folder, pidName))).trim())
  return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined
}

async function threadsOf(pid: number): Promise<number> {
  try {
    return (await readdir(`/proc/${pid}/task`)).length
  } catch {
    return 0
  }
}

async function readOrEmpty(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ESRCH') return ''
    throw error
  }
}
