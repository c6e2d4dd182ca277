// dpkg and apt as a package system: their lists are texts, merged path by path; apt itself judges what a merge gives.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { systemErrorCode } from '../base/failure.ts'
import {
  printable,
  printableText,
  rawFromBytes,
  rawFromString,
  type RawText,
  rawToBytes,
} from '../base/raw-text.ts'
import type { InstalledPackage } from '../model/packages.ts'
import { isWithin, joinPath, parseRawPath, type RawName, type RawPath } from '../model/raw-path.ts'
import { pathsOf, underRoot } from './dpkg-database.ts'
import { describeBroken } from './broken-dependency.ts'
import { type DpkgFiles, readDpkgFiles } from './dpkg-files.ts'
import { takeDpkgLocks } from './dpkg-locks.ts'
import { checkStatus, type Consistency, unfinishedPackages } from './dpkg-oracle.ts'
import {
  auditDpkg,
  newlyBroken,
  plannedAmong,
  problemsOf,
  proveDpkg,
  unexpected,
  type VerifiedPath,
  verifyDpkg,
} from './dpkg-proof.ts'
import { type DpkgState, packageRecords } from './dpkg-records.ts'
import {
  type DifferingFile,
  type PackageHost,
  type PackageProof,
  type PackageState,
  type PackageSystem,
  type PlannedPackages,
  type UndoOfPackages,
  verifiedOf,
} from './package-system.ts'
import { transitionOf } from './package-transitions.ts'
import type { PackageTransition, Validation } from '../model/transaction-record.ts'

export interface DpkgPackages extends PackageState {
  readonly manager: 'dpkg'
  readonly state: DpkgState
  readonly files: DpkgFiles
}

const pathOf = (path: string): RawPath => path as RawPath

export const statusPath = pathOf('/var/lib/dpkg/status')
export const extendedStatesPath = pathOf('/var/lib/apt/extended_states')
const database = pathOf('/var/lib/dpkg')

export const dpkgSystem: PackageSystem<DpkgPackages> = {
  manager: 'dpkg',
  databases: [database, extendedStatesPath],
  read: async ({ root }, was) => readDpkgPackages(root, was),
  isThere: (root) => existsSync(rawToBytes(underRoot(root, database))),
  async keep(_host, now, folder) {
    const { state } = now
    const { status, states } = keptIn(folder)
    mkdirSync(rawToBytes(folder), { recursive: true, mode: 0o700 })
    writeFileSync(rawToBytes(status), Buffer.from(state.status, 'latin1'), { mode: 0o600 })
    writeFileSync(rawToBytes(states), Buffer.from(state.extendedStates, 'latin1'), { mode: 0o600 })
    return now
  },
  async readKept({ root }, folder) {
    const now = readDpkgPackages(root)
    const { status, states } = keptIn(folder)
    const text = readIfThere(status)
    if (now === undefined || text === undefined) return now
    // Whose a path was is asked of the packages as they are: those lists are changed already.
    const state = {
      status: rawFromBytes(text),
      extendedStates: rawFromBytes(readIfThere(states) ?? Buffer.alloc(0)),
    }
    return { ...now, state }
  },
  transitions: (before, after) => dpkgTransitions(before.state, after.state),
  async preview({ root }, placeOf) {
    const textOf = (place: RawText | undefined) =>
      rawFromBytes((place === undefined ? undefined : readIfThere(place)) ?? Buffer.alloc(0))
    const stateAt = (at: (path: RawPath) => RawText | undefined): DpkgState => ({
      status: textOf(at(statusPath)),
      extendedStates: textOf(at(extendedStatesPath)),
    })
    return dpkgTransitions(
      stateAt((path) => underRoot(root, path)),
      stateAt(placeOf),
    )
  },
  // All of it lies in files that are kept as any other.
  record: async () => new Map(),
  planUndo: async (host, now, undo) =>
    await planDpkgUndo(host, now, undo, async (target) => await checkTarget(host, target)),
  prove: async (host, proof) => await prove(host, proof),
  async verify({ shell, signal }, installed) {
    const packages = installed.map(({ name, architecture }) => `${name}:${architecture}`)
    return (await verifyDpkg(shell, { packages, signal })).map(asDiffering)
  },
  lock: async (request) => await takeDpkgLocks(request),
}

function dpkgTransitions(before: DpkgState, after: DpkgState): PackageTransition[] {
  return packageRecords({ before, after }).map(transitionOf)
}

