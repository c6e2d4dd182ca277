// Which accelerator really runs guests: decided by booting a kernel of our own under it, and remembered until the host restarts.
//
// An open /dev/kvm proves little: on a host that is a guest itself, KVM may emulate every instruction of the address
// range in which Linux runs, and a real kernel never comes up. So the kernel below enters long mode, jumps to where Linux
// lives (the last 2 GiB), takes a page fault there, counts down from twenty million and ends QEMU through isa-debug-exit.
// Run by the processor that takes milliseconds; emulated so, half a minute.
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { access, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isFailure, messageOf, systemErrorCode } from '../base/failure.ts'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import { runProgram } from './program.ts'

export interface Accelerator {
  readonly accelerator: 'kvm' | 'tcg'
  /** Why it is not KVM. */
  readonly reason?: string
}

export interface ProbeRequest {
  readonly qemu: string
  readonly version: string
  readonly machineType: string
  /** The model that guests get under KVM. */
  readonly cpu: string
  /** Where the answer is kept. */
  readonly folder: string
  readonly signal?: AbortSignal | undefined
}

// A loaded host takes a second; what emulates takes thirty.
const probeMs = 5_000
const kvmDevice = '/dev/kvm'
// isa-debug-exit ends QEMU with 2 * value + 1.
const probeStatus = 0x10 * 2 + 1

export async function probeAccelerator(request: ProbeRequest): Promise<Accelerator> {
  const cannot = await cannotOpen(kvmDevice)
  if (cannot !== undefined) return { accelerator: 'tcg', reason: cannot }
  const path = join(request.folder, 'accelerator.json')
  // Another QEMU, another model or a restart of the host (another kernel, other modules) asks again.
  const key = `${request.version} ${request.machineType} ${request.cpu} ${await bootId()}`
  const kept = await readKept(path, key)
  if (kept !== undefined) return kept
  const found = await bootUnder('kvm', request)
  const answer: Accelerator =
    found === undefined
      ? { accelerator: 'kvm' }
      : { accelerator: 'tcg', reason: `KVM cannot be used: ${found}` }
  await writeFileDurable(path, `${JSON.stringify({ key, ...answer })}\n`)
  return answer
}

/** Boots the probe's kernel; undefined when it ran, else what went wrong. */
export async function bootUnder(
  accelerator: 'kvm' | 'tcg',
  { qemu, machineType, cpu, folder, signal }: ProbeRequest,
): Promise<string | undefined> {
  await makePrivateFolder(folder)
  const kernel = join(folder, `probe-${randomBytes(6).toString('hex')}.bin`)
  const machine = ['-machine', machineType, '-accel', accelerator, '-cpu', cpu, '-m', '32']
  const bare = ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot']
  const exit = ['-device', 'isa-debug-exit,iobase=0xf4,iosize=1']
  try {
    await writeFile(kernel, probeKernel, { mode: 0o600, flag: 'wx' })
    const args = [...machine, ...bare, ...exit, '-kernel', kernel]
    const { status, stderr } = await runProgram(qemu, args, { timeoutMs: probeMs, signal })
    if (status === probeStatus) return undefined
    return stderr.trim().split('\n').at(-1)?.slice(0, 300) ?? `QEMU ended with ${status ?? 'a signal'}`
  } catch (error) {
    if (!isFailure(error, 'unavailable.timeout')) throw error
    return `a guest did not come up in ${probeMs / 1000} seconds`
  } finally {
    await rm(kernel, { force: true })
  }
}

async function cannotOpen(path: string): Promise<string | undefined> {
  try {
    await access(path, constants.R_OK | constants.W_OK)
    return undefined
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return `${path} is not there`
    return `${path} cannot be opened (${systemErrorCode(error) ?? messageOf(error)}); add yourself to the group kvm`
  }
}

async function bootId(): Promise<string> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  } catch {
    return 'unknown'
  }
}

async function readKept(path: string, key: string): Promise<Accelerator | undefined> {
  try {
    const kept: unknown = JSON.parse(await readFile(path, 'utf8'))
    if (typeof kept !== 'object' || kept === null || !('key' in kept) || kept.key !== key) return undefined
    if (!('accelerator' in kept)) return undefined
    if (kept.accelerator === 'kvm') return { accelerator: 'kvm' }
    return 'reason' in kept && typeof kept.reason === 'string'
      ? { accelerator: 'tcg', reason: kept.reason }
      : { accelerator: 'tcg' }
  } catch {
    // Asking again costs seconds at most.
    return undefined
  }
}

// A multiboot kernel (Multiboot Specification 0.6.96, with the addresses in its header), assembled by nasm from:
//
//   bits 32
//   org 0x100000
//   HIGH equ 0xffffffff80000000
//   hdr: dd 0x1badb002, 0x00010000, -(0x1badb002+0x00010000)
//    dd hdr, hdr, 0, 0, start
//   start:
//     cli
//     mov esp,0x9000
//     mov edi,0x1000
//     mov ecx,0x1000
//     xor eax,eax
//     cld
//     rep stosd
//     mov dword [0x1000],0x2003       ; PML4[0]
//     mov dword [0x1ff8],0x4003       ; PML4[511]
//     mov dword [0x2000],0x3003       ; low 2 MiB
//     mov dword [0x4ff0],0x3003       ; PDPT[510]: the last 2 GiB, where Linux runs
//     mov dword [0x3000],0x0083
//     lgdt [gdtr]
//     mov eax,0x20
//     mov cr4,eax
//     mov eax,0x1000
//     mov cr3,eax
//     mov ecx,0xc0000080
//     rdmsr
//     or eax,0x100
//     wrmsr
//     mov eax,0x80000001
//     mov cr0,eax
//     jmp 8:lmode
//   bits 64
//   lmode:
//     mov ax,16
//     mov ds,ax
//     mov es,ax
//     mov ss,ax
//     lidt [idtr]
//     mov rax,HIGH+high
//     jmp rax
//   high:
//     mov rax,[abs 0x40000000]
//     mov al,'4'
//     mov dx,0x3f8
//     out dx,al
//     mov ecx,20000000
//   l: dec ecx
//     jnz l
//     mov al,'!'
//     out dx,al
//     mov dx,0xf4
//     mov al,0x10
//     out dx,al
//   h: hlt
//     jmp h
//   pf:
//     mov dword [0x2008],0x3003
//     add rsp,8
//     iretq
//   align 8
//   gdt: dq 0
//    dq 0x00209a0000000000
//    dq 0x0000920000000000
//   gdtr: dw 23
//    dd gdt
//   idtr: dw 0xff
//    dq idt
//   idt equ idt14-14*16
//   idt14: dw pf-hdr, 8
//    dw 0x8e00, 0x8010
//    dd 0xffffffff,0
const probeKernel = Buffer.from(
  '02b0ad1b00000100fe4f51e40000100000001000000000000000000020001000fabc00900000bf00' +
    '100000b90010000031c0fcf3abc7050010000003200000c705f81f000003400000c7050020000003' +
    '300000c705f04f000003300000c70500300000830000000f011508011000b8200000000f22e0b800' +
    '1000000f22d8b9800000c00f320d000100000f30b8010000800f22c0ea9b001000080066b810008e' +
    'd88ec08ed00f011c250e01100048b8b9001080ffffffffffe0488b042500000040b03466baf803ee' +
    'b9002d3101ffc975fcb021ee66baf400b010eef4ebfdc7042508200000033000004883c40848cf90' +
    '000000000000000000000000009a200000000000009200001700f0001000ff003800100000000000' +
    'de000800008e1080ffffffff00000000',
  'hex',
)
