// The driver for plain QEMU: each machine is a private folder and, while it runs, one process that outlives VML.
//
//   FOLDER/accelerator.json          what the probe found
//   FOLDER/NAME/vm.json              what the machine is; written before everything else, removed after everything else
//   FOLDER/NAME/disk.qcow2           overlay over the image, which is never written to
//   FOLDER/NAME/key, key.pub, known_hosts        VML's own key for this machine
//   FOLDER/NAME/seed.iso | ssh.authorized_keys.root, tmpfiles.extra        how the guest learns the key
//   FOLDER/NAME/qmp.sock, qemu.pid, qemu.log, console.log  of its QEMU
//
// Order of writes: folder, vm.json "creating", key, seed, disk, vm.json "ready"; before each start, vm.json with port and
// command line; on removal, vm.json "removing", files, vm.json, folder. So whatever was cut off can be listed and removed.
import { randomUUID } from 'node:crypto'
import { open, readdir, realpath, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type Clock, systemClock } from '../base/clock.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { makePrivateFolder } from '../base/files.ts'
import { printableText } from '../base/raw-text.ts'
import { isMachineName } from '../model/machine.ts'
import { connectQmp } from '../wire/qmp.ts'
import type {
  Hypervisor,
  HypervisorFacts,
  HypervisorOptions,
  MachineSpec,
  MachineStatus,
} from './hypervisor.ts'
import { programFailure, runProgramWell } from './program.ts'
import { fileNames, qemuArguments } from './qemu-arguments.ts'
import {
  accessTo,
  clearFolder,
  credentialNames,
  key,
  makeOwnFolder,
  mustExist,
  readPublicKey,
  statusIn,
} from './qemu-folder.ts'
import { launchQemu } from './qemu-launch.ts'
import { emulatedModel, hostModel, newestMachineType, versionOf } from './qemu-host.ts'
import { probeAccelerator } from './qemu-probe.ts'
import { makeOverlay } from './qemu-overlay.ts'
import { findRunning, isLeaving, type MachineRecord, readRecord, writeRecord } from './qemu-record.ts'
import { nocloudSeed, systemdCredentials } from './seed.ts'
import { waitForSsh } from './wait-for-ssh.ts'

const bootTimeoutMs = 300_000
const stopTimeoutMs = 60_000
const quitTimeoutMs = 10_000
const pressEveryMs = 5_000
const pollMs = 100
const leaveTimeoutMs = 3_000
const leavePollMs = 20
const portTriesMax = 5
const consoleTailBytes = 2_000

