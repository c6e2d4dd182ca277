// Takes back what a transaction made of a file that was changed again since: by its meaning, with every later change left in place.
import { asRaw, rawFromBytes, rawToBytes, type RawText } from '../base/raw-text.ts'
import { accountFileOf, mergeAccounts } from './merge-accounts.ts'
import { mergeAlternative } from './merge-alternatives.ts'
import { mergeDebconf } from './merge-debconf.ts'
import { mergeLines, mergeSingleLines } from './merge-lines.ts'
import {
  bothChanged,
  type MergeOutcome,
  type MergeSides,
  type TextMerge,
  type TextOutcome,
} from './merge-outcome.ts'
import { mergePackageList } from './merge-package-list.ts'
import { mergeSections } from './merge-sections.ts'
import { mergePackageTable, mergeStatus } from './merge-status.ts'
import {
  mergeDiversions,
  mergeLineSet,
  mergePathTable,
  mergeStatoverride,
  mergeUnincorporated,
} from './merge-table.ts'
import type { RawPath } from './raw-path.ts'

/** `available` of a machine with dselect has 60 MB; three sides of it are text in memory at once. */
export const mergeBytesMax = 96 * 1024 * 1024

/**
 * What the file must be for k never to have been: later changes (ours against base) are all in it. A file that was taken out later stays
 * out, unless it is one of records, of which k had taken out others. Nothing of a conflict may be written without being told: `partial` is an offer.
 */
export function mergeFile(path: RawPath, sides: MergeSides<Buffer>): MergeOutcome {
  const { base, ours, theirs } = sides
  if (isSame(ours, base)) return { kind: 'merged', bytes: theirs }
  if (isSame(theirs, base) || isSame(ours, theirs)) return { kind: 'merged', bytes: ours }
  const present = [base, ours, theirs].filter((side) => side !== undefined)
  if (present.some(({ length }) => length > mergeBytesMax)) return { ...noPlaces, reason: 'too-large' }
  const texts = { base: textOf(base), ours: textOf(ours), theirs: textOf(theirs) }
  const merge = mergerOf(path, present.some((side) => side.includes(0)) ? 'binary' : 'text')
  return bytesOf(merge(texts), ours)
}

/** Whether there is a merger that knows what the file means: contents after k are kept with the record for these. */
export function isMergedByMeaning(path: RawPath): boolean {
  return knownMerger(path) !== undefined || isConfiguration(path)
}

function mergerOf(path: RawPath, content: 'text' | 'binary'): TextMerge {
  if (content === 'binary') return mergeWhole
  if (singleLines.test(path)) return mergeSingle
  return knownMerger(path) ?? (isConfiguration(path) ? mergeConfiguration : mergeWhole)
}

const knownMergers: readonly { readonly path: RegExp; readonly merge: TextMerge }[] = [
  { path: /^\/var\/lib\/dpkg\/status$/, merge: mergeStatus },
  { path: /^\/var\/lib\/dpkg\/status\.d\/[^/]+$/, merge: mergeStatus },
  { path: /^\/var\/lib\/dpkg\/available$/, merge: mergePackageTable },
  { path: /^\/var\/lib\/apt\/extended_states$/, merge: mergePackageTable },
  { path: /^\/var\/cache\/debconf\/(?:config|templates|passwords)\.dat$/, merge: mergeDebconf },
  { path: /^\/var\/lib\/dpkg\/diversions$/, merge: mergeDiversions },
  { path: /^\/var\/lib\/dpkg\/statoverride$/, merge: mergeStatoverride },
  { path: /^\/var\/lib\/dpkg\/triggers\/Unincorp$/, merge: mergeUnincorporated },
  { path: /^\/var\/lib\/dpkg\/triggers\/[^/]+$/, merge: mergeLineSet },
  { path: /^\/var\/lib\/dpkg\/arch$/, merge: mergeLineSet },
  { path: /^\/var\/lib\/dpkg\/info\/[^/]+\.list$/, merge: mergePackageList },
  { path: /^\/var\/lib\/(?:dpkg\/)?alternatives\/[^/]+$/, merge: mergeAlternative },
  { path: /^\/var\/lib\/ucf\/(?:hashfile|registry)$/, merge: mergePathTable },
  { path: /^\/var\/lib\/systemd\/deb-systemd-(?:user-)?helper-(?:enabled|masked)\/.+$/, merge: mergeLineSet },
  // dnf5's: why a package is there, and where from, a line for each.
  {
    path: /^\/usr\/lib\/sysimage\/libdnf5\/(?:environments|groups|modules|nevras|packages)\.toml$/,
    merge: mergeSections,
  },
  { path: /^\/etc\/shells$|^\/var\/lib\/shells\.state$/, merge: mergeLineSet },
]

