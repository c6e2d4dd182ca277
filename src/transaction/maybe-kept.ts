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
  /** In which all diversions that it changed are of those that stay. */
  readonly divertedByKept: ReadonlySet<ReadTransaction>
  /** Whether packages list it: a folder. */
  isListed(path: RawPath): boolean
}

export const diversionsPath = pathIn(rootPath, '/var/lib/dpkg/diversions')
const statoverride = pathIn(rootPath, '/var/lib/dpkg/statoverride')
const alternatives = pathIn(rootPath, '/var/lib/dpkg/alternatives')
const alternativeLinks = pathIn(rootPath, '/etc/alternatives')
/** Links to links; as many as path_resolution(7) has for a kernel of today. */
const linksMax = 40

/** The names of the packages that it may be of; undefined where it is none of theirs. */
export function maybeOf(
  around: KeptAround,
  transaction: ReadTransaction,
): (change: RecordedChange) => string | undefined {
  const { staying, databases, divertedByKept, isListed } = around
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
    if (path === diversionsPath) return divertedByKept.has(transaction)
    // It names users, and those stay: dpkg does nothing any more where one of them is gone.
    if (path === statoverride) return true
    if (databases.some((database) => isWithin(path, database))) return false
    // What comes back may lie in it.
    if ((after ?? before)?.type === 'dir') return after !== undefined && !isListed(path)
    return !goes(path)
  }

  return (change) => (isNobodys(change) ? told : undefined)
}

/** Whose the diversions are that differ; `both` can be taken back together only. dpkg-divert(1): three lines each, the last one the package. */
export function whoseDiversions(
  before: string,
  after: string,
  staying: ReadonlySet<string>,
): 'none' | 'kept' | 'others' | 'both' {
  const [was, is] = [diversionsIn(before), diversionsIn(after)]
  const news = [...[...was].filter((each) => !is.has(each)), ...[...is].filter((each) => !was.has(each))]
  const changed = news.map((each) => each.split('\n')[2] ?? '')
  const kept = changed.filter((name) => staying.has(name)).length
  if (changed.length === 0) return 'none'
  return kept === 0 ? 'others' : kept === changed.length ? 'kept' : 'both'
}

function diversionsIn(text: string): Set<string> {
  const lines = text.split('\n').filter((line) => line !== '')
  return new Set(
    Array.from({ length: Math.ceil(lines.length / 3) }, (_, at) =>
      lines.slice(at * 3, at * 3 + 3).join('\n'),
    ),
  )
}

function targetOf(link: RawPath, target: string): RawPath | undefined {
  const parts: string[] = target.startsWith('/') ? [] : parentPath(link).split('/').slice(1)
  for (const part of target.split('/'))
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  return parseRawPath(asRaw(`/${parts.filter((part) => part !== '').join('/')}`))
}
