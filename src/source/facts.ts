// What a machine says of itself: its user, system, environment, shell history, and what its own hooks add.
import assert from 'node:assert/strict'
import type { RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { parseImageReference, type ImageReference } from '../model/machine.ts'
import type { Shell } from '../wire/shell.ts'
import { askCvmfs, cvmfsRepositories, type CvmfsRepository } from './facts-cvmfs.ts'
import { askLoginShell, readEnvironment, type Environment } from './facts-environment.ts'
import { askHistory, historyFile, type HistoryFile } from './facts-history.ts'
import { hookNames, hookNamesPart, hookPart, hookResult, type HookResult } from './facts-hooks.ts'
import {
  parseOsRelease,
  parseSystem,
  parseUser,
  systemPart,
  word,
  type MachineUser,
  type SystemAnswers,
} from './facts-system.ts'
import { runParts, startParts, type GuestPart, type PartOutcome } from './guest-parts.ts'
import { parseMountInfo } from '../wire/mount-table.ts'
import { takeTools, toolsPart } from './probe.ts'
import { realPathsPart, takeRealPaths } from './real-paths.ts'

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

/** What a machine told in answer to two scripts; what else was asked may still be on its way. */
export interface Interview extends AsyncDisposable {
  readonly facts: MachineFacts
  /** The home's real name: folders above it, and itself, may be links. */
  readonly realHome: RawPath
  /** The answers to `also`, in its order. */
  readonly also: readonly Promise<PartOutcome>[]
}

/** Fails with `remote.protocol` when the machine does not even say who its user is; all else may be absent. */
export async function readFacts(shell: Shell, options: FactsOptions = {}): Promise<MachineFacts> {
  await using interview = await interviewMachine(shell, options)
  return interview.facts
}

/**
 * The facts, the machine's tools (`probeTools` then knows them), and at the same time whatever else is to be asked. The second
 * script asks for what only the first one's answers tell: histories lie where the environment says, and hooks are known by name.
 */
export async function interviewMachine(
  shell: Shell,
  options: FactsOptions & { readonly also?: readonly GuestPart[] } = {},
): Promise<Interview> {
  const { signal, also = [] } = options
  await using resources = new AsyncDisposableStack()
  const beside = resources.use(startParts(shell, also, { signal }))
  const first = await firstAnswers(shell, options)
  const { user, said } = first
  const environment = await readEnvironment(shell, { user, asked: first.environment, signal })
  const histories = askHistory(user, environment)
  const cvmfs = askCvmfs(parseMountInfo((said.get('mounts') ?? '') as RawText))
  const second = [
    realPathsPart([user.home]),
    ...histories.map(({ part }) => part),
    ...first.hooks.map((name) => hookPart(user, name)),
    ...(cvmfs ? [cvmfs.part] : []),
  ]
  const outcomes = await runParts(shell, second, { signal })
  const take = outcomes.values()
  const next = (): PartOutcome => {
    const { value, done } = take.next()
    assert(done !== true)
    return value
  }
  const [realHome = user.home] = takeRealPaths(shell, [user.home], next())
  const facts = {
    user,
    ...systemFacts(said),
    environment,
    history: histories.map((question) => historyFile(question, next())).filter((file) => file !== undefined),
    hooks: first.hooks.map((name) => hookResult(name, next())),
    cvmfs: cvmfs ? cvmfsRepositories(cvmfs, next()) : [],
  }
  const owned = resources.move()
  return {
    facts,
    realHome,
    also: beside.outcomes,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function firstAnswers(
  shell: Shell,
  options: FactsOptions,
): Promise<{
  readonly user: MachineUser
  readonly said: SystemAnswers
  readonly environment: { readonly nonce: string; readonly outcome: PartOutcome }
  readonly hooks: readonly string[]
}> {
  const login = askLoginShell()
  const [tools, system, environment, hooks] = await runParts(
    shell,
    [toolsPart(), systemPart(), login.part, ...(options.hooks === false ? [] : [hookNamesPart()])],
    options,
  )
  assert(tools && system && environment)
  takeTools(shell, tools)
  const said = parseSystem(shell, system)
  return {
    user: parseUser(shell, said),
    said,
    environment: { nonce: login.nonce, outcome: environment },
    hooks: hooks ? hookNames(shell, hooks) : [],
  }
}

function systemFacts(said: SystemAnswers): Partial<MachineFacts> {
  const os = parseOsRelease(said.get('os') ?? '')
  const cernvmRelease = word(said.get('cernvm')?.split('\n')[0])
  const image = guessImage(os, cernvmRelease)
  return {
    ...(Object.keys(os).length === 0 ? {} : { os }),
    ...optional('cernvmRelease', cernvmRelease),
    ...optional('system', word(said.get('system'))),
    ...optional('kernel', word(said.get('kernel'))),
    ...optional('architecture', word(said.get('architecture'))),
    ...optional('hostname', word(said.get('hostname'))),
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
