// The QEMU process of a test's guest: a command line that never varies, so that saved memory fits, and a sure end.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { connectQmp, type QmpClient } from '../src/wire/qmp.ts'
import type { Image } from '../tools/images/images.ts'

export interface GuestMachine extends AsyncDisposable {
  readonly process: ChildProcess
  readonly qmp: QmpClient
  readonly qmpSocket: string
  readonly serialFile: string
}

export interface MachineSpec {
  readonly image: Image
  readonly memoryMiB: number
  /** Private to this guest; its disk.qcow2 is the disk. The socket lies there too, so the path must be short. */
  readonly folder: string
  readonly ramFile: string
  /** Whether what the guest writes to its memory reaches the file. */
  readonly ramShared: boolean
  /** Public key for root, handed over as the firmware's credential. */
  readonly rootKeyFile: string
  readonly incoming: boolean
}

// A test must not depend on the host: emulation everywhere, a versioned machine and a CPU by name (`max` differs by QEMU).
const machineType = 'pc-q35-7.2'
const cpuModel = 'Nehalem'

/** What saved memory depends on, besides the image. */
export const machineShape = `${machineType} ${cpuModel} 1`

/** Starts QEMU, stopped where it waits for saved memory. It dies with this process, however that ends. */
export async function startMachine(spec: MachineSpec): Promise<GuestMachine> {
  const qmpSocket = join(spec.folder, 'qmp')
  const serialFile = join(spec.folder, 'serial')
  const child = spawn(
    // The kernel kills QEMU when this process is gone: also after a SIGKILL, when no line of ours runs.
    'setpriv',
    ['--pdeathsig', 'SIGKILL', 'qemu-system-x86_64', ...machineArguments(spec, qmpSocket, serialFile)],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let complaint = ''
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  const gone = Promise.withResolvers<undefined>()
  child.on('error', (error) => (complaint += error.message)).on('close', () => gone.resolve(undefined))
  const qmp = await untilReady(qmpSocket, () => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) {
      throw new Error(`QEMU did not start: ${complaint}`)
    }
  })
  return {
    process: child,
    qmp,
    qmpSocket,
    serialFile,
    [Symbol.asyncDispose]: async () => {
      qmp.close()
      child.kill('SIGKILL')
      await gone.promise
    },
  }
}

/** The port on 127.0.0.1 that leads to the guest's ssh server; QEMU has chosen a free one. */
export async function forwardedPort(qmp: QmpClient): Promise<number> {
  const table = await qmp.execute('human-monitor-command', { 'command-line': 'info usernet' })
  const port = /TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)/.exec(String(table))?.[1]
  if (port === undefined) throw new Error(`QEMU forwards no port: ${String(table)}`)
  return Number(port)
}

function machineArguments(spec: MachineSpec, qmpSocket: string, serialFile: string): string[] {
  const { image, memoryMiB, folder, ramFile } = spec
  const boot = image.boot
  return [
    ...['-machine', `${machineType},accel=tcg,memory-backend=ram`, '-cpu', cpuModel, '-m', `${memoryMiB}M`],
    '-object',
    `memory-backend-file,id=ram,size=${memoryMiB}M,mem-path=${ramFile},share=${spec.ramShared ? 'on' : 'off'}`,
    ...['-nodefaults', '-display', 'none', '-serial', `file:${serialFile}`],
    ...(boot === undefined
      ? []
      : [
          ...[
            '-kernel',
            join(image.folder, boot.kernel.path),
            '-initrd',
            join(image.folder, boot.initrd.path),
          ],
          ...['-append', boot.arguments],
        ]),
    ...['-blockdev', `driver=file,node-name=file0,filename=${join(folder, 'disk.qcow2')}`],
    ...['-blockdev', 'driver=qcow2,node-name=disk0,file=file0', '-device', 'virtio-blk-pci,drive=disk0'],
    ...[
      '-netdev',
      'user,id=net0,hostfwd=tcp:127.0.0.1:0-:22',
      '-device',
      'virtio-net-pci,netdev=net0,romfile=',
    ],
    ...['-device', 'virtio-rng-pci'],
    ...['-fw_cfg', `name=opt/io.systemd.credentials/ssh.authorized_keys.root,file=${spec.rootKeyFile}`],
    ...['-qmp', `unix:${qmpSocket},server=on,wait=off`],
    ...(spec.incoming ? ['-S', '-incoming', 'defer'] : []),
  ]
}

async function untilReady(socket: string, check: () => void): Promise<QmpClient> {
  for (let tries = 0; ; tries++) {
    check()
    try {
      return await connectQmp(socket)
    } catch (error) {
      // Ten seconds: a busy host, not a broken one.
      if (tries === 1000) throw error
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
}

/** Runs a host program to its end; its message is in the failure. */
export async function runProgram(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args)
  return stdout
}

/** A disk of its own over `backing`, which stays as it is. */
export async function makeOverlay(path: string, backing: string): Promise<void> {
  await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', backing, '-F', 'qcow2', path])
}

/** Files for ssh to reach a guest as root or as a user without asking anything. Returns the configuration's path. */
export async function writeSshFiles(spec: {
  folder: string
  port: number
  keyFile: string
  hostKey: string
}): Promise<{ sshConfigFile: string; knownHostsFile: string }> {
  const { folder, port, keyFile, hostKey } = spec
  await mkdir(folder, { recursive: true })
  const knownHostsFile = join(folder, 'known_hosts')
  const sshConfigFile = join(folder, 'ssh_config')
  await writeFile(knownHostsFile, `[127.0.0.1]:${port} ${hostKey}\n`)
  await writeFile(
    sshConfigFile,
    [
      'Host 127.0.0.1',
      `  Port ${port}`,
      `  IdentityFile ${keyFile}`,
      '  IdentitiesOnly yes',
      `  UserKnownHostsFile ${knownHostsFile}`,
      '  GlobalKnownHostsFile /dev/null',
      '  StrictHostKeyChecking yes',
      '  BatchMode yes',
      '  ConnectTimeout 30',
      '',
    ].join('\n'),
  )
  return { sshConfigFile, knownHostsFile }
}
