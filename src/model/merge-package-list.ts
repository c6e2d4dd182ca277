// Merges a package's list of files, `info/PACKAGE.list` of dpkg's database.
import { bothChanged, type TextMerge } from './merge-outcome.ts'
import { linesOf } from './merge-lines.ts'

/**
 * The list belongs to one version of the package and says nothing beside another one: where k and somebody later both moved the package,
 * it is a conflict, as its stanza in `status` is. But a package that was removed later has a list of its configuration files alone: what of
 * them was there before k stays.
 */
export const mergePackageList: TextMerge = ({ base, ours, theirs }) => {
  if (ours === undefined) return { kind: 'merged', text: undefined }
  if (base === undefined) return bothChanged
  const before = new Set(linesOf(base))
  const left = linesOf(ours)
  if (!left.every((line) => before.has(line))) return bothChanged
  if (theirs === undefined) return { kind: 'merged', text: undefined }
  const back = new Set(linesOf(theirs))
  return { kind: 'merged', text: left.filter((line) => back.has(line)).join('') }
}