function knownMerger(path: RawPath): TextMerge | undefined {
  const file = accountFileOf(path)
  if (file !== undefined) return mergeAccounts(file)
  return knownMergers.find((known) => known.path.test(path))?.merge
}

/** What people write line by line. Program files are none of it: two versions of one, mixed, would be a third that nobody made. */
function isConfiguration(path: RawPath): boolean {
  if (wholeFormats.test(path)) return false
  return (
    configurationFolders.test(path) || (/\.(?:conf|cfg|cnf|ini)$/.test(path) && !programFolders.test(path))
  )
}

const configurationFolders =
  /^\/etc\/|^\/usr\/local\/etc\/|^\/opt\/[^/]+\/etc\/|^\/var\/lib\/pam\/|^\/var\/spool\/cron\/|^\/(?:root|home\/[^/]+)\/\.[^/]/
const programFolders = /^\/(?:usr|lib|lib32|lib64|libx32|bin|sbin|boot)\/|^\/opt\/|^\/var\/lib\/dpkg\//
/** Nested formats, in which two changes far apart can still be one. */
const wholeFormats = /\.(?:json|jsonc|xml|plist|gpg|asc|pem|crt|key|der|db|so)$/

/** Lists in which a line means the same wherever it stands. Files of jobs are none: what they set is for the lines below. */
const singleLines =
  /^\/etc\/(?:hosts|networks|ethers|services|protocols|rpc|fstab|crypttab|modules|locale\.gen|apt\/sources\.list|(?:modules-load\.d|apt\/sources\.list\.d)\/[^/]+\.(?:conf|list))$/

const mergeConfiguration: TextMerge = (sides) => {
  if (sides.ours === undefined) return mergeWhole(sides)
  const byLines = mergeLines(sides)
  if (byLines.kind === 'merged') return byLines
  const bySections = mergeSections(sides)
  return bySections.kind === 'merged' || bySections.keys !== undefined ? bySections : byLines
}

const mergeSingle: TextMerge = (sides) =>
  sides.ours === undefined ? mergeWhole(sides) : mergeSingleLines(sides)

const mergeWhole: TextMerge = ({ ours }) =>
  ours === undefined ? { kind: 'merged', text: undefined } : bothChanged

const noPlaces = { kind: 'conflict', keys: [], lines: [] } as const

function bytesOf(outcome: TextOutcome, ours: Buffer | undefined): MergeOutcome {
  if (outcome.kind === 'merged')
    return { kind: 'merged', bytes: outcome.text === undefined ? undefined : rawToBytes(asRaw(outcome.text)) }
  const partial = outcome.partial === undefined ? ours : rawToBytes(asRaw(outcome.partial))
  return {
    kind: 'conflict',
    reason: outcome.reason,
    keys: (outcome.keys ?? []).map(asRaw),
    lines: outcome.lines ?? [],
    ...(partial === undefined || isSame(partial, ours) ? {} : { partial }),
  }
}

function textOf(bytes: Buffer | undefined): RawText | undefined {
  return bytes === undefined ? undefined : rawFromBytes(bytes)
}

function isSame(one: Buffer | undefined, other: Buffer | undefined): boolean {
  return one === undefined || other === undefined ? one === other : one.equals(other)
}
