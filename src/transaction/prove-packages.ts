// After an undo, the packages are proved by the checks of the distribution itself.
import { messageOf, VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import type { Validation } from '../model/transaction-record.ts'
import type { PackageProof } from '../packages/package-system.ts'
import {
  changedSystems,
  packageHostOf,
  type PackagesNow,
  readPackagesNow,
  type SystemTransitions,
} from './packages-now.ts'
import type { UndoPlan } from './undo.ts'
import type { Workplace } from './workplace.ts'

const stayingCharactersMax = 4096

/** Also tells which files of the packages stay as they are, so that their own check finds them. */
export async function provePackages(
  parts: Workplace,
  { paths, systems }: Pick<UndoPlan, 'paths' | 'systems'>,
): Promise<Validation[]> {
  const stays = new Set(paths.conflicts.map(({ path }) => path))
  const staying = new Set<RawPath>()
  const proof = await proofOf(parts, systems, {
    undone: new Set(paths.paths.map(({ path }) => path)),
    onVerified: (path) => void (stays.has(path) && staying.add(path)),
  })
  if (proof.failure)
    throw new VmlError('proof', `The undo does not stand the proof: ${proof.failure.sentence}`, {
      details: proof.failure.details,
      hint: 'Everything was put back as it was before the undo',
    })
  if (staying.size === 0) return [...proof.validations]
  return [
    ...proof.validations,
    {
      name: 'files that stay',
      outcome: 'not run',
      message: `not as their packages have them: ${[...staying].map(printable).join(', ').slice(0, stayingCharactersMax)}`,
    },
  ]
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

async function proofOf(
  parts: Workplace,
  systems: readonly SystemTransitions[],
  {
    undone,
    onVerified,
  }: { readonly undone: ReadonlySet<RawPath>; readonly onVerified?: (path: RawPath) => void },
): Promise<PackageProof> {
  const validations: Validation[] = []
  for (const { system, transitions } of systems) {
    if (transitions.length === 0) continue
    const proof = await system.prove(packageHostOf(parts), {
      transitions,
      isExpected({ path, configuration }) {
        onVerified?.(path)
        return configuration || !undone.has(path)
      },
    })
    if (proof.failure) return proof
    validations.push(...proof.validations)
  }
  return { validations }
}
