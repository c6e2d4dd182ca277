// The hooks of every package system that this machine has: put in place and taken away together.
import { rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import {
  findHooks,
  hookFiles,
  hookLinks,
  installHooks,
  removeHooks,
  rightHooks,
} from '../packages/apt-hooks.ts'
import { dpkgSystem } from '../packages/dpkg-system.ts'
import {
  findRpmHooks,
  installRpmHooks,
  planRpmHooks,
  programHookOf,
  removeRpmHooks,
} from '../packages/rpm-hooks.ts'
import { writtenAmong } from '../packages/hook-file.ts'
import { rpmFolderOf } from '../packages/rpm-state.ts'
import { isFailure } from '../base/failure.ts'
import type { Shell } from '../wire/shell.ts'
import { rootOfMachine } from './transactions.ts'

export interface MachineHooks {
  /** In the order in which they are written. */
  readonly paths: readonly string[]
  /** What they do not see, as sentences. */
  readonly unseen: readonly string[]
  install(): Promise<void>
  /** `part`: some of it is missing, or not what it is to be. */
  find(): Promise<'all' | 'part' | 'none'>
  /** The paths that are already what they would be after `install`. */
  right(): Promise<readonly string[]>
  /** Files in their places that are not ours stay, and are told. */
  remove(): Promise<{ readonly left: readonly string[] }>
}

type Hooks = Omit<MachineHooks, 'unseen'>

/** Changes nothing. */
export async function planMachineHooks(
  shell: Shell,
  own: { readonly program: readonly string[]; readonly servicePolicy: string },
): Promise<MachineHooks> {
  const files = hookFiles(own)
  const ofApt: Hooks = {
    paths: [...files.map(({ path }) => path), ...(await hookLinks(rootOfMachine))],
    install: async () => await installHooks(rootOfMachine, files),
    find: async () => await findHooks(rootOfMachine, files),
    right: async () => await rightHooks(rootOfMachine, files),
    remove: async () => await removeHooks(rootOfMachine),
  }
  const hasDpkg = dpkgSystem.isThere(rootOfMachine)
  const planned = rpmFolderOf(rootOfMachine) ? await planIfThere(shell) : undefined
  // Those of apt have the program already.
  if (planned && !hasDpkg) planned.files.unshift(programHookOf(own.program))
  const ofRpm: Hooks | undefined = planned && {
    paths: planned.files.map(({ path }) => path),
    install: async () => await installRpmHooks(rootOfMachine, planned),
    find: async () => await findRpmHooks(rootOfMachine, planned),
    right: async () => await writtenAmong(rootOfMachine, planned.files),
    async remove() {
      const removed = await removeRpmHooks(rootOfMachine)
      for (const { path } of planned.files) await removeUnowned(shell, dirname(path))
      return removed
    },
  }
  const all = [...(hasDpkg || !ofRpm ? [ofApt] : []), ...(ofRpm ? [ofRpm] : [])]
  return {
    paths: all.flatMap(({ paths }) => paths),
    unseen: planned?.unseen ?? [],
    async install() {
      for (const hooks of all) await hooks.install()
    },
    async find() {
      const found = new Set<'all' | 'part' | 'none'>()
      for (const hooks of all) found.add(await hooks.find())
      const [only, ...others] = found
      return others.length > 0 ? 'part' : (only ?? 'none')
    },
    right: async () => (await Promise.all(all.map(async (hooks) => await hooks.right()))).flat(),
    async remove() {
      const left: string[] = []
      for (const hooks of all.toReversed()) left.push(...(await hooks.remove()).left)
      return { left }
    },
  }
}

/** dnf's folder of plugins is made where no package has brought it. */
async function removeUnowned(shell: Shell, folder: string): Promise<void> {
  if (!folder.endsWith('/dnf-plugins')) return
  const { status } = await shell.run({ argv: ['rpm', '-qf', '--', folder] })
  // What is not empty stays.
  if (status !== 0) await rmdir(folder).catch(() => {})
}

/** A database without its program has no hooks. */
async function planIfThere(shell: Shell) {
  try {
    const { files, unseen } = await planRpmHooks(shell)
    return { files: [...files], unseen }
  } catch (error) {
    if (!isFailure(error, 'unsupported')) throw error
    return undefined
  }
}
