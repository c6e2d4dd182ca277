// The table of hypervisor drivers; opened by app/ alone.
import type { Clock } from '../base/clock.ts'
import type { Hypervisor } from './hypervisor.ts'
import { openQemu } from './qemu.ts'

export const hypervisors: ReadonlyMap<string, (options: { folder: string; clock?: Clock }) => Hypervisor> =
  new Map([['qemu', openQemu]])
