// Packages that are to stay at their version: held by the distribution's own tool, which apt and dnf then heed by themselves.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import type { PackageTransition } from '../model/transaction-record.ts'
import type { Shell } from '../wire/shell.ts'
import { lines } from './package-records.ts'
import { isLocked } from './version-lock.ts'

export interface PackagePins {
  /** As the tool names them: `libc6`, `libc6:i386`, or an entry of dnf's: `tool-0:1-1.*`. */
  list(): Promise<readonly string[]>
  /** Whether one of that list stands against the change. */
  holds(pins: readonly string[], change: PackageTransition): boolean
  /** Fails with `remote.command` where the tool refuses, as for a package that it does not know. */
  pin(names: readonly string[]): Promise<void>
  unpin(names: readonly string[]): Promise<void>
}

/** dnf may look into its archives first. */
const idleTimeoutMs = 600_000
/** A line for each of some ten thousand packages. */
const outputBytesMax = 16 * 1024 * 1024

/** env(1). */
const notFoundStatus = 127
const noPlugin = 'No such command'

export function openPackagePins(shell: Shell, manager: 'dpkg' | 'rpm'): PackagePins {
  const run = async (command: readonly string[], names: readonly string[] = []): Promise<string> => {
    const argv = ['env', 'LC_ALL=C', ...command, ...names]
    const { status, stdout, stderr } = await shell.run({ argv, idleTimeoutMs, outputBytesMax })
    if (status === 0) return stdout.toString('latin1')
    const said = printable(rawFromBytes(stderr.subarray(-2048))).trim()
    // Without dnf, or without its plugin for that, nothing is pinned.
    if (command === all.list && manager === 'rpm' && (status === notFoundStatus || said.includes(noPlugin)))
      return ''
    // apt-mark says so of each name, and may have done the others.
    const isAlone = names.length === 1
    const unknown = [...said.matchAll(/Unable to locate package (\S+?)(?:\\n|\s|$)/g)].map(([, name]) => name)
    if (unknown.length > 0)
      throw new VmlError('not-found', `Cannot find the package ${unknown.join(', ')}`, {
        hint: `A name is as dpkg --list shows it. ${isAlone ? 'Nothing was changed' : 'The others that were named may be done: vml tx pin shows what is pinned now'}`,
      })
    throw new VmlError('remote.command', `${argv.slice(2, 5).join(' ')} ended with ${status}: ${said}`, {
      details: { status, stderr: said },
    })
  }
  // apt-mark(8); dnf-versionlock(8), of dnf-plugins-core.
  const all =
    manager === 'dpkg'
      ? { list: ['apt-mark', 'showhold'], pin: ['apt-mark', 'hold'], unpin: ['apt-mark', 'unhold'] }
      : {
          list: ['dnf', '-q', 'versionlock', 'list'],
          pin: ['dnf', '-q', 'versionlock', 'add'],
          unpin: ['dnf', '-q', 'versionlock', 'delete'],
        }
  return {
    list: async () =>
      [...lines(await run(all.list))].map((line) => line.trim()).filter((line) => line !== ''),
    holds: (pins, change) =>
      pins.some((pin) =>
        // The tool may name one with its architecture.
        manager === 'rpm'
          ? isLocked(pin, change)
          : [change.name, `${change.name}:${change.architecture}`].includes(pin),
      ),
    pin: async (names) => void (await run(all.pin, names)),
    unpin: async (names) => void (await run(all.unpin, names)),
  }
}
