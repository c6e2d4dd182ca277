// What the QEMU of this host offers: its version, its newest machine, the processor model for guests.
import { readFile } from 'node:fs/promises'
import { VmlError } from '../base/failure.ts'
import { runProgramWell } from './program.ts'

export async function versionOf(qemu: string, signal: AbortSignal | undefined): Promise<string> {
  const { stdout } = await runProgramWell(qemu, ['--version'], { timeoutMs: 20_000, signal })
  const version = /version (\d+\.\d+(?:\.\d+)?)/.exec(stdout)?.[1]
  if (version === undefined)
    throw new VmlError('unsupported', `Cannot use ${qemu}: it does not tell its version`)
  return version
}

export async function newestMachineType(qemu: string, signal: AbortSignal | undefined): Promise<string> {
  const { stdout } = await runProgramWell(qemu, ['-machine', 'help'], { timeoutMs: 20_000, signal })
  const types = [...stdout.matchAll(/^(pc-q35-\d+(?:\.\d+)*)\s/gm)].map((match) => match[1] ?? '')
  const newest = types.toSorted((left, right) => left.localeCompare(right, 'en', { numeric: true })).at(-1)
  if (newest === undefined) throw new VmlError('unsupported', `Cannot use ${qemu}: it has no q35 machine`)
  return newest
}

/** A named model, so that a state of the machine can move to another host: x86-64-v2, which every emulator can do. */
export const emulatedModel = 'Nehalem'

/** The richest named model that the processor here can surely run: AVX2 counts for what analyses do. */
export async function hostModel(): Promise<string> {
  const facts = await readFile('/proc/cpuinfo', 'utf8').catch(() => '')
  if (!/^flags\b.*\bavx2\b/m.test(facts)) return emulatedModel
  return facts.includes('AuthenticAMD') ? 'EPYC' : 'Haswell-noTSX'
}
