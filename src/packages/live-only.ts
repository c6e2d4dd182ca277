// Packages whose scripts need the running system itself: what they do cannot be held back in a stage.
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import { lines } from './package-records.ts'

export interface LiveRule {
  /** A name, in which `*` stands for any characters. */
  readonly pattern: string
  /** Completes "… is installed on the system itself: …". */
  readonly reason: string
  /** Named in the machine's own list as one that a stage serves, whatever stands here. */
  readonly staged?: boolean
}

/** Where a machine's owner adds to this table: `NAME reason…` or, for one that is to be staged all the same, `!NAME`. */
export const livePackagesFile = '/etc/vml/live-packages'

const bootLoader = 'it writes the boot loader past the file systems'
const firmwarePartition = 'it writes to the FAT partition that the firmware reads, of which there is no stage'
const kernelPolicy = 'it loads what it brings into the running kernel'

/**
 * Kernels, dkms, libc and systemd are not here: their scripts write files, or ask systemd, which does nothing in a stage and is asked
 * again after the commit. A package whose script fails in the stage is redone on the system itself without being here.
 */
export const liveRules: readonly LiveRule[] = [
  { pattern: 'grub-pc', reason: bootLoader },
  { pattern: 'grub-cloud-*', reason: bootLoader },
  { pattern: 'grub-ieee1275', reason: bootLoader },
  { pattern: 'grub-xen', reason: bootLoader },
  { pattern: 'grub-efi-*', reason: firmwarePartition },
  { pattern: 'shim-signed*', reason: firmwarePartition },
  { pattern: 'systemd-boot*', reason: firmwarePartition },
  { pattern: 'refind', reason: firmwarePartition },
  { pattern: 'raspi-firmware', reason: firmwarePartition },
  { pattern: 'lilo', reason: bootLoader },
  { pattern: 'extlinux', reason: bootLoader },
  { pattern: 'flash-kernel', reason: 'it writes the kernel to flash memory' },
  { pattern: 's390-tools', reason: bootLoader },
  { pattern: 'snapd', reason: 'it mounts, and takes away, the file systems of its snaps' },
  { pattern: 'lxd', reason: 'it changes containers and mounts that are in use' },
  { pattern: 'docker.io', reason: 'it changes containers and mounts that are in use' },
  { pattern: 'docker-ce', reason: 'it changes containers and mounts that are in use' },
  { pattern: 'selinux-policy-*', reason: kernelPolicy },
  { pattern: 'binfmt-support', reason: kernelPolicy },
  { pattern: 'qemu-user-static', reason: kernelPolicy },
  { pattern: 'qemu-user-binfmt', reason: kernelPolicy },
  { pattern: 'usrmerge', reason: 'it refuses to move folders of a system that an overlay shows' },
]

/** A list that somebody writes by hand. */
const textBytesMax = 256 * 1024
const linePattern = /^(!?)([a-z0-9*][a-z0-9.+*-]{0,127})(?:[ \t]+(\S.*))?$/
const ownReason = `it stands in ${livePackagesFile}`

/** The machine's own rules come first. `usage` for a line that is none. */
export function parseLiveRules(text: string): readonly LiveRule[] {
  if (text.length > textBytesMax) throw malformed(`it is larger than ${textBytesMax} bytes`)
  return [...lines(text)].flatMap((line, index) => {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#')) return []
    const [, not, pattern, reason] = linePattern.exec(trimmed) ?? []
    if (pattern === undefined)
      throw malformed(`line ${index + 1} is "${printableText(trimmed.slice(0, 64))}"`)
    return [{ pattern, reason: reason ?? ownReason, ...(not === '!' ? { staged: true } : {}) }]
  })
}

/** The rule that has this package done on the system itself; the first one that names it counts. The name comes without architecture. */
export function liveRuleOf(name: string, rules: readonly LiveRule[]): LiveRule | undefined {
  const rule = rules.find(({ pattern }) => matches(pattern, name))
  return rule?.staged === true ? undefined : rule
}

function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[.+]/g, String.raw`\$&`))
  return new RegExp(`^${parts.join('.*')}$`).test(name)
}

/** For `grep -E`, a line for each rule: lines of apt's plan that may have a package of it. `liveRuleOf` decides. */
export function livePatterns(rules: readonly LiveRule[]): string {
  return rules
    .filter(({ staged }) => staged !== true)
    .map(({ pattern }) => `^${pattern.replaceAll(/[.+]/g, '[$&]').replaceAll('*', '[^ ]*')} \n`)
    .join('')
}

function malformed(what: string): VmlError {
  return new VmlError('usage', `Cannot read "${livePackagesFile}": ${what}`, {
    hint: 'A line is a name, which may hold *, and a reason; "!" before the name has it staged',
  })
}
