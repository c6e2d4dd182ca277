// What a machine says of itself: its user, system, environment, shell history, and what its own hooks add.
import type { RawText } from '../base/raw-text.ts'
import { parseImageReference, type ImageReference } from '../model/machine.ts'
import type { Shell } from '../wire/shell.ts'
import { readCvmfs, type CvmfsRepository } from './facts-cvmfs.ts'
import { readEnvironment, type Environment } from './facts-environment.ts'
import { readHistory, type HistoryFile } from './facts-history.ts'
import { runHooks, type HookResult } from './facts-hooks.ts'
import { askSystem, parseOsRelease, parseUser, word, type MachineUser } from './facts-system.ts'
import { parseMountInfo } from './mount-table.ts'

export type { MachineUser } from './facts-system.ts'

/** Everything here was said by the machine: bounded and checked for its form, not for its truth. */
export interface MachineFacts {
  readonly user: MachineUser
  /** `/etc/os-release`, by key (`ID`, `PRETTY_NAME`, …). */
  readonly os?: Readonly<Record<string, string>>
  /** The first line of `/etc/cernvm-release`. */
  readonly cernvmRelease?: string
  /** `uname -s`, `-r` and `-m`. */
  readonly system?: string
  readonly kernel?: string
  readonly architecture?: string
  readonly hostname?: string
  readonly environment: Environment
  readonly history: readonly HistoryFile[]
  readonly hooks: readonly HookResult[]
  readonly cvmfs: readonly CvmfsRepository[]
  /** A guess: from `/etc/cernvm-release`, else `ID@VERSION_ID` of os-release. */
  readonly image?: ImageReference
}

export interface FactsOptions {
  /** Run the executables of `~/.config/vml/facts.d` on the machine (default true). */
  readonly hooks?: boolean
  readonly signal?: AbortSignal | undefined
}

/** Fails with `remote.protocol` when the machine does not even say who its user is; all else may be absent. */
export async function readFacts(shell: Shell, options: FactsOptions = {}): Promise<MachineFacts> {
  const { signal } = options
  const said = await askSystem(shell, signal)
  const user = parseUser(shell, said)
  const os = parseOsRelease(said.get('os') ?? '')
  const cernvmRelease = word(said.get('cernvm')?.split('\n')[0])
  const environment = await readEnvironment(shell, { user, signal })
  const image = guessImage(os, cernvmRelease)
  return {
    user,
    ...(Object.keys(os).length === 0 ? {} : { os }),
    ...optional('cernvmRelease', cernvmRelease),
    ...optional('system', word(said.get('system'))),
    ...optional('kernel', word(said.get('kernel'))),
    ...optional('architecture', word(said.get('architecture'))),
    ...optional('hostname', word(said.get('hostname'))),
    environment,
    history: await readHistory(shell, { user, environment, signal }),
    hooks: options.hooks === false ? [] : await runHooks(shell, { user, signal }),
    cvmfs: await readCvmfs(shell, parseMountInfo((said.get('mounts') ?? '') as RawText), signal),
    ...(image === undefined ? {} : { image }),
  }
}

function guessImage(
  os: Readonly<Record<string, string>>,
  cernvm: string | undefined,
): ImageReference | undefined {
  const version = /\d+(?:\.\d+)*(?:-\d+)?/.exec(cernvm ?? '')?.[0]
  if (version !== undefined) return parseImageReference(`cernvm@${version}`)
  return os['ID'] === undefined || os['VERSION_ID'] === undefined
    ? undefined
    : parseImageReference(`${os['ID']}@${os['VERSION_ID']}`)
}

function optional<Key extends string>(key: Key, value: string | undefined): { readonly [K in Key]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [K in Key]?: string })
}
