// After an undo, the packages are proved by the checks of the distribution itself.
import { messageOf, VmlError } from '../base/failure.ts'
import { asRaw, printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { type PathChange, sameState } from '../model/transaction.ts'
import type { Validation } from '../model/transaction-record.ts'
import { entryName, entryWord, type LoggedEntry } from '../engine/entries.ts'
import type { PackageProof } from '../packages/package-system.ts'
import {
  changedSystems,
  packageHostOf,
  type PackagesNow,
  readPackagesNow,
  type SystemTransitions,
  type TouchedPackage,
} from './packages-now.ts'
import type { UndoPlan } from './undo.ts'
import type { Workplace } from './workplace.ts'
import { toldFiles } from './told-files.ts'

const toldMax = 20

/**
 * Also tells which files of the packages are not as these have them, and may be so: those that stay as they are, and those that are as they were before. A file
 * that is exactly as it was before the transactions was not its package's then either: what it is compared with is as it was before, too.
 */
export async function provePackages(
  parts: Workplace,
  { kind, paths, systems, transactions }: Pick<UndoPlan, 'kind' | 'paths' | 'systems' | 'transactions'>,
): Promise<Validation[]> {
  const proof = await proofOf(parts, systems, {
    undone: new Set(paths.paths.map(({ path }) => path)),
    asBefore: putBackAsBefore({ paths, transactions }),
    staying: new Set(paths.conflicts.map(({ path }) => path)),
    gone: new Set(paths.conflicts.flatMap(({ path, was }) => (was === undefined ? [] : [path]))),
    oldest: transactions.at(-1)?.entry,
    restored: new Set(paths.paths.flatMap(({ path, how }) => (how === 'restored' ? [path] : []))),
  })
  if (proof.failure) {
    const { sentence, details, hint } = proof.failure
    const putBack = `Everything was put back as it was before the ${kind}`
    throw new VmlError('proof', `The ${kind} does not stand the proof: ${sentence}`, {
      details,
      hint: hint === undefined ? putBack : `${putBack}. ${hint}`,
    })
  }
  return [...proof.validations]
}

/** What is merged is as nobody ever had it. */
function putBackAsBefore({
  paths,
  transactions,
}: Pick<UndoPlan, 'paths' | 'transactions'>): ReadonlySet<RawPath> {
  // Newest first: what the oldest found is what was before all of them.
  const before = new Map(
    transactions.flatMap(({ changes }) => changes.map((change) => [change.path, change])),
  )
  const found = paths.paths.filter(({ path, how, wanted }) => {
    const change = before.get(path)
    return how === 'restored' && change !== undefined && sameState(wanted, change.before)
  })
  return new Set(found.map(({ path }) => path))
}

/**
 * By a recovery that has ended the commit of an undo. Services, and whoever else, have worked with it since the crash: a failure is told and recorded, and nothing is
 * taken back for it.
 */
export async function provePackagesAfterCrash(
  parts: Workplace,
  { packages, changes }: { readonly packages: PackagesNow; readonly changes: readonly PathChange[] },
): Promise<readonly Validation[]> {
  let message: string | undefined
  try {
    const proof = await proofOf(parts, changedSystems(parts, packages, await readPackagesNow(parts)), {
      undone: new Set(changes.map(({ path }) => path)),
    })
    if (proof.failure === undefined) return proof.validations
    message = proof.failure.sentence
  } catch (error) {
    parts.signal?.throwIfAborted()
    message = messageOf(error)
  }
  parts.reporter.warn({
    warning: `The packages do not stand the proof: ${message}. Nothing was taken back for it: vml tx undo does that`,
  })
  return [{ name: 'packages', outcome: 'failed', message: message.slice(0, messageCharactersMax) }]
}

const messageCharactersMax = 4096

interface Judged {
  /** What the undo changes. */
  readonly undone: ReadonlySet<RawPath>
  /** Of these, what is exactly as it was before the transactions that are taken back. */
  readonly asBefore?: ReadonlySet<RawPath>
  /** What was to be changed, and is as it is now. */
  readonly staying?: ReadonlySet<RawPath>
  /** Of these, what was there before. A package that comes back without it is none: most are refused when the undo is planned. */
  readonly gone?: ReadonlySet<RawPath>
  /** Of the transactions that are taken back. */
  readonly oldest?: LoggedEntry | undefined
  /** What the undo brings back whole, or takes away. */
  readonly restored?: ReadonlySet<RawPath>
}

async function proofOf(
  parts: Workplace,
  systems: readonly SystemTransitions[],
  judged: Judged,
): Promise<PackageProof> {
  const { undone, asBefore = new Set(), staying = new Set(), gone = new Set(), oldest } = judged
  const validations: Validation[] = []
  const stays = new Set<RawPath>()
  const was = new Set<RawPath>()
  for (const { system, transitions, before, unfinished } of systems) {
    if (transitions.length === 0) continue
    const proof = await system.prove(packageHostOf(parts), {
      transitions,
      before,
      unfinished,
      since: oldest && entryName(oldest),
      isExpected({ path: listed, configuration, missing }) {
        if (configuration) return true
        const path = placeOf(listed, (each) => undone.has(each) || staying.has(each))
        if (undone.has(path) && !asBefore.has(path)) return false
        if (missing && gone.has(path) && transitions.some(({ from, to }) => from !== to)) return false
        if (staying.has(path)) stays.add(path)
        else was.add(path)
        return true
      },
    })
    if (proof.failure) return proof
    validations.push(...proof.validations)
  }
  const touched = await proveTouched(parts, systems, judged)
  if ('failure' in touched) return { validations: [], failure: touched.failure }
  for (const path of touched.asBefore) was.add(path)
  return {
    validations: [...validations, ...toldOf(toldFiles.staying, stays), ...toldOf(toldFiles.asBefore, was)],
  }
}

/**
 * A package that stays as it is must not get files of a version that it had before: where it was brought to another one since, what the undo brings back whole
 * has to be of that one. Of any other package it may differ as it did before.
 */
async function proveTouched(
  parts: Workplace,
  systems: readonly SystemTransitions[],
  { undone, asBefore = new Set(), restored = new Set(), oldest }: Judged,
): Promise<Required<Pick<PackageProof, 'failure'>> | { readonly asBefore: readonly RawPath[] }> {
  const told: RawPath[] = []
  for (const { system, touched = [] } of systems) {
    const differing = async (packages: readonly TouchedPackage[]) => {
      if (packages.length === 0) return []
      const files = await system.verify(
        packageHostOf(parts),
        packages.map((each) => each.package),
      )
      return files
        .filter(({ configuration }) => !configuration)
        .map(({ path }) => placeOf(path, (each) => undone.has(each)))
    }
    for (const each of touched.filter(({ changedBy }) => changedBy !== undefined)) {
      const wrong = (await differing([each])).find((path) => restored.has(path))
      if (wrong === undefined) continue
      const { name } = each.package
      const sentence = `"${printable(wrong)}" is not its package's: ${name} was changed again by ${each.changedBy}`
      const way = oldest && `vml tx undo --to-before ${entryWord(oldest)} takes all that came later back, too`
      return {
        failure: { sentence, details: { path: printable(wrong) }, ...(way ? { hint: way } : {}) },
      }
    }
    const others = touched.filter(({ changedBy }) => changedBy === undefined)
    told.push(...(await differing(others)).filter((path) => asBefore.has(path)))
  }
  return { asBefore: told }
}

/** Where folders of the root are links into /usr, a package may list a file by its old name: `/bin/ls`. */
function placeOf(listed: RawPath, isKnown: (path: RawPath) => boolean): RawPath {
  const below = asRaw(`/usr${listed}`) as RawPath
  return !isKnown(listed) && isKnown(below) ? below : listed
}

function toldOf(name: string, paths: ReadonlySet<RawPath>): readonly Validation[] {
  if (paths.size === 0) return []
  const words = [...paths].slice(0, toldMax).map(printable).join(', ')
  const more = paths.size > toldMax ? ` and ${paths.size - toldMax} more` : ''
  const what = paths.size === 1 ? 'not as its package has it' : 'not as their packages have them'
  return [
    {
      name,
      outcome: 'not run',
      message: `${what}: ${words}`.slice(0, messageCharactersMax - more.length) + more,
    },
  ]
}