export function openQemu({
  folder: givenFolder,
  clock = systemClock,
  accelerator: wanted = 'auto',
  qemu = 'qemu-system-x86_64',
}: {
  /** Where machines live; made on first use. */
  folder: string
  clock?: Clock
  /** `auto` takes what the probe finds. */
  accelerator?: 'auto' | 'kvm' | 'tcg'
  qemu?: string
}): Hypervisor {
  let facts: Promise<HypervisorFacts> | undefined

  /** As the kernel names it: QEMU's command line is compared with it. */
  async function root(): Promise<string> {
    await makePrivateFolder(givenFolder)
    return await realpath(givenFolder)
  }

  async function folderOf(name: string): Promise<string> {
    if (!isMachineName(name))
      throw new VmlError('usage', `Cannot use "${printableText(name)}" as the name of a machine`)
    return join(await root(), name)
  }

  async function status(name: string): Promise<MachineStatus> {
    const folder = await folderOf(name)
    await mustExist(folder, name)
    return await statusIn(folder, name)
  }

  async function ready(name: string): Promise<{ folder: string; record: MachineRecord }> {
    const folder = await folderOf(name)
    await mustExist(folder, name)
    const record = await readRecord(folder)
    if (record?.state === 'ready') return { folder, record }
    throw new VmlError('conflict', `Cannot use "${name}": its creation or removal was cut off`, {
      hint: 'Remove it: vml open --rm',
    })
  }

  async function probe({ signal }: HypervisorOptions = {}): Promise<HypervisorFacts> {
    const version = await versionOf(qemu, signal)
    const machineType = await newestMachineType(qemu, signal)
    const cpu = await hostModel()
    const found =
      wanted === 'tcg'
        ? { accelerator: wanted, reason: 'emulation was asked for' }
        : await probeAccelerator({ qemu, version, machineType, cpu, folder: await root(), signal })
    if (wanted === 'kvm' && found.accelerator !== 'kvm')
      throw new VmlError(
        'unsupported',
        `Cannot start machines with KVM, as asked for: ${found.reason ?? ''}`,
        {
          hint: 'open.accelerator = "auto" in config.toml takes what there is',
        },
      )
    return { version, machineType, cpu: found.accelerator === 'kvm' ? cpu : emulatedModel, ...found }
  }

  async function knownFacts(options: HypervisorOptions): Promise<HypervisorFacts> {
    facts ??= probe(options)
    try {
      return await facts
    } catch (error) {
      facts = undefined
      throw error
    }
  }

  async function fill(folder: string, record: MachineRecord, { signal }: HypervisorOptions) {
    const keyFile = join(folder, key)
    const keyArguments = ['-q', '-t', 'ed25519', '-N', '', '-C', `vml-${record.name}`, '-f', keyFile]
    await runProgramWell('ssh-keygen', keyArguments, { timeoutMs: 20_000, signal })
    const publicKey = await readPublicKey(folder)
    const request = { publicKey, user: record.user, hostname: record.hostname, instance: record.id }
    const seeds =
      record.image.seed === 'nocloud'
        ? new Map([[fileNames.seed, nocloudSeed(request, new Date(clock.now()))]])
        : record.image.seed === 'systemd-credentials'
          ? systemdCredentials(request)
          : new Map<string, string>()
    for (const [name, content] of seeds)
      await writeFile(join(folder, name), content, { mode: 0o600, flag: 'wx' })
    await makeOverlay({ ...record.image, overlay: join(folder, fileNames.disk), signal })
  }

  async function launch(folder: string, record: MachineRecord, options: HypervisorOptions) {
    const { version, accelerator, cpu } = await knownFacts(options)
    await gone(folder, options.signal)
    const credentials = record.image.seed === 'systemd-credentials' ? credentialNames : []
    for (let tries = 1; ; tries++) {
      const sshPort = await freePort(tries === 1 ? record.started?.sshPort : undefined)
      const args = qemuArguments({ folder, record, accelerator, cpu, sshPort, credentials })
      const started = { qemuVersion: version, accelerator, cpu, sshPort, arguments: args }
      await writeRecord(folder, { ...record, started })
      const outcome = await launchQemu({ qemu, args, folder, clock, signal: options.signal })
      if (outcome === 'answers') return
      // Another VML started it at the same moment; QEMU's lock on the pid file let one of them through.
      if ((await findRunning(folder, record.id)) !== undefined) return
      // Somebody else took the port between our look and QEMU's.
      const taken = outcome.stderr.includes('Could not set up host forwarding rule')
      if (!taken || tries >= portTriesMax) throw programFailure(qemu, outcome)
    }
  }

  /** True when it ended in time. */
  async function ended(folder: string, id: string, timeoutMs: number, signal: AbortSignal | undefined) {
    const until = clock.now() + timeoutMs
    while ((await findRunning(folder, id)) !== undefined) {
      if (clock.now() >= until) return false
      await clock.sleep(pollMs, { signal })
    }
    await gone(folder, signal)
    return true
  }

  /** Waits, but not for long, until a QEMU that is ending has let go of its port and its disks. */
  async function gone(folder: string, signal: AbortSignal | undefined) {
    for (let waited = 0; waited < leaveTimeoutMs && (await isLeaving(folder)); waited += leavePollMs)
      await clock.sleep(leavePollMs, { signal })
  }

  /** Through QMP, so that QEMU closes its disks well; by signal only when it does not answer. */
  async function quit(folder: string, id: string, signal: AbortSignal | undefined) {
    try {
      await using client = await connectQmp(join(folder, fileNames.socket), {
        timeoutMs: quitTimeoutMs,
        signal,
      })
      await client.execute('quit', undefined, { timeoutMs: quitTimeoutMs, signal })
    } catch (error) {
      if (!isFailure(error, 'unavailable.network', 'unavailable.timeout', 'remote.protocol')) throw error
    }
    if (await ended(folder, id, quitTimeoutMs, signal)) return
    const running = await findRunning(folder, id)
    if (running !== undefined) process.kill(running.pid, 'SIGKILL')
    await ended(folder, id, quitTimeoutMs, signal)
  }

  async function pressPower(folder: string, id: string, timeoutMs: number, signal: AbortSignal | undefined) {
    const until = clock.now() + timeoutMs
    // A guest that is still starting does not hear the first press.
    for (;;) {
      try {
        await using client = await connectQmp(join(folder, fileNames.socket), { signal })
        await client.execute('system_powerdown', undefined, { signal })
      } catch (error) {
        if (!isFailure(error, 'unavailable.network', 'unavailable.timeout', 'remote.protocol')) throw error
      }
      const left = until - clock.now()
      if (await ended(folder, id, Math.min(pressEveryMs, Math.max(left, 0)), signal)) return
      if (clock.now() >= until) return
    }
  }

  return {
    id: 'qemu',
    capabilities: {
      seeds: ['nocloud', 'systemd-credentials', 'baked'],
      networks: ['user', 'restricted'],
      directKernel: true,
      architectures: ['x86_64'],
    },
    probe: knownFacts,
    status,

    async list() {
      const folder = await root()
      const entries = await readdir(folder, { withFileTypes: true })
      const names = entries
        .filter((entry) => entry.isDirectory() && isMachineName(entry.name))
        .map(({ name }) => name)
      return await Promise.all(names.toSorted().map(async (name) => await statusIn(join(folder, name), name)))
    },

    async create(spec, options = {}) {
      checkSpec(spec)
      const { machineType } = await knownFacts(options)
      const folder = await folderOf(spec.name)
      await makeOwnFolder(folder, spec.name)
      const record = recordOf(spec, machineType)
      try {
        await writeRecord(folder, record)
        await fill(folder, record, options)
        await writeRecord(folder, { ...record, state: 'ready' })
      } catch (error) {
        await clearFolder(folder)
        throw error
      }
      return await statusIn(folder, spec.name)
    },

    async start(name, options = {}) {
      const { folder, record } = await ready(name)
      if ((await findRunning(folder, record.id)) === undefined) await launch(folder, record, options)
      return await statusIn(folder, name)
    },

    async stop(name, { mode, timeoutMs = stopTimeoutMs, signal }) {
      const { folder, record } = await ready(name)
      if ((await findRunning(folder, record.id)) !== undefined) {
        if (mode === 'acpi') await pressPower(folder, record.id, timeoutMs, signal)
        if ((await findRunning(folder, record.id)) !== undefined) await quit(folder, record.id, signal)
      }
      return await statusIn(folder, name)
    },

    async remove(name) {
      const folder = await folderOf(name)
      const found = await status(name)
      if (found.state === 'running')
        throw new VmlError('conflict', `Cannot remove "${name}": it is running`, {
          hint: `Stop it first: vml open --stop --name ${name}`,
        })
      const record = await readRecord(folder).catch(() => undefined)
      if (record !== undefined) await writeRecord(folder, { ...record, state: 'removing' })
      return { leftInPlace: await clearFolder(folder) }
    },

    async access(name) {
      const { folder, record } = await ready(name)
      return await accessTo(folder, record)
    },

    async waitForSsh(name, { timeoutMs = bootTimeoutMs, signal } = {}) {
      const { folder, record } = await ready(name)
      const access = await accessTo(folder, record)
      const { host, port } = access
      const check = async () => {
        if ((await findRunning(folder, record.id)) !== undefined) return
        throw await notUp(folder, `Cannot reach "${name}": it is not running any more`, undefined)
      }
      try {
        await waitForSsh({ host, port, timeoutMs, clock, signal, check })
      } catch (error) {
        if (!isFailure(error, 'unavailable.timeout')) throw error
        throw await notUp(folder, `${error.message}: "${name}" does not come up`, error)
      }
      return access
    },
  }
}

