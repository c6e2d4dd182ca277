// A Debian with systemd that is started again and again from one disk, also after its power went: QEMU is killed, and with it all that was not flushed.
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, realpathSync, statSync, utimesSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectQmp } from '../src/wire/qmp.ts'
import { buildImage } from '../tools/images/images.ts'
import { forwardedPort, makeOverlay, runProgram, writeSshFiles } from './guest-machine.ts'
import { type CommandOptions, runOverSsh } from './guests.ts'
import { removeLeftoverFolders } from './leftover-folders.ts'
import { type Cut, type RebootedMachine, until } from './rebooted-machine.ts'

const folderPrefix = 'vml-reboots-'
const project = dirname(import.meta.dirname)
const cuts: readonly Cut[] = [
  // The kernel's own way to start anew without a word to any program, and without a sync (sysrq.rst, "b").
  { how: 'the machine is reset', by: 'echo b >/proc/sysrq-trigger' },
  // Read by this process on the serial line, which then kills QEMU.
  { how: 'the power goes', by: 'echo power-goes-now >/dev/ttyS0; sleep 60' },
]

export async function startRebootedGuest(): Promise<RebootedMachine> {
  removeLeftoverFolders(folderPrefix)
  const image = await buildImage('debian@12')
  await using resources = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), `${folderPrefix}${process.pid}-`))
  resources.defer(async () => await rm(folder, { recursive: true, force: true }))
  const keyFile = join(folder, 'id')
  await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', keyFile])
  await makeOverlay(join(folder, 'disk.qcow2'), join(image.folder, image.disk.path))
  await makeProgramDisk(folder)
  let machine = await start(folder)
  resources.defer(async () => await machine.kill())
  const run = async (command: string, options: CommandOptions = {}) =>
    // Ends when the machine has started anew in between, and does not know the connection.
    await runOverSsh(
      [
        '-F',
        machine.sshConfigFile,
        '-o',
        'ServerAliveInterval=10',
        '-o',
        'ServerAliveCountMax=60',
        'root@127.0.0.1',
        command,
      ],
      options,
    )
  const owned = resources.move()
  await run(`until systemctl is-system-running --wait >/dev/null; do sleep 1; done; ${installProgram}`)
  return {
    cuts,
    root: run,
    vml: async (words, options) => await run(`vml ${words}`, options),
    async crash(script) {
      const [bootBefore, seen] = [await bootOf(run), machine.serial().length]
      const ended = run(script, { mayFail: true })
      await Promise.race([ended, machine.untilSaid('power-goes-now', seen)])
      if (machine.serial().includes('power-goes-now', seen)) {
        await machine.kill()
        machine = await start(folder)
      }
      await ended
      await until(async () => (await bootOf(run)) !== bootBefore)
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

async function bootOf(run: RebootedMachine['root']): Promise<string> {
  return (await run('cat /proc/sys/kernel/random/boot_id')).stdout
}

/** What is installed of VML, on a disk of its own that is only read; and a library that Node needs, which the image has not. */
async function makeProgramDisk(folder: string): Promise<void> {
  const tree = join(folder, 'program')
  mkdirSync(tree)
  for (const name of ['src', 'package.json', 'package-lock.json', 'vml', 'node_modules'])
    cpSync(join(project, name), join(tree, name), { recursive: true, preserveTimestamps: true })
  // As an installation leaves it: else the launcher would install, for which nothing is there.
  const { atime, mtime } = statSync(join(tree, 'package-lock.json'))
  utimesSync(join(tree, 'node_modules/.vml-lock'), atime, mtime)
  cpSync(realpathSync(atomicLibrary), join(tree, 'libatomic.so.1'))
  await runProgram('mke2fs', ['-q', '-t', 'ext4', '-L', 'vml', '-d', tree, join(folder, 'program.img'), '1G'])
  await rm(tree, { recursive: true })
}

const atomicLibrary = '/usr/lib/x86_64-linux-gnu/libatomic.so.1'

const installProgram = `set -e
mkdir -p /opt/vml
echo 'LABEL=vml /opt/vml ext4 ro,x-systemd.device-timeout=infinity 0 0' >>/etc/fstab
mount /opt/vml
cp /opt/vml/libatomic.so.1 /usr/local/lib/
ldconfig
printf '#!/bin/sh\\nexec /opt/vml/${relative(project, process.execPath)} /opt/vml/src/cli/vml.js "$@"\\n' >/usr/bin/vml
chmod 755 /usr/bin/vml
sync`

interface Machine {
  readonly sshConfigFile: string
  serial(): string
  untilSaid(word: string, from: number): Promise<void>
  kill(): Promise<void>
}

async function start(folder: string): Promise<Machine> {
  const [socket, serialFile] = [join(folder, 'qmp'), join(folder, 'serial')]
  await Promise.all([socket, serialFile].map(async (file) => await rm(file, { force: true })))
  // The kernel kills QEMU when this process is gone.
  const child: ChildProcess = spawn(
    'setpriv',
    ['--pdeathsig', 'SIGKILL', 'qemu-system-x86_64', ...machineArguments(folder, socket, serialFile)],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let complaint = ''
  child.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  const gone = Promise.withResolvers<undefined>()
  child.on('error', (error) => (complaint += error.message)).on('close', () => gone.resolve(undefined))
  const ended = () => child.exitCode !== null || child.signalCode !== null
  const must = () => {
    if (ended()) throw new Error(`QEMU ended: ${complaint}`)
  }
  const serial = () => {
    try {
      return readFileSync(serialFile, 'latin1')
    } catch {
      return ''
    }
  }
  const kill = async () => {
    child.kill('SIGKILL')
    await gone.promise
  }
  try {
    let port = 0
    await until(async () => {
      const qmp = await connectQmp(socket)
      port = await forwardedPort(qmp)
      qmp.close()
      return true
    }, must)
    let hostKey: string | undefined
    await until(async () => {
      const scanned = await runProgram('ssh-keyscan', [
        '-T',
        '20',
        '-t',
        'ed25519',
        '-p',
        String(port),
        '127.0.0.1',
      ])
      hostKey = /ssh-ed25519 \S+/.exec(scanned)?.[0]
      return hostKey !== undefined
    }, must)
    const { sshConfigFile } = await writeSshFiles({
      folder,
      port,
      keyFile: join(folder, 'id'),
      hostKey: hostKey ?? '',
    })
    return {
      sshConfigFile,
      serial,
      async untilSaid(word, from) {
        while (!serial().includes(word, from) && !ended()) await sleep(1)
      },
      kill,
    }
  } catch (error) {
    await kill()
    throw new Error(`The guest did not start: ${serial().slice(-2000)}`, { cause: error })
  }
}

function machineArguments(folder: string, socket: string, serialFile: string): string[] {
  const disk = (name: string, file: string, driver: string, more = '') => [
    ...['-blockdev', `driver=file,node-name=${name}-file,filename=${join(folder, file)}${more}`],
    ...['-blockdev', `driver=${driver},node-name=${name},file=${name}-file${more}`],
    ...['-device', `virtio-blk-pci,drive=${name}`],
  ]
  return [
    ...[
      '-machine',
      'q35',
      '-accel',
      'tcg,thread=multi,tb-size=256',
      '-cpu',
      'Nehalem',
      '-smp',
      '2',
      '-m',
      '1024M',
    ],
    ...['-nodefaults', '-display', 'none', '-serial', `file:${serialFile}`],
    // A new cluster is in the file when the guest flushes, and not before: what was not flushed goes with QEMU.
    ...disk('disk', 'disk.qcow2', 'qcow2'),
    ...disk('program', 'program.img', 'raw', ',read-only=on'),
    ...[
      '-netdev',
      'user,id=net0,hostfwd=tcp:127.0.0.1:0-:22',
      '-device',
      'virtio-net-pci,netdev=net0,romfile=',
    ],
    ...['-device', 'virtio-rng-pci'],
    ...['-fw_cfg', `name=opt/io.systemd.credentials/ssh.authorized_keys.root,file=${join(folder, 'id.pub')}`],
    ...['-qmp', `unix:${socket},server=on,wait=off`],
  ]
}
