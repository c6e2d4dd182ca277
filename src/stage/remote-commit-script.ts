// The script that commits on another machine: it looks once more whether all is as it was seen, keeps the old things, and then goes on as recover.sh.
import { asRaw, type RawText } from '../base/raw-text.ts'
import { singleQuoted } from '../wire/quote.ts'
import { keptCounts } from './came-since.ts'
import type { Journal } from './journal.ts'
import { countFunction } from './recover-script.ts'
import { packOptions, unpackOptions } from './remote-stage-script.ts'

/** Something was changed meanwhile: nothing was done, and the journal is PREPARED. */
export const changedStatus = 64
/** The old things could not be kept: nothing was done. */
export const notKeptStatus = 65

/**
 * `vml_sums LIST GONE`: two sums of what stands at the paths of LIST (each ended by NUL), with and without the times of change, and in both what
 * lies in the folders of GONE. Times of folders change with what is in them.
 */
const sumsFunction = `vml_look() {
  xargs -0 sh -c 'find "$@" -maxdepth 0 \\( -type d -printf "%y %m %U %G %i %p\\0" -o -printf "$0 %p\\0" \\) 2>/dev/null; :' "$2" <"$1"
}
vml_inside() {
  xargs -0 sh -c '[ $# = 0 ] || find "$@" -mindepth 1 -printf "%p\\0" 2>/dev/null; :' sh <"$1" | sort -z
}
vml_sum() {
  { vml_look "$1" "$3"; vml_inside "$2"; } | sha256sum
}
vml_full='%y %m %U %G %s %T@ %C@ %i %l'
vml_lasting='%y %m %U %G %s %T@ %i %l'
`

/** `$1` and `$2`: the two lists. Prints both sums. */
export const sumsScript = `LC_ALL=C
export LC_ALL
${sumsFunction}
vml_sum "$1" "$2" "$vml_full"
vml_sum "$1" "$2" "$vml_lasting"`

export interface CommitMarks {
  readonly list: RawText
  readonly gone: RawText
  readonly full: string
  readonly lasting: string
}

/** What changes with a journal before its commit, and with nothing else. */
export function commitScript({ folder, keeps, steps, root }: Journal, marks: CommitMarks): Buffer {
  const quoted = (text: string) => singleQuoted(text)
  const { list, gone } = marks
  const nothing = steps.flatMap((step) => (step.kind === 'create' ? [`n ${quoted(step.path)}`] : []))
  const links = steps.flatMap((step) =>
    step.kind === 'replace' ? [`l ${quoted(step.path)} ${quoted(step.kept)}`] : [],
  )
  const synced = (keeps.length === 0 ? [root] : keeps.map((keep) => keep.folder)).map(quoted).join(' ')
  const text = `#!/bin/sh
# Written by VML: commits what lies ready, once. Until its state is COMMITTING nothing was changed; from then on recover.sh ends it, or takes it back.
set -u
LC_ALL=C
export LC_ALL
unset IFS
umask 077
trap '' HUP PIPE
J=${quoted(folder)}
changed() { printf '%s\\n' "$1" >&2; exit ${changedStatus}; }
failed() { printf '%s\\n' "$1" >&2; exit ${notKeptStatus}; }
n() { if [ -e "$1" ] || [ -L "$1" ]; then changed "$1"; fi; }
l() { ln -P -T "$1" "$2" || failed "$1"; }
state=
read -r state <"$J/state"
[ "$state" = PREPARED ] || failed "$J/state"
${sumsFunction}
list=${quoted(list)}
gone=${quoted(gone)}
[ "$(vml_sum "$list" "$gone" "$vml_full")" = ${quoted(`${marks.full}  -`)} ] || changed 'what it changes'
${nothing.join('\n')}
${links.join('\n')}
# What was linked is what was looked at.
[ "$(vml_sum "$list" "$gone" "$vml_lasting")" = ${quoted(`${marks.lasting}  -`)} ] || changed 'what it changes'
for folder in ${synced}; do sync -f "$folder" || failed "$folder"; done
mv -f "$J/state.COMMITTING" "$J/state" && sync "$J" || failed "$J/state"
exec /bin/sh "$J/recover.sh"
`
  return Buffer.from(text, 'latin1')
}

interface Copy {
  readonly from: RawText
  /** In a folder that keeps. */
  readonly to: RawText
}

