// The machine as an undo sees it: what lies at each path now, whose it is, and how what changed twice is merged.
import { readdirSync } from 'node:fs'
import { isFailure, systemErrorCode } from '../base/failure.ts'
import { printable, rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { describeAttribute, mergeAttributes } from '../model/merge-attributes.ts'
import { mergeFile } from '../model/merge.ts'
import { isRawName, type RawName, type RawPath } from '../model/raw-path.ts'
import { dataFolderOf, isData } from '../model/service-data.ts'
import type { Fingerprint } from '../model/transaction.ts'
import { statusPath } from '../packages/dpkg-system.ts'
import { outlineOf } from '../stage/fingerprint.ts'
import { hashLive, readLive } from './live-content.ts'
import { withoutStanzas } from './keep-packages.ts'
import { openOwnFolders } from './own-folders.ts'
import { ownersOf, type PackagesNow } from './packages-now.ts'
import { type KnownFolders, statusOfPath } from './path-status.ts'
import type { TransactionContents } from './transaction-contents.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import type { MergeSides } from '../model/merge-outcome.ts'
import type { MergeResult, UndoView } from './undo-plan.ts'
import { servingRules } from './usable-rule.ts'
import { inRoot, type Workplace } from './workplace.ts'

export interface UndoViewParts {
  readonly place: Workplace
  readonly transactions: readonly ReadTransaction[]
  readonly contents: TransactionContents
  readonly packages: PackagesNow
  /** Names of packages that the undo takes away or brings to another version. */
  readonly going: ReadonlySet<string>
  /** Names of packages that stay as they are, though the transaction changed them. */
  readonly staying: ReadonlySet<string>
}

/** Looks at every path of the transactions first: content is read only where time and inode leave a doubt. */
export async function openUndoView(parts: UndoViewParts): Promise<UndoView> {
  const { place } = parts
  const known = await lookAtPaths(parts)
  const own = openOwnFolders(place)
  const now = (path: RawPath): Fingerprint | undefined =>
    known.has(path) ? known.get(path) : outlineNow(place, path)
  return undoViewOf(parts, {
    now,
    contentNow(path) {
      const looked = now(path)
      if (looked === undefined) throw new TypeError('Only what is there has a content')
      return readLive(place, path, looked)
    },
    names: (path) => namesIn(place, path),
    ownFolder: (path) => own.holding(path),
    otherName: (path) => otherName(place, path),
  })
}

/** `look` says what lies there now. */
export function undoViewOf(
  { transactions, contents, packages, going, staying }: Omit<UndoViewParts, 'place'>,
  look: Pick<UndoView, 'now' | 'contentNow' | 'names' | 'ownFolder' | 'otherName'>,
): UndoView {
  const isPackaged = (path: RawPath) => ownersOf(packages, path).length > 0
  // What comes back may be what makes others.
  const was = new Set(
    transactions.flatMap(({ changes }) =>
      changes.flatMap(({ path, before }) => (before === undefined ? [] : [path])),
    ),
  )
  const serving = servingRules((path) => was.has(path) || look.now(path) !== undefined, packages)
  return {
    ...look,
    listedByOthers: (path) => ownersOf(packages, path).some((owner) => !going.has(owner)),
    isRegenerated: (path) => serving.always(path) !== undefined,
    isLeftByItsRule(path) {
      const rule = serving.always(path)
      return rule?.path === 'left' && rule.standsFor === 'any change'
    },
    isRegeneratedWhenChanged: (path) => serving.whenChanged(path) !== undefined,
    dataFolder: (path) => (isData(path, isPackaged) ? dataFolderOf(path) : undefined),
    contentBefore: async (transaction, change) => await contents.before(transaction, change),
    contentAfter: async (transaction, change) => await contents.after(transaction, change),
    merge: (path, sides) => mergeNow(path, path === statusPath ? withoutStanzas(sides, staying) : sides),
    mergeAttributes({ base, ours, theirs }) {
      const { attributes, conflicts } = mergeAttributes({ base, ours, theirs })
      const { xattrs: _, ...rest } = ours
      const words = conflicts.map((name) => describeAttribute(name, { base, ours, theirs }))
      return {
        fingerprint: { ...rest, ...attributes },
        ...(words.length === 0 ? {} : { conflict: words.join('; ') }),
      }
    },
  }
}

async function lookAtPaths({
  place,
  transactions,
}: UndoViewParts): Promise<Map<RawPath, Fingerprint | undefined>> {
  const known = new Map<RawPath, Fingerprint | undefined>()
  const folders: KnownFolders = new Map()
  for (const { changes } of transactions)
    for (const { path, after } of changes) {
      if (known.has(path)) continue
      const outline = outlineNow(place, path, folders)
      known.set(
        path,
        outline?.type === 'file'
          ? {
              ...outline,
              sha256: isUntouched(outline, after) ? (after?.sha256 ?? '') : hashLive(place, path, outline),
            }
          : outline,
      )
    }
  return known
}

/** Nobody sets a time of change: the same inode with the same one was not written since. */
function isUntouched(now: Fingerprint, after: Fingerprint | undefined): boolean {
  return (
    after?.sha256 !== undefined &&
    after.ctimeNs !== undefined &&
    now.ctimeNs === after.ctimeNs &&
    now.inode === after.inode &&
    now.deviceId === after.deviceId &&
    now.size === after.size
  )
}

/** What changes while it is looked at is not the same file any more. */
function otherName(place: Workplace, path: RawPath): Fingerprint | undefined {
  const outline = outlineNow(place, path)
  if (outline?.type !== 'file') return undefined
  try {
    return { ...outline, sha256: hashLive(place, path, outline) }
  } catch (error) {
    if (systemErrorCode(error) === undefined && !isFailure(error, 'conflict')) throw error
    return undefined
  }
}

export function outlineNow(place: Workplace, path: RawPath, known?: KnownFolders): Fingerprint | undefined {
  const status = statusOfPath(place, path, known)
  return status && outlineOf(place.libc, hostPath(place, path), status)
}

export function hostPath(place: Workplace, path: RawPath): RawPath {
  return inRoot(place, path)
}

function namesIn(place: Workplace, path: RawPath): RawName[] {
  try {
    return readdirSync(rawToBytes(inRoot(place, path)), { encoding: 'buffer' })
      .map((name) => rawFromBytes(name))
      .filter((name): name is RawName => isRawName(name))
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return []
    throw error
  }
}

function mergeNow(path: RawPath, sides: MergeSides<Buffer>): MergeResult {
  const outcome = mergeFile(path, sides)
  if (outcome.kind === 'merged') return outcome
  const keys = outcome.keys.map(printable)
  return {
    kind: 'conflict',
    reason: `${reasons[outcome.reason]}${keys.length > 0 ? `: ${keys.join(', ')}` : ''}`,
    keys,
  }
}

const reasons = {
  'both-changed': 'the same place was changed since',
  'too-large': 'it was changed since and is too large to be merged',
  'number-taken': 'a number of a user or group was given to somebody else since',
  'not-together': 'what would come back cannot stand beside what is there',
} as const