function recordOf({ image, paths, ...spec }: MachineSpec, machineType: string): MachineRecord {
  return {
    schema: 1,
    id: randomUUID(),
    name: spec.name,
    state: 'creating',
    image: {
      name: image.name,
      version: image.version,
      sha256: image.items.disk.sha256,
      format: image.format,
      seed: image.seed,
      ...paths,
      ...(image.kernelArguments === undefined ? {} : { kernelArguments: image.kernelArguments }),
    },
    memoryMiB: spec.memoryMiB,
    user: spec.user,
    hostname: spec.hostname,
    network: spec.network,
    machineType,
  }
}

function checkSpec({ image, user, hostname }: MachineSpec) {
  if (image.arch !== 'x86_64')
    throw new VmlError(
      'unsupported',
      `Cannot start "${image.name}@${image.version}": it is for ${image.arch}`,
      {
        hint: 'This driver runs x86_64 guests',
      },
    )
  // Both reach files that programs of the guest interpret.
  if (!/^[a-z_][a-z0-9_-]{0,31}$/.test(user))
    throw new VmlError('usage', `Cannot use "${printableText(user)}" as a user of the machine`)
  if (!/^[A-Za-z0-9][A-Za-z0-9-]{0,62}$/.test(hostname))
    throw new VmlError('usage', `Cannot use "${printableText(hostname)}" as the name of a host`)
}

async function notUp(folder: string, message: string, cause: unknown): Promise<VmlError> {
  const path = join(folder, fileNames.console)
  const console = await tailOf(path)
  return new VmlError('unavailable.timeout', message, {
    cause,
    details: { console },
    hint: `What the machine said last is in ${path}`,
  })
}

async function tailOf(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r')
    const { size } = await file.stat()
    const length = Math.min(size, consoleTailBytes)
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length)
    return printableText(buffer.toString('latin1'))
  } catch {
    return ''
  }
}

/** `wanted` if nobody listens there, else any port that is free now. QEMU's own bind decides. */
async function freePort(wanted: number | undefined): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const server = createServer()
  server.on('error', reject)
  server.listen(wanted ?? 0, '127.0.0.1', () => {
    const address = server.address()
    server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
  })
  try {
    return await promise
  } catch (error) {
    if (wanted === undefined) throw error
    return await freePort(undefined)
  }
}
