// The command line of QEMU for one machine.
import { join } from 'node:path'
import { VmlError } from '../base/failure.ts'
import { type MachineRecord, pidName } from './qemu-record.ts'

export interface StartRequest {
  readonly folder: string
  readonly record: MachineRecord
  readonly accelerator: 'kvm' | 'tcg'
  readonly cpu: string
  readonly sshPort: number
  /** Names of the credential files in the folder. */
  readonly credentials: readonly string[]
}

export const fileNames = {
  disk: 'disk.qcow2',
  seed: 'seed.iso',
  console: 'console.log',
  log: 'qemu.log',
  socket: 'qmp.sock',
} as const

/** Relative, so that the address stays short: QEMU is started in the machine's folder. */
export function qemuArguments(request: StartRequest): string[] {
  const { folder, record, accelerator, cpu, sshPort } = request
  const restrict = record.network === 'restricted' ? ',restrict=on,ipv6=off' : ''
  return [
    ...['-name', record.name, '-uuid', record.id, '-pidfile', join(folder, pidName)],
    // What a guest that has broken out of its devices could still do: nothing but what QEMU does anyway.
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-machine', record.machineType, '-accel', accelerator, '-cpu', cpu],
    ...['-smp', '1', '-m', String(record.memoryMiB)],
    ...['-chardev', `file,id=console,path=${optionValue(join(folder, fileNames.console))},append=on`],
    ...['-serial', 'chardev:console'],
    ...[
      '-chardev',
      `socket,id=qmp,path=${fileNames.socket},server=on,wait=off`,
      '-mon',
      'chardev=qmp,mode=control',
    ],
    ...['-device', 'virtio-rng-pci'],
    ...diskArguments(request),
    ...['-netdev', `user,id=net0,hostfwd=tcp:127.0.0.1:${sshPort}-:22${restrict}`],
    ...['-device', 'virtio-net-pci,netdev=net0'],
    ...seedArguments(request),
    ...bootArguments(request),
  ]
}

/** In QEMU's option lists a comma ends a value unless it is doubled. */
export function optionValue(value: string): string {
  if (/[\0\n]/.test(value)) throw new VmlError('usage', 'Cannot give QEMU a path with a line break')
  return value.replaceAll(',', ',,')
}

/** The whole chain is named here, so that no file's own word for its backing file is ever followed. */
function diskArguments({ folder, record: { image } }: StartRequest): string[] {
  const file = (name: string, filename: string, more: object) =>
    blockdev({ driver: 'file', 'node-name': `${name}-file`, filename, ...more })
  const readOnly = { 'read-only': true }
  return [
    ...file('base', image.disk, readOnly),
    ...blockdev({
      driver: image.format,
      'node-name': 'base',
      file: 'base-file',
      ...readOnly,
      ...(image.format === 'qcow2' ? { backing: null } : {}),
    }),
    ...file('disk0', join(folder, fileNames.disk), { discard: 'unmap' }),
    ...blockdev({
      driver: 'qcow2',
      'node-name': 'disk0',
      file: 'disk0-file',
      backing: 'base',
      discard: 'unmap',
    }),
    ...['-device', 'virtio-blk-pci,drive=disk0,bootindex=1'],
  ]
}

function seedArguments({ folder, record, credentials }: StartRequest): string[] {
  const filename = join(folder, fileNames.seed)
  const readOnly = { 'read-only': true }
  const disk = [
    ...blockdev({ driver: 'file', 'node-name': 'seed-file', filename, ...readOnly }),
    ...blockdev({ driver: 'raw', 'node-name': 'seed', file: 'seed-file', ...readOnly }),
    ...['-device', 'virtio-blk-pci,drive=seed'],
  ]
  return [
    ...(record.image.seed === 'nocloud' ? disk : []),
    ...credentials.flatMap((name) => [
      '-fw_cfg',
      `name=opt/io.systemd.credentials/${name},file=${optionValue(join(folder, name))}`,
    ]),
  ]
}

/** With a kernel beside the disk, the disk is one file system; else its bootloader starts, which may want a screen. */
function bootArguments({ record: { image }, accelerator }: StartRequest): string[] {
  if (image.kernel === undefined || image.initrd === undefined) return ['-device', 'VGA']
  // Under emulation, checks of the clock against timers fail for want of speed.
  const emulated = accelerator === 'tcg' ? ' tsc=reliable no_timer_check' : ''
  const append = `root=/dev/vda rw console=ttyS0${emulated} ${image.kernelArguments ?? ''}`.trim()
  return ['-kernel', image.kernel, '-initrd', image.initrd, '-append', append]
}

function blockdev(node: object): string[] {
  return ['-blockdev', JSON.stringify(node)]
}
