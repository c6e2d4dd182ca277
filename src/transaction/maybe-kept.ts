// With --keep-needed: what came together with a package that stays, and that no package is known to own, may have been made by that one's scripts.
import { ruleWhenChanged } from '../model/regeneration.ts'
import {
  baseName,
  isWithin,
  joinPath,
  parentPath,
  parseRawPath,
  type RawPath,
  rootPath,
} from '../model/raw-path.ts'
import { asRaw, printableText } from '../base/raw-text.ts'
import type { RecordedChange } from '../model/transaction.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import { pathIn } from './workplace.ts'

export interface KeptAround {
  /** Names of packages that stay as they are, though the transactions changed them. */
  readonly staying: ReadonlySet<string>
  /** Of package systems: of what is in them, every package takes back its own part. */
  readonly databases: readonly RawPath[]
  /** Whether packages list it: a folder. */
  isListed(path: RawPath): boolean
}

const alternatives = pathIn(rootPath, '/var/lib/dpkg/alternatives')
const alternativeLinks = pathIn(rootPath, '/etc/alternatives')
/** Links to links; as many as path_resolution(7) has for a kernel of today. */
const linksMax = 40

/** The names of the packages that it may be of; undefined where it is none of theirs. */
export function maybeOf(
  around: KeptAround,
  transaction: ReadTransaction,
): (change: RecordedChange) => string | undefined {
  const { staying, databases, isListed } = around
  const names = [...new Set(transaction.document.packages.map(({ name }) => name))].filter((name) =>
    staying.has(name),
  )
  if (names.length === 0) return () => undefined
  const told = names.map(printableText).join(', ')
  const byPath = new Map(transaction.changes.map((change) => [change.path, change]))

  /** It came with a package that goes, or leads to what did: such as the link that enables its service. */
  function goes(path: RawPath, left = linksMax): boolean {
    const change = byPath.get(path) ?? byPath.get(asRaw(`/usr${path}`) as RawPath)
    if (change === undefined || change.before !== undefined || left === 0) return false
    const { owner, after } = change
    if ('package' in owner && owner.package !== undefined) return !staying.has(owner.package)
    const target = after?.linkTarget === undefined ? undefined : targetOf(path, after.linkTarget)
    return target !== undefined && goes(target, left - 1)
  }

  function isNobodys({ path, before, after, owner, preImage }: RecordedChange): boolean {
    if ('package' in owner && owner.package !== undefined) return false
    if (preImage.kind === 'regenerable' || ruleWhenChanged(path) !== undefined) return false
    if (isWithin(path, alternatives)) return !goes(joinPath(alternativeLinks, baseName(path)))
    if (databases.some((database) => isWithin(path, database))) return false
    // What comes back may lie in it.
    if ((after ?? before)?.type === 'dir') return after !== undefined && !isListed(path)
    return !goes(path)
  }

  return (change) => (isNobodys(change) ? told : undefined)
}

function targetOf(link: RawPath, target: string): RawPath | undefined {
  const parts: string[] = target.startsWith('/') ? [] : parentPath(link).split('/').slice(1)
  for (const part of target.split('/'))
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  return parseRawPath(asRaw(`/${parts.filter((part) => part !== '').join('/')}`))
}
