// `vml tx undo`: what it would do, decided before anything is changed: paths, packages, and whether they can stand together.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { printable, printableText, rawFromString, rawToBytes } from '../base/raw-text.ts'
import { isWithin, parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { regenerations, type RegenerationCommand } from '../model/regeneration.ts'
import type { PackageTransition } from '../model/transaction-record.ts'
import { type BrokenDependency, describeBroken } from '../packages/broken-dependency.ts'
import { checkStatus } from '../packages/dpkg-oracle.ts'
import { unitsOfPaths } from '../packages/services.ts'
import {
  extendedStatesPath,
  type PackagesNow,
  readPackagesNow,
  statusPath,
  transitionsOf,
} from './dpkg-state.ts'
import { entryName, entryWord, type LoggedEntry, type OpenLogbook } from './entries.ts'
import type { TransactionContents } from './transaction-contents.ts'
import { type ReadTransaction, readTransaction } from './transaction-entry.ts'
import type { ListedTransaction } from './transactions.ts'
import {
  planUndoPaths,
  type PlannedContent,
  requireParents,
  type UndoConflict,
  type UndoPaths,
} from './undo-plan.ts'
import { planAlternatives } from './undo-alternatives.ts'
import { openUndoView } from './undo-view.ts'
import { pathIn, type Workplace } from './workplace.ts'

export interface UndoRequest {
  readonly kind: 'undo' | 'redo'
  /** What is taken back or brought back, as the user named it: of a redo the undo of it is taken back. */
  readonly subject: readonly LoggedEntry[]
  /** Newest first. */
  readonly transactions: readonly ListedTransaction[]
  /** Overwrite data of services that changed since. */
  readonly data: boolean
  /** What is to be done where later transactions need what these brought. */
  readonly needed: 'refuse' | 'take along' | 'keep'
}

export interface UndoParts {
  readonly place: Workplace
  readonly logbook: OpenLogbook
  /** All of this machine, oldest first. */
  readonly listed: readonly ListedTransaction[]
  readonly contents: TransactionContents
}

export interface UndoPlan {
  readonly kind: UndoRequest['kind']
  /** What it is told as: what was named, and of an undo what was taken along, too. */
  readonly subject: readonly LoggedEntry[]
  /** Those that are taken back: what was asked for, and what was taken along. Newest first. */
  readonly transactions: readonly ReadTransaction[]
  readonly paths: UndoPaths
  /** What becomes of packages. */
  readonly packages: readonly PackageTransition[]
  /** Packages that stay though the transaction brought them, since others need them. */
  readonly keptPackages: readonly string[]
  readonly regenerations: readonly RegenerationCommand[]
  /** Units of which files change. */
  readonly units: readonly string[]
  /** Bytes of files that are written. */
  readonly bytes: number
}

/** Each turn takes along, or keeps, at least one more. */
const turnsMax = 1000
const database = pathIn(rootPath, '/var/lib/dpkg')

/**
 * Reads only. Fails with `conflict` where the packages could not stand together, or where a later transaction changed the same package
 * again, naming both; `integrity.missing` where a pre-image cannot be had.
 */
export async function planUndo(parts: UndoParts, request: UndoRequest): Promise<UndoPlan> {
  const chosen = new Set(request.transactions)
  const staying = new Set<string>()
  for (let turn = 0; turn < turnsMax; turn++) {
    const plan = await planOnce(parts, request, [...chosen], staying)
    if ('plan' in plan) return plan.plan
    if (request.needed === 'refuse') throw refused(request, plan.blocks)
    let progress = false
    for (const block of plan.blocks) {
      if (request.needed === 'keep') {
        for (const name of block.keep) if (!staying.has(name)) progress = staying.add(name).size > 0
      } else if (block.by && !chosen.has(block.by)) progress = chosen.add(block.by).size > 0
    }
    if (!progress) throw refused(request, plan.blocks)
  }
  throw new TypeError('A plan of an undo does not come to an end')
}

/** Why the packages cannot be as the undo would leave them. */
interface Block {
  readonly sentence: string
  /** The later transaction that needs it, or that changed the same package. */
  readonly by: ListedTransaction | undefined
  /** Packages that would have to stay. */
  readonly keep: readonly string[]
}

async function planOnce(
  parts: UndoParts,
  request: UndoRequest,
  chosen: readonly ListedTransaction[],
  staying: ReadonlySet<string>,
): Promise<{ readonly plan: UndoPlan } | { readonly blocks: readonly Block[] }> {
  const { place, logbook, contents } = parts
  const newestFirst = parts.listed.filter((each) => chosen.includes(each)).toReversed()
  const transactions: ReadTransaction[] = []
  for (const { entry } of newestFirst)
    transactions.push(await readTransaction(logbook.repository, entry, { signal: place.signal }))
  const packages = readPackagesNow(place)
  const going = new Set(
    newestFirst
      .flatMap(({ document }) => document.packages.map(({ name }) => name))
      .filter((name) => !staying.has(name)),
  )
  const view = await openUndoView({ place, transactions, contents, packages, going, staying })
  const planned = await planUndoPaths(view, {
    transactions,
    data: request.data,
    stays: (_transaction, { owner }) =>
      'package' in owner && owner.package !== undefined && staying.has(owner.package),
  })
  const paths = await planAlternatives(view, transactions, planned)
  const blocks = blocksOfConflicts(parts, newestFirst, paths.conflicts)
  if (blocks.length > 0) return { blocks }
  requireParents(paths, view.now)
  const target = packages && (await targetState(parts, paths, packages))
  if (target) {
    const consistency = await checkTarget(place, target)
    const before = consistency.consistent
      ? undefined
      : await checkStatus(place.shell, { signal: place.signal })
    // What was broken before is not made worse by this.
    const known = new Set(before?.consistent === false ? before.broken.map(describeBroken) : [])
    const broken = consistency.consistent
      ? []
      : consistency.broken.filter((each) => !known.has(describeBroken(each)))
    if (broken.length > 0) return { blocks: broken.map((each) => blockOf(parts, newestFirst, each)) }
    if (!consistency.consistent && before?.consistent !== false)
      throw new VmlError(
        'conflict',
        `Cannot take it back: ${consistency.sentences.map(printableText).join('; ')}`,
        {
          hint: 'Nothing was changed',
        },
      )
  }
  return { plan: finish(request, { transactions, paths, packages, target, staying }) }
}

function finish(
  request: UndoRequest,
  work: {
    readonly transactions: readonly ReadTransaction[]
    readonly paths: UndoPaths
    readonly packages: PackagesNow | undefined
    readonly target: PackagesNow['state'] | undefined
    readonly staying: ReadonlySet<string>
  },
): UndoPlan {
  const { paths } = work
  const touched = [
    ...paths.paths.map(({ path, now, wanted }) => ({
      path,
      present: now !== undefined,
      wanted: wanted !== undefined,
      restored: true,
    })),
    ...paths.regenerated.map((path) => ({ path, present: true, wanted: true })),
  ]
  return {
    kind: request.kind,
    subject: request.kind === 'redo' ? request.subject : work.transactions.map(({ entry }) => entry),
    transactions: work.transactions,
    paths,
    packages: work.packages && work.target ? transitionsOf(work.packages.state, work.target) : [],
    keptPackages: [...work.staying].toSorted(),
    regenerations: regenerations(touched),
    units: unitsOfPaths(paths.paths.map(({ path }) => path)),
    bytes: paths.paths.reduce((sum, { content, wanted }) => sum + (content ? (wanted?.size ?? 0) : 0), 0),
  }
}

/** A file of dpkg that cannot be merged leaves no consistent database: then nothing is done. */
function blocksOfConflicts(
  { listed }: UndoParts,
  chosen: readonly ListedTransaction[],
  conflicts: readonly UndoConflict[],
): Block[] {
  return conflicts
    .filter(({ path }) => isWithin(path, database))
    .flatMap(({ path, keys, reason }): Block[] => {
      if (keys.length === 0)
        return [{ sentence: `"${printable(path)}" cannot be merged: ${reason}`, by: undefined, keep: [] }]
      return keys.map((key) => {
        const name = key.split(/[:\s\0]/)[0] ?? key
        const by = laterWith(listed, chosen, name)
        return {
          sentence: by
            ? `${name} was changed again by ${entryName(by.entry)} (${by.entry.title})`
            : `${name} was changed again since`,
          by,
          keep: [name],
        }
      })
    })
}

function blockOf(
  { listed }: UndoParts,
  chosen: readonly ListedTransaction[],
  broken: BrokenDependency,
): Block {
  const name = broken.package.split(':')[0] ?? broken.package
  const by = laterWith(listed, chosen, name)
  return {
    sentence: `${describeBroken(broken)}${by ? ` (${name} came with ${entryName(by.entry)})` : ''}`,
    by,
    keep: broken.alternatives.map(({ name: needed }) => needed.split(':')[0] ?? needed),
  }
}

/** The newest transaction that changed a package, later than the oldest of those that are taken back. */
function laterWith(
  listed: readonly ListedTransaction[],
  chosen: readonly ListedTransaction[],
  name: string,
): ListedTransaction | undefined {
  const first = listed.findIndex((each) => chosen.includes(each))
  return listed
    .slice(first + 1)
    .findLast(
      (each) =>
        !chosen.includes(each) &&
        each.undoneBy === undefined &&
        each.document.packages.some((changed) => changed.name === name && changed.to !== undefined),
    )
}

function refused({ subject, kind }: UndoRequest, blocks: readonly Block[]): VmlError {
  const names = subject.map(entryName).join(', ')
  const words = subject.map(entryWord).join(' ')
  const sentences = [...new Set(blocks.map(({ sentence }) => sentence))]
  return new VmlError('conflict', `Cannot ${kind} ${names} alone: ${sentences.join('; ')}`, {
    details: {
      blocks: blocks.map(({ sentence, by }) => ({ sentence, transaction: by?.entry.number ?? null })),
    },
    hint: `Nothing was changed. vml tx ${kind} ${words} --with-dependents takes those back, too; --keep-needed leaves what they need`,
  })
}

/** The databases of dpkg and apt as they would be. */
async function targetState(
  parts: UndoParts,
  paths: UndoPaths,
  packages: PackagesNow,
): Promise<PackagesNow['state'] | undefined> {
  const text = async (path: RawPath): Promise<string | undefined> => {
    const planned = paths.paths.find((each) => each.path === path)
    if (planned === undefined) return undefined
    if (planned.wanted === undefined) return ''
    return planned.content ? (await bytesOf(parts.contents, planned.content)).toString('latin1') : undefined
  }
  const [status, extendedStates] = [await text(statusPath), await text(extendedStatesPath)]
  if (status === undefined && extendedStates === undefined) return undefined
  return {
    status: status ?? packages.state.status,
    extendedStates: extendedStates ?? packages.state.extendedStates,
  }
}

export async function bytesOf(contents: TransactionContents, content: PlannedContent): Promise<Buffer> {
  return content.kind === 'bytes' ? content.bytes : await contents.before(content.transaction, content.change)
}

/** apt itself says whether the planned set holds together; it is shown files of ours, and changes nothing. */
async function checkTarget(place: Workplace, target: PackagesNow['state']) {
  const folder = mkdtempSync(`${place.state}/plan-`)
  try {
    const write = (name: string, text: string): RawPath => {
      const path = parseRawPath(rawFromString(`${folder}/${name}`))
      if (path === undefined) throw new TypeError('A folder of VML has a name that no path can have')
      writeFileSync(rawToBytes(path), Buffer.from(text, 'latin1'), { mode: 0o600 })
      return path
    }
    return await checkStatus(place.shell, {
      status: write('status', target.status),
      extendedStates: write('extended_states', target.extendedStates),
      signal: place.signal,
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
