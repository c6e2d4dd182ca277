// The table of hypervisor drivers; opened by app/ alone.
import type { Clock } from '../base/clock.ts'
import type { Hypervisor } from './hypervisor.ts'
import { openQemu } from './qemu.ts'

export interface DriverOptions {
  readonly folder: string
  readonly clock?: Clock
  readonly accelerator?: 'auto' | 'kvm' | 'tcg'
}

export const hypervisors: ReadonlyMap<string, (options: DriverOptions) => Hypervisor> = new Map([
  ['qemu', openQemu],
])