const statesWithoutFiles: readonly string[] = ['config-files', 'not-installed']
/** dpkg(1), "Package states". */
const unfinishedStates: readonly string[] = ['half-installed', 'unpacked', 'half-configured']

/** Undefined where the root has no dpkg. */
export function readDpkgPackages(
  root: RawPath,
  was?: (path: RawPath) => Buffer | undefined,
): DpkgPackages | undefined {
  const read = (path: RawPath) => was?.(path) ?? readIfThere(underRoot(root, path))
  const status = read(statusPath)
  if (status === undefined) return undefined
  const extended = read(extendedStatesPath) ?? Buffer.alloc(0)
  return dpkgPackagesOf(readDpkgFiles(root), {
    status: rawFromBytes(status),
    extendedStates: rawFromBytes(extended),
  })
}

export function dpkgPackagesOf(files: DpkgFiles, state: DpkgState): DpkgPackages {
  const ownersOf = (path: RawPath) => files.ownersOf(path).map((owner) => owner.package.name)
  return {
    manager: 'dpkg',
    state,
    files,
    packages: installedOf(files),
    unfinished: files.packages
      .filter(({ state }) => unfinishedStates.includes(state))
      .map(({ name, architecture, version }) => `${name}:${architecture} ${version}`),
    ownersOf,
    // What dpkg keeps of a package is the package's, too.
    packageOf: (path) => (isWithin(path, infoFolder) ? infoOwner.exec(path)?.[1] : ownersOf(path)[0]),
    isConfiguration: (path) => files.fileOf(path)?.isConffile === true,
  }
}

const infoFolder = pathOf('/var/lib/dpkg/info')
const infoOwner = /\/([a-z0-9][a-z0-9.+-]*)(?::[a-z0-9-]+)?\.[^./]+$/

function installedOf({ packages }: DpkgFiles): InstalledPackage[] {
  return packages
    .filter(({ state }) => !statesWithoutFiles.includes(state))
    .map(({ name, version, architecture }) => ({ name, version, architecture }))
    .toSorted((one, other) =>
      one.name < other.name ? -1 : one.name > other.name ? 1 : one.architecture < other.architecture ? -1 : 1,
    )
}

function keptIn(folder: RawPath): { readonly status: RawPath; readonly states: RawPath } {
  const file = (name: string) => joinPath(folder, rawFromString(name) as string as RawName)
  return { status: file('status'), states: file('extended_states') }
}

/** The databases as the paths' own merge would leave them, judged by apt. */
export async function planDpkgUndo(
  host: Pick<PackageHost, 'shell' | 'signal'>,
  now: DpkgPackages,
  undo: UndoOfPackages,
  /** Asks apt about a planned state. */
  check: (target: DpkgState) => Promise<Consistency>,
): Promise<PlannedPackages> {
  const text = async (path: RawPath): Promise<string | undefined> => {
    const planned = await undo.planned(path)
    if (planned === undefined) return undefined
    return planned === 'gone' ? '' : planned.toString('latin1')
  }
  const [status, extendedStates] = [await text(statusPath), await text(extendedStatesPath)]
  const plan: PlannedPackages = {
    transitions: [],
    changedSince: [],
    broken: [],
    sentences: [],
    files: new Map(),
    listed: () => Promise.resolve(new Map()),
  }
  if (status === undefined && extendedStates === undefined) return plan
  const target = {
    status: status ?? now.state.status,
    extendedStates: extendedStates ?? now.state.extendedStates,
  }
  const transitions = dpkgTransitions(now.state, target)
  const audit = transitions.length === 0 ? [] : await auditDpkg(host.shell, host.signal)
  const judged = {
    ...plan,
    transitions,
    before: { audit, consistency: { consistent: true } as const },
    unfinished: unfinishedPackages(target.status),
    listed: async () => await listedThen(now, transitions, undo),
  }
  const consistency = await check(target)
  if (consistency.consistent) return judged
  const before = await checkStatus(host.shell, { signal: host.signal })
  const broken = newlyBroken(consistency, before)
  return {
    ...judged,
    before: { audit, consistency: before },
    broken,
    sentences: broken.length === 0 && before.consistent ? consistency.sentences : [],
  }
}

