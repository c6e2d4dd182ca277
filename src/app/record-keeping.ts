// Looks after the records of this machine: what their deltas stand on, and that they stay within their budget.
import { lstatSync, readdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import type { TransactionParts } from '../transaction/end-stage.ts'
import type { RecordKeeping } from '../transaction/keep-records.ts'
import type { RecordBudget } from '../transaction/record-budget.ts'
import { listPins, pinPath } from '../transaction/pins.ts'
import { openTransactionContents } from '../transaction/transaction-contents.ts'
import { rootPath } from '../model/raw-path.ts'
import type { RecordRemover } from '../transaction/remove-transactions.ts'
import { readKnownIndex } from '../transaction/baseline.ts'
import { bytesOfIndex } from '../stage/index-bytes.ts'
import { pathIn } from '../transaction/workplace.ts'
import type { Budget } from '../model/span.ts'
import { pruneRuleDefault } from '../store/prune-plan.ts'
import { applyDelta } from '../wire/zstd-delta.ts'
import { VmlError } from '../base/failure.ts'
import type { Logbook } from './open.ts'
import type { TransactionSettings } from './settings.ts'
import { systemConfig, systemFolder, systemLogbook } from './system-logbook.ts'
import type { TransactionContext } from './transaction-context.ts'

/** Issue 4, M6: of the bytes in use. */
export const budgetDefault: Budget = { kind: 'share', percent: 8 }

/** Once a new one is there. Without settings, which could not be read, none goes that is over a budget. */
export async function lookAfterRecords(
  context: TransactionContext,
  parts: Parameters<typeof recordKeepingOf>[0],
  settings: TransactionSettings | undefined,
): Promise<void> {
  const keeping = recordKeepingOf(parts)
  const { keepRecords } = await import('../transaction/keep-records.ts')
  await keepRecords(keeping)
  const budget = budgetOf(context, settings)
  if (!budget) return
  const { fitRecords } = await import('../transaction/record-budget.ts')
  await fitRecords(keeping, recordBudgetOf(context, parts, budget))
}

export function budgetOf(
  context: Pick<TransactionContext, 'budget'>,
  settings: TransactionSettings | undefined,
): Budget | undefined {
  return context.budget ?? (settings && (settings.budget ?? budgetDefault))
}

export function recordKeepingOf(
  parts: Pick<TransactionParts, 'root' | 'state' | 'reporter' | 'signal' | 'logbook'>,
): RecordKeeping {
  const { logbook, signal } = parts
  return {
    place: parts,
    logbook,
    contentsOf: (transactions) =>
      openTransactionContents({
        repository: logbook.repository,
        transactions: () => Promise.resolve(transactions),
        pinned: (sha256) => pinPath(parts, sha256),
        applyDelta: (delta, base) => applyDelta({ delta, base }),
        // No package is fetched to save room: whoever needs one as a base keeps its delta.
        fromPackage: ({ package: name }) =>
          Promise.reject(new VmlError('unavailable.network', `${name} was not fetched`)),
        signal,
      }),
  }
}

/** What a removal of records needs: of the machine's own logbook, or of any other, whose records stand by themselves. */
export function recordRemoverOf(
  {
    config: { logbook: named },
    reporter,
    signal,
  }: Pick<TransactionContext, 'config' | 'reporter' | 'signal'>,
  logbook: Logbook,
): RecordRemover {
  const place = { root: rootPath, state: pathIn(rootPath, systemFolder), reporter, signal, logbook }
  const isOwn = named?.value === systemLogbook
  return { keeping: recordKeepingOf(place), pins: () => (isOwn ? listPins(place) : []) }
}

export function recordBudgetOf(
  context: TransactionContext,
  parts: Pick<TransactionParts, 'state' | 'logbook' | 'reporter'>,
  budget: Budget,
): RecordBudget {
  const { config, reporter, signal } = context
  const { repository } = parts.logbook
  const usedBytes = () => Promise.resolve(takenBytes(systemLogbook) + alonePinBytes(parts))
  return {
    limitBytes:
      budget.kind === 'bytes'
        ? budget.bytes
        : Math.max(0, Math.floor((systemBytes(parts) * budget.percent) / 100)),
    usedBytes,
    async prune() {
      const { pruneMarksOf, runPruning } = await import('../engine/prune.ts')
      await runPruning(repository, {
        rule: pruneRuleDefault,
        marks: pruneMarksOf(systemConfig(config).folders.state, repository.id),
        now: true,
        waitMs: 0,
        reporter,
        signal,
      })
    },
  }
}

/** In use on the file system of `/`, without what VML itself has there. */
function systemBytes(parts: Pick<TransactionParts, 'state' | 'reporter'>): number {
  const { type, blocks, bfree, bsize } = statfsSync('/')
  // An overlay tells of the disk that it lies on, which is that of the whole host: what a container has is what was seen there.
  const known = type === overlayType ? readKnownIndex(parts) : undefined
  return known ? bytesOfIndex(known.index) : (blocks - bfree) * bsize - takenBytes(systemFolder)
}

/** OVERLAYFS_SUPER_MAGIC (statfs(2)). */
const overlayType = 0x794c7630

function alonePinBytes(parts: Pick<TransactionParts, 'state'>): number {
  return listPins(parts).reduce((sum, { isAlone, bytes }) => sum + (isAlone ? bytes : 0), 0)
}

/** On the disk; a file of several names is somebody else's. */
function takenBytes(folder: string): number {
  let bytes = 0
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue
    const status = lstatSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })
    if (status?.nlink === 1) bytes += status.blocks * blockBytes
  }
  return bytes
}

/** As stat(2) counts them. */
const blockBytes = 512