/** Folders to keep things in, copies, and the first state. Nothing of the root is changed. `times` are of the folders above those that are made. */
export function prepareScript({ folder, keeps, steps }: Journal, copies: readonly Copy[]): RawText {
  // Each kept thing lies in a folder of its own, or of some, within one that keeps.
  const places = [
    ...steps.flatMap((step) => ('kept' in step ? [step.kept] : [])),
    ...copies.map(({ to }) => to),
  ]
  const placeFolders = new Set(places.map(parentText))
  const lines = [
    ...keeps.flatMap(({ made, aboveMtimeNs }) => {
      const [outermost] = made
      if (outermost === undefined) return []
      const above = outermost.slice(0, outermost.lastIndexOf('/')) || '/'
      return [
        ...made.map((each) => `mkdir -m 700 ${singleQuoted(each)}`),
        `touch -m -d @${secondsOf(aboveMtimeNs)} ${singleQuoted(above)}`,
      ]
    }),
    ...[...placeFolders].map((each) => `mkdir -p -m 700 ${singleQuoted(each)}`),
    ...copyLines(copies, keeps),
    ...keeps.map((keep) => `sync -f ${singleQuoted(keep.folder)}`),
  ]
  const journal = singleQuoted(folder)
  return asRaw(`set -eu
umask 077
sync -f ${journal}
${lines.join('\n')}
mv -f ${journal}/state.PREPARED ${journal}/state
sync ${journal}`)
}

/** For each file system in one go, since names of one file stay that in one archive alone; then each goes to its place. */
function copyLines(copies: readonly Copy[], keeps: Journal['keeps']): string[] {
  const keepOf = ({ to }: Copy) =>
    keeps.find(({ folder }) => to.startsWith(`${folder}/`))?.folder ?? parentText(to)
  return [...Map.groupBy(copies, keepOf)].flatMap(([folder, some]) => {
    const copied = `${folder}/copied`
    const quotedFolder = singleQuoted(asRaw(copied))
    return [
      `mkdir -m 700 ${quotedFolder}`,
      '{',
      ...some.map(({ from }) => `printf '%s\\0' ${singleQuoted(asRaw(from.slice(1)))}`),
      `} | tar -c -f - --null --verbatim-files-from --no-unquote ${packOptions} -C / -T - | tar -x -f - ${unpackOptions} -C ${quotedFolder}`,
      ...some.map(({ from, to }) => `mv -T ${singleQuoted(asRaw(copied + from))} ${singleQuoted(to)}`),
      `rm -r ${quotedFolder}`,
    ]
  })
}

function parentText(path: RawText): RawText {
  return asRaw(path.slice(0, path.lastIndexOf('/')))
}

function secondsOf(ns: bigint): string {
  const fraction = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n
  return `${(ns - fraction) / 1_000_000_000n}.${String(fraction).padStart(9, '0')}`
}

/**
 * The end of a journal: what was kept goes, then the journal, its state last. After a commit that ended, was taken back, or did not begin. Its state must
 * be one of those.
 */
export function forgetScript(journalThere: Journal): RawText {
  const { folder, keeps } = journalThere
  const looks = (keptCounts(journalThere) ?? []).map(
    (count, index) => `o ${singleQuoted(keeps[index]?.folder ?? folder)} ${count}`,
  )
  const journal = singleQuoted(folder)
  const made = keeps.flatMap((keep) => keep.made.toReversed())
  return asRaw(`J=${journal}
[ -d "$J" ] || exit 0
state=
[ ! -f "$J/state" ] || read -r state <"$J/state"
case $state in COMMITTING | TAKING-BACK) echo 'neither done nor taken back' >&2; exit 1 ;; esac
${countFunction}
# What came into a folder that went, through a process that still had it open, is in no record.
o() {
  found=$(kept_in "$1")
  [ $((\${found:-0})) -le "$2" ] || { printf 'something came into "%s" that was not kept there: move it to another place\\n' "$1" >&2; exit 1; }
}
if [ "$state" = COMMITTED ]; then :
${looks.join('\n')}
fi
if [ -f "$J/state" ] && [ "$state" != FORGOTTEN ]; then mv -f "$J/state.FORGOTTEN" "$J/state" && sync "$J" || exit; fi
for keep in ${keeps.map((keep) => singleQuoted(keep.folder)).join(' ')}; do
  [ ! -d "$keep" ] || find "$keep" -xdev -mindepth 1 -maxdepth 1 -exec rm -rf --one-file-system {} + || exit
done
${made.map((each) => `rmdir ${singleQuoted(each)} 2>/dev/null`).join('\n')}
sync -f "$J"
rm -rf "$J/try" "$J/recover.sh" "$J"/state.* "$J/steps" && sync "$J" && rm -f "$J/state" && { rmdir "$J" 2>/dev/null || :; }`)
}