/** A list that stays as it is is that of now. */
async function listedThen(
  now: DpkgPackages,
  transitions: readonly PackageTransition[],
  { planned }: Pick<UndoOfPackages, 'planned'>,
): Promise<ReadonlyMap<RawPath, string>> {
  const found = new Map<RawPath, string>()
  const pathsIn = async (file: string): Promise<readonly RawPath[]> => {
    const text = await planned(pathOf(`${infoFolder}/${file}`))
    return text === undefined || text === 'gone' ? [] : [...pathsOf(text.toString('latin1'))]
  }
  for (const { name, architecture, from, to } of transitions) {
    if (to === undefined || from === to) continue
    for (const stem of [name, `${name}:${architecture}`]) {
      const conffiles = new Set(await pathsIn(`${stem}.conffiles`))
      for (const path of await pathsIn(`${stem}.list`)) if (!conffiles.has(path)) found.set(path, name)
    }
    const keys = now.files.packages.filter((each) => each.name === name && each.architecture === architecture)
    for (const { key } of keys)
      for (const { path, isConffile } of now.files.filesOf(key)) if (!isConffile) found.set(path, name)
  }
  return found
}

/** It is shown files of ours, and changes nothing. */
async function checkTarget({ shell, state, signal }: PackageHost, target: DpkgState) {
  const folder = mkdtempSync(`${state}/plan-`)
  try {
    const write = (name: string, text: string): RawPath => {
      const path = parseRawPath(rawFromString(`${folder}/${name}`))
      if (path === undefined) throw new TypeError('A folder of VML has a name that no path can have')
      writeFileSync(rawToBytes(path), Buffer.from(text, 'latin1'), { mode: 0o600 })
      return path
    }
    return await checkStatus(shell, {
      status: write('status', target.status),
      extendedStates: write('extended_states', target.extendedStates),
      signal,
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function asDiffering({ path, configuration, difference }: VerifiedPath): DifferingFile {
  return { path, configuration, missing: difference === 'missing' }
}

async function prove(
  { shell, signal }: PackageHost,
  { transitions, before, unfinished = [], since, isExpected }: Parameters<PackageSystem['prove']>[1],
): Promise<PackageProof> {
  const there = transitions
    .filter(({ to }) => to !== undefined)
    .map(({ name, architecture }) => `${name}:${architecture}`)
  const proof = await proveDpkg(shell, { packages: there, signal })
  const wrong = unexpected(proof, (difference) => isExpected(asDiffering(difference)), before, unfinished)
  if (wrong) {
    const sentence =
      wrong.sentences[0] ??
      (wrong.differences[0]
        ? `"${printable(wrong.differences[0].path)}" is not its package's`
        : 'dpkg finds it wrong')
    const details = { audit: proof.audit, consistent: proof.consistency.consistent }
    return { validations: [], failure: { sentence, details } }
  }
  const { audit, consistency } = proof
  return {
    validations: [
      passed('dpkg --audit', knownProblems(audit, { before, unfinished, since })),
      passed('apt-get check', [
        { when: 'so before', known: consistency.consistent ? [] : consistency.broken.map(describeBroken) },
      ]),
      ...verifiedOf('dpkg --verify', there.length, proof.differences),
    ],
  }
}

/** What was so before the undo, and what is so again, since it was before the transactions. */
function knownProblems(
  audit: readonly string[],
  {
    before,
    unfinished = [],
    since,
  }: Omit<Parameters<PackageSystem['prove']>[1], 'transitions' | 'isExpected'>,
): readonly Known[] {
  const problems = problemsOf(audit)
  const known = problemsOf(before?.audit ?? [])
  const planned = plannedAmong(problems, unfinished)
  const named = (isOne: (key: string) => boolean) =>
    [...problems].flatMap(([key, { name, sentence }]) => (isOne(key) ? [name || sentence] : []))
  return [
    { when: 'so before', known: named((key) => known.has(key)) },
    {
      when: since === undefined ? 'so before' : `so before ${since}`,
      known: named((key) => !known.has(key) && planned.has(key)),
    },
  ]
}

interface Known {
  readonly when: string
  readonly known: readonly string[]
}

function passed(name: string, all: readonly Known[]): Validation {
  const told = all.filter(({ known }) => known.length > 0)
  if (told.length === 0) return { name, outcome: 'passed' }
  const words = told.map(({ when, known }) => {
    const some = [...new Set(known)].slice(0, knownMax).map(printableText).join(', ')
    return `what was ${when}: ${some}${known.length > knownMax ? ' and others' : ''}`
  })
  return { name, outcome: 'passed', message: `but for ${words.join(', and ')}` }
}

const knownMax = 10

function readIfThere(path: RawText): Buffer | undefined {
  try {
    return readFileSync(rawToBytes(path))
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined
    throw error
  }
}
