// recover.sh: ends or takes back a commit by a plain sh, where neither VML nor its Node may work any more.
import { asRaw, type RawText } from '../base/raw-text.ts'
import { baseName, rootPath } from '../model/raw-path.ts'
import { singleQuoted } from '../wire/quote.ts'
import { keptCounts } from './came-since.ts'
import { isMadeAnew } from './changed-since.ts'
import type { NodeType } from '../model/tree.ts'
import {
  attributesLeftFile,
  type AttributeState,
  type AttributeStep,
  type FolderTime,
  type Journal,
  type Stamps,
  type Step,
} from './journal.ts'
import { ownModes } from './set-attributes.ts'

/**
 * For dash, bash and busybox; POSIX but for `mv -T`, for which it has another way, and `test -ef`. It does the same steps as
 * `commit-step.ts`, told by the same marks, so that either goes on where the other one was cut off. What comes or goes in one folder is
 * moved by one call of mv, which makes one rename after the other; should that fail, step by step, so that the step is named. What it
 * cannot do: change places of a folder and something else in one call, so that the name is gone between two calls of mv; attributes of
 * what stays without setfattr (package attr), which it says, and leaves to `recover.ts`; fractions of seconds of folders with busybox. It takes a name of 4 KiB, as
 * the kernel does.
 *
 * A user who puts a link in the place of a folder leads it nowhere: it changes into each folder without links (cd -P), compares where it is
 * (getcwd(3)) with where it was to be, and calls what lies there by its name alone; a folder that was swapped later is still the same one.
 * What remains: the times of folders are set by their paths, right after such a look; a file that gets other rights and becomes a link right after it was looked at
 * leads chmod elsewhere (`commit-disk.ts` holds the file); where what is kept lies is only seen to be root's
 * own when it begins, which says nothing of a mount point that lies in a folder of a user; and root's own links are not followed, either.
 *
 * `afterwards` are commands that are due after it, in either direction. It only names them: a root that is mounted elsewhere is no place to run them, and
 * VML, which runs them, tells what of them fails.
 */
export function recoverScript(journal: Journal, afterwards: readonly string[] = []): Buffer {
  const places = placeNames(journal)
  const lines = [
    ...stepLines(journal.steps, places),
    ...(keptCounts(journal) ?? []).map((count, index) => `o "$k${index}" ${count}`),
    ...timeLines(journal.times),
  ]
  const head = places.assignments()
  const since = `since() { [ -z "$anew" ] || return; ${sinceTest(journal)}; }`
  return Buffer.from(
    [prologue, head, since, functions, ...lines, epilogue, ...sayLine(afterwards)].join('\n'),
    'latin1',
  )
}

/**
 * Whether a file, or a link, was written since the commit was prepared: a shell has no other means than to compare its time with that of a file of then. Nothing is
 * told where a file that comes or goes has a time in the future, or the journal no stamps.
 */
function sinceTest({ stamps }: Journal): string {
  const nowNs = BigInt(Date.now()) * 1_000_000n
  const isPast = ({ before, after }: Stamps) =>
    [before, after].every((stamp) => stamp === undefined || stamp.mtimeNs <= nowNs)
  if (stamps === undefined || ![...stamps.values()].every(isPast)) return 'false'
  // test(1) follows links.
  return 'if [ -L "$1" ]; then [ -n "$(find "$1" -prune -newer "$D/state" 2>/dev/null)" ]; else [ -f "$1" ] && [ "$1" -nt "$D/state" ]; fi'
}

const afterwardsMax = 20

function sayLine(commands: readonly string[]): string[] {
  if (commands.length === 0) return []
  const more = commands.length - afterwardsMax
  const named = [...commands.slice(0, afterwardsMax), ...(more > 0 ? [`and ${more} more`] : [])]
  const text = `What programs make of it is not made anew yet: vml tx recover does it, or type: ${named.join('; ')}`
  return [`say ${singleQuoted(text)}\n`]
}

interface PlaceNames {
  /** A word of sh for an absolute path. */
  word(path: RawText): string
  assignments(): string
}

/** Folders that thousands of lines begin with get a variable each. */
function placeNames({ root, keeps }: Journal): PlaceNames {
  const names = keeps.map(({ folder }, index) => ({ folder, name: `k${index}` }))
  return {
    word(path) {
      const keep = names.find(({ folder }) => path.startsWith(`${folder}/`))
      if (keep) return `"$${keep.name}"${quoted(path.slice(keep.folder.length))}`
      return `${inRoot(root, path) ? '"$R"' : ''}${quoted(withoutRoot(root, path))}`
    },
    assignments: () =>
      [
        `[ -n "$root_given" ] || R=${quoted(root === rootPath ? '' : root)}`,
        // Without links, as what is compared with it.
        'R=$(cd -P "$R/" && pwd -P) || exit 2',
        '[ "$R" != / ] || R=',
        ...names.map(
          ({ folder, name }) =>
            `${name}=${inRoot(root, folder) ? '"$R"' : ''}${quoted(withoutRoot(root, folder))}`,
        ),
        // Before anything is done: steps of a file system that is not mounted would look as if they were done already.
        ...names.map(({ name }) => `[ -d "$${name}" ] && [ -O "$${name}" ] || away "$${name}"`),
      ].join('\n'),
  }
}

function inRoot(root: RawText, path: RawText): boolean {
  return root === rootPath || path.startsWith(`${root}/`)
}

function withoutRoot(root: RawText, path: RawText): string {
  return root !== rootPath && inRoot(root, path) ? path.slice(root.length) : path
}

/**
 * A line stands where the first of its steps stood: a folder comes before what is put into it, and other steps do not touch each other.
 */
function stepLines(steps: readonly Step[], places: PlaceNames): string[] {
  const lines = new Map<string, string[]>()
  for (const step of steps) {
    const folders = folderWords(step, places)
    const line = `${step.kind !== 'attributes' && isMadeAnew(step.path) ? 'anew ' : ''}${folders ?? stepLine(step, places)}`
    const names = lines.get(line) ?? []
    if (folders !== undefined) names.push(quoted(baseName(step.path)))
    lines.set(line, names)
  }
  return [...lines].flatMap(([line, names]) => (names.length === 0 ? [line] : callsOf(line, names)))
}

/** As one call of mv takes them: the kernel gives the words of a program 128 KiB at least (execve(2)); a shell copies them often. */
const namesMax = 128
const wordBytesMax = 60_000

function callsOf(line: string, names: readonly string[]): string[] {
  const calls: string[] = []
  for (let from = 0; from < names.length;) {
    let to = from
    for (let bytes = 0; to < names.length && to - from < namesMax && bytes < wordBytesMax; to++)
      bytes += line.length + (names[to] ?? '').length
    calls.push([line, ...names.slice(from, to)].join(' '))
    from = to
  }
  return calls
}

/** Undefined where a thing has another name in another place: an older VML has written it, or the step is no plain move. */
function folderWords(step: Step, { word }: PlaceNames): string | undefined {
  const name = baseName(step.path)
  const at = quoted(step.path.slice(0, step.path.length - name.length - 1))
  const others = [...('made' in step ? [step.made] : []), ...('kept' in step ? [step.kept] : [])]
  if (others.some((other) => !other.endsWith(`/${name}`))) return undefined
  const folders = others.map((other) => word(asRaw(other.slice(0, other.length - name.length - 1))))
  switch (step.kind) {
    case 'create':
      return ['cs', at, ...folders].join(' ')
    case 'delete':
      return ['ds', at, ...folders].join(' ')
    case 'replace':
      return ['rs', at, ...folders].join(' ')
    case 'retype':
    case 'attributes':
      return undefined
  }
}

/** Folders that get one time have one call of touch. */
function timeLines(times: readonly FolderTime[]): string[] {
  const lines = new Map<string, string[]>()
  for (const [name, side] of [
    ['ta', 'afterNs'],
    ['tb', 'beforeNs'],
  ] as const)
    for (const time of times) {
      const ns = time[side]
      if (ns === undefined) continue
      const line = `${name} ${secondsOf(ns)}`
      lines.set(line, [...(lines.get(line) ?? []), quoted(time.path)])
    }
  return [...lines].flatMap(([line, paths]) => callsOf(line, paths))
}

function stepLine(step: Step, { word }: PlaceNames): string {
  const path = quoted(step.path)
  switch (step.kind) {
    case 'create':
      return `c ${path} ${word(step.made)}`
    case 'delete':
      return `d ${path} ${word(step.kept)}`
    case 'replace':
      return `r ${path} ${word(step.made)} ${word(step.kept)}`
    case 'retype':
      return `x ${path} ${word(step.made)} ${word(step.kept)} ${step.to}`
    case 'attributes':
      return attributeLines(step).join('\n')
  }
}

/** A name that one side has and the other has not is removed on the other. */
function attributeLines({ path, type, before, after }: AttributeStep): string[] {
  const thing = `${quoted(path)} ${typeTests[type]}`
  const modes = ownModes(before, after).map((mode) => modeWord(mode))
  const line = `f ${thing} ${stateWords(after)} ${stateWords(before)} '${modes.join(' ')}'`
  const had = new Map((before.xattrs ?? []).map(({ name, value }) => [name, value]))
  const gets = new Map((after.xattrs ?? []).map(({ name, value }) => [name, value]))
  const lines = [...new Set([...had.keys(), ...gets.keys()])].map(
    (name) => `a ${thing} ${quoted(name)} ${hexWord(gets.get(name))} ${hexWord(had.get(name))}`,
  )
  // Last, as `setAttributes`: rights that were set before would change what an ACL is, which nobody would know again.
  return [line, ...lines, `m ${thing} ${modeWord(after.mode)} ${modeWord(before.mode)}`]
}

/** As test(1) asks for them. */
const typeTests: Readonly<Record<NodeType, string>> = {
  dir: 'd',
  file: 'f',
  symlink: 'L',
  fifo: 'p',
  socket: 'S',
  dev: 'b',
  chardev: 'c',
  irregular: 'e',
}

function stateWords({ mode, uid, gid }: AttributeState): string {
  return `${modeWord(mode)} ${uid}:${gid}`
}

/** Five digits: fewer leave the bits of setgid of a folder as they are. */
function modeWord(mode: number): string {
  return mode.toString(8).padStart(5, '0')
}

function hexWord(value: Uint8Array | undefined): string {
  return value === undefined ? "''" : `0x${Buffer.from(value).toString('hex')}`
}

function secondsOf(ns: bigint): string {
  const fraction = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n
  return `${(ns - fraction) / 1_000_000_000n}.${String(fraction).padStart(9, '0')}`
}

function quoted(text: string): string {
  return /^[A-Za-z0-9_./:=@+,-]+$/.test(text) ? text : singleQuoted(text)
}

/** Where it finds out what mv can do; is left there when it is cut off. */
export const trialFolder = 'try'

const prologue = `#!/bin/sh
# Ends a commit of VML that was cut off, or takes it back. Written by VML for this one commit; needs neither VML nor Node.
#   sh recover.sh                       goes on in the direction in which it was cut off
#   sh recover.sh --backward            takes it back, also where it had ended
#   sh recover.sh --forward             ends it
#   sh recover.sh [--backward] /mnt     the system is mounted at /mnt
# Exit status: 0 done, or nothing to do; 1 a step failed, which is named; 2 wrong use.
set -u
LC_ALL=C
export LC_ALL
unset IFS
say() { printf 'recover.sh: %s\\n' "$*" >&2; }
away() { say "Cannot begin: \\"$1\\" is not there; nothing was changed: mount the file system that has it, and repeat"; exit 1; }
case $0 in */*) D=\${0%/*} ;; *) D=. ;; esac
D=$(cd -P "$D/" && pwd -P) || exit 2
direction= R= root_given=
for word; do
  case $word in
    --forward | --backward) direction=\${word#--} ;;
    /*) R=\${word%/} root_given=1 ;;
    *) say "Cannot understand \\"$word\\"; usage: recover.sh [--forward|--backward] [ROOT]"; exit 2 ;;
  esac
done
state=
[ ! -f "$D/state" ] || read -r state <"$D/state"
case $state:$direction in
  COMMITTING: | COMMITTING:forward) direction=forward ;;
  COMMITTING:backward | COMMITTED:backward | TAKING-BACK: | TAKING-BACK:backward) direction=backward ;;
  TAKING-BACK:forward) say 'Cannot end the commit: it is being taken back already'; exit 2 ;;
  PREPARED:forward | :forward | TAKEN-BACK:forward) say 'Cannot end the commit: nothing of it was done'; exit 2 ;;
  FORGOTTEN:backward) say 'Cannot take the commit back: what it kept is not there any more'; exit 2 ;;
  PREPARED:* | TAKEN-BACK:* | :*) say 'Nothing to do: everything is as it was before the commit'; exit 0 ;;
  COMMITTED:* | FORGOTTEN:*) say 'Nothing to do: the commit is done'; exit 0 ;;
  *) say "Cannot read the state: $state"; exit 2 ;;
esac`

/** In a folder that keeps lie folders, and in those what is kept. Without find, nothing is told. */
export const countFunction = `kept_in() {
  (cd "$1" && find . -xdev -path './*/*' -exec sh -c 'for each; do echo; done' sh {} + | wc -l) 2>/dev/null
}`

const functions = `${countFunction}
there() { [ -e "$1" ] || [ -L "$1" ]; }
folder() { [ -d "$1" ] && [ ! -L "$1" ]; }
# What programs make anew may have been, and is taken for what the commit put there.
anew=
anew() { anew=1; "$@"; anew=; }
unchanged() {
  ! since "$n" || { say "\\"$R$1\\" was written to since; nothing is lost: --backward takes the commit back, and leaves it as it is"; exit 1; }
}
# What somebody wrote since stays, and what was kept of before has a name beside it.
beside() {
  old=$2.old number=0
  while there "$old"; do number=$((number + 1)) old=$2.old.$number; done
  move "$1" "$old" || stop "$R$3"
  say "\\"$R$3\\" was written to since, and stays as it is; what was there before lies beside it, as \\"\${old#./}\\""
}
stop() { say "Cannot go on at \\"$1\\"; nothing is lost: remove the cause and repeat, or try the other direction"; exit 1; }
enter() {
  [ ! -f "$D/state.$1" ] || mv -f "$D/state.$1" "$D/state" || stop "$D/state"
  sync -f "$D" 2>/dev/null || sync
}
# In these shells PWD is what getcwd(3) tells after the folder was changed; others work it out before.
case \${BASH_VERSION-}\${KSH_VERSION-}\${ZSH_VERSION-} in
  '') here() { now=$PWD; } ;;
  *) here() { now=$(env pwd -P && echo x) && now=\${now%?x}; } ;;
esac
# Into a folder of the root: from then on it is this one, whatever becomes of its name. 1: there is none; 2: a link leads elsewhere.
go() {
  [ "$1" != / ] || set -- ''
  cd -P "$R$1/" 2>/dev/null || return 1
  here && { [ "$now" = "$R$1" ] || [ "$now$R$1" = / ]; } || return 2
}
# Into the folder of a path, of which n is then the name.
at() {
  go "\${1%/*}" || case $? in
    2) say "\\"$R\${1%/*}\\" leads to \\"$now\\" now"; stop "$R$1" ;;
    *) stop "$R$1" ;;
  esac
  n=./\${1##*/}
}
# mv to a link that leads to a folder would move into that folder; not every mv that knows -T then replaces the link.
try() { rm -rf "$D/${trialFolder}" && mkdir "$D/${trialFolder}" && mkdir "$D/${trialFolder}/folder" && ln -s folder "$D/${trialFolder}/link" && : >"$D/${trialFolder}/file"; }
try || stop "$D/${trialFolder}"
if mv -f -T "$D/${trialFolder}/file" "$D/${trialFolder}/link" 2>/dev/null && [ ! -L "$D/${trialFolder}/link" ]; then
  move() { mv -f -T "$1" "$2"; }
else
  move() {
    if [ -L "$2" ]; then rm -f "$2" || return; fi
    if folder "$2"; then return 1; fi
    mv -f "$1" "$2"
  }
fi
# And what touch can.
for touch in 'touch -m -d @1.5' 'touch -m -d @1' 'touch -d @1' :; do ! $touch "$D/${trialFolder}" 2>/dev/null || break; done
rm -rf "$D/${trialFolder}"
# In this place nothing stands yet.
move_new() {
  if there "$2"; then
    case $2 in ./*) say "\\"$now/\${2#./}\\" is there already" ;; *) say "\\"$2\\" is there already" ;; esac
    return 1
  fi
  move "$1" "$2"
}
# What is not there any more is no failure.
touch_at() {
  time=$1
  shift
  for at; do
    shift
    ! go "$at" || set -- "$@" "$R$at/"
  done
  [ $# = 0 ] || case $touch in
    *.5) touch -m -d "@$time" "$@" || : ;;
    :) ;;
    *) \${touch% @1} "@\${time%.*}" "$@" || : ;;
  esac
}
# Things go into a folder under their own names.
into() {
  to=$1
  shift
  [ $# = 0 ] || mv -f "$@" "$to/" 2>/dev/null
}
# Into the folder of a path or, where it is a folder itself, into that.
on() { if [ "$2" = d ]; then at "$1/"; else at "$1"; fi; }
is_type() { [ "-$1" "$n" ] && { [ "$1" = L ] || [ ! -L "$n" ]; }; }
# Not every find can tell whose a thing is.
can_tell=$(find "$D" -prune \\( -user 0 -o ! -user 0 \\) \\( -group 0 -o ! -group 0 \\) \\( -perm 0 -o ! -perm 0 \\) 2>/dev/null)
# What it had, what it gets, or what was cut off between both: type, both owners, all modes.
own_state() {
  is_type "$1" || return
  [ -n "$can_tell" ] || return 0
  one=$2 other=$3 found=
  for mode in $4; do found="$found\${found:+ -o }-perm $mode"; done
  [ "$1" != L ] || found='-type l'
  [ -n "$(find "$n" -prune \\( -user "\${one%:*}" -o -user "\${other%:*}" \\) \\( -group "\${one#*:}" -o -group "\${other#*:}" \\) \\( $found \\) 2>/dev/null)" ]
}
# A new owner takes capabilities away, which are set again after it; none where the owner stays.
set_owner() { [ "$2" = "$3" ] || chown -h "$2" "$n" || stop "$R$1"; }
set_mode() {
  on "$1" "$2"
  [ "$2" = L ] || { is_type "$2" && chmod "$3" "$n"; } || stop "$R$1"
}
set_attribute() {
  on "$1" "$2"
  if ! command -v setfattr >/dev/null 2>&1; then
    say "The attribute $3 of \\"$R$1\\" is not set: setfattr (package attr) is missing; vml tx recover sets it"
    : >"$D/${attributesLeftFile}" || stop "$R$1"
  elif [ -n "$4" ]; then
    setfattr -h -n "$3" -v "$4" "$n" || stop "$R$1"
  else
    setfattr -h -x "$3" "$n" 2>/dev/null || :
  fi
}
changed=
if [ $direction = forward ]; then
  enter COMMITTING
  c() {
    there "$2" || return 0
    at "$1"
    move_new "$2" "$n" || stop "$R$1"
  }
  d() {
    ! there "$2" || return 0
    at "$1"
    unchanged "$1"
    move "$n" "$2" || stop "$R$1"
  }
  r() {
    there "$2" || return 0
    there "$3" || stop "$R$1"
    at "$1"
    unchanged "$1"
    move "$2" "$n" || stop "$R$1"
  }
  x() {
    if [ "$4" = folder ]; then is_new() { folder "$1"; }; else is_new() { there "$1" && ! folder "$1"; }; fi
    # Half taken back before: the new thing lies where the old one was kept.
    if is_new "$3"; then move_new "$3" "$2" || stop "$R$1"; fi
    # Exchanged: the old thing lies where the new one was made.
    if there "$2" && ! is_new "$2"; then move_new "$2" "$3" || stop "$R$1"; fi
    there "$2" || return 0
    at "$1"
    if ! there "$3"; then
      unchanged "$1"
      move_new "$n" "$3" || stop "$R$1"
    fi
    move_new "$2" "$n" || stop "$R$1"
  }
  f() {
    on "$1" "$2"
    own_state "$2" "$4" "$6" "$7" || { say "\\"$R$1\\" got other rights, or another owner, since; nothing is lost: --backward takes the commit back, and leaves it as it is"; exit 1; }
    set_owner "$1" "$4" "$6"
  }
  a() { set_attribute "$1" "$2" "$3" "$4"; }
  m() { set_mode "$1" "$2" "$3"; }
  cs_at_once() {
    go "$1" || return
    made=$2
    shift 2
    for name; do
      shift
      there "$made/$name" || continue
      ! there "./$name" || return 1
      set -- "$@" "$made/$name"
    done
    into . "$@"
  }
  ds_at_once() {
    go "$1" || return
    kept=$2
    shift 2
    for name; do
      shift
      there "$kept/$name" && continue
      ! since "./$name" || return 1
      set -- "$@" "./$name"
    done
    into "$kept" "$@"
  }
  rs_at_once() {
    go "$1" || return
    made=$2 kept=$3
    shift 3
    for name; do
      shift
      there "$made/$name" || continue
      there "$kept/$name" && ! since "./$name" || return 1
      set -- "$@" "$made/$name"
    done
    into . "$@"
  }
  # What came into a folder that goes is in no record.
  o() {
    found=$(kept_in "$1")
    [ $((\${found:-0})) -le "$2" ] || {
      say "Something came into a folder that goes, and lies in \\"$1\\" now; nothing is lost: --backward takes the commit back, and all is at its place again"
      exit 1
    }
  }
  ta() { touch_at "$@"; }
  tb() { :; }
else
  enter TAKING-BACK
  c() {
    ! there "$2" || return 0
    # The folder may have gone back already, with all that was put into it.
    go "\${1%/*}" || [ $? = 2 ] || return 0
    at "$1"
    there "$n" || return 0
    if since "$n"; then
      say "\\"$R$1\\" was written to since, and stays as it is"
      return
    fi
    move "$n" "$2" || stop "$R$1"
  }
  # Whatever has its name by now is somebody else's, but for a cache that a program made anew.
  d() {
    there "$2" || return 0
    at "$1"
    if there "$n" && { [ -z "$anew" ] || folder "$n" || folder "$2"; }; then
      beside "$2" "$n" "$1"
      return
    fi
    move "$2" "$n" || stop "$R$1"
  }
  r() {
    there "$3" || return 0
    at "$1"
    # Not replaced yet: the old thing has two names, between which mv does nothing.
    if there "$2" && there "$n"; then
      if [ -L "$n" ] || { [ ! -L "$3" ] && [ "$n" -ef "$3" ]; }; then rm -f "$3"; return; fi
      # Neither the old nor the new thing: what came since stays.
      [ "$n" -ef "$2" ] || return 0
    elif since "$n" || folder "$n"; then
      beside "$3" "$n" "$1"
      return
    fi
    move "$3" "$n" || stop "$R$1"
  }
  x() {
    if [ "$4" = folder ]; then is_new() { folder "$1"; }; else is_new() { there "$1" && ! folder "$1"; }; fi
    if is_new "$3"; then move_new "$3" "$2" || stop "$R$1"; return; fi
    # Exchanged: the old thing lies where the new one was made.
    if ! there "$3" && there "$2" && ! is_new "$2"; then move_new "$2" "$3" || stop "$R$1"; fi
    there "$3" || return 0
    at "$1"
    if since "$n" || { there "$n" && { ! is_new "$n" || there "$2"; }; }; then
      beside "$3" "$n" "$1"
      return
    fi
    if there "$n"; then move_new "$n" "$2" || stop "$R$1"; fi
    move_new "$3" "$n" || stop "$R$1"
  }
  f() {
    changed=
    on "$1" "$2"
    own_state "$2" "$4" "$6" "$7" || { say "\\"$R$1\\" got other rights, or another owner, since, and stays as it is"; changed=$1; return; }
    set_owner "$1" "$6" "$4"
  }
  a() { [ "$changed" = "$1" ] || set_attribute "$1" "$2" "$3" "$5"; }
  m() { [ "$changed" = "$1" ] || set_mode "$1" "$2" "$4"; }
  cs_at_once() {
    go "$1" || return
    made=$2
    shift 2
    for name; do
      shift
      there "$made/$name" && continue
      there "./$name" || continue
      ! since "./$name" || return 1
      set -- "$@" "./$name"
    done
    into "$made" "$@"
  }
  ds_at_once() {
    go "$1" || return
    kept=$2
    shift 2
    for name; do
      shift
      there "$kept/$name" || continue
      ! there "./$name" || return 1
      set -- "$@" "$kept/$name"
    done
    into . "$@"
  }
  # As r tells each: those that were not replaced yet lose their second name, then the others are put back.
  rs_at_once() {
    go "$1" || return
    made=$2 kept=$3
    shift 3
    second_names "$@"
    for name; do
      shift
      there "$kept/$name" || continue
      if there "$made/$name" && there "./$name"; then
        [ "./$name" -ef "$made/$name" ] || continue
      else
        ! since "./$name" && ! folder "./$name" || return 1
      fi
      set -- "$@" "$kept/$name"
    done
    into . "$@"
  }
  second_names() {
    for name; do
      shift
      there "$kept/$name" && there "$made/$name" && there "./$name" || continue
      if [ -L "./$name" ] || { [ ! -L "$kept/$name" ] && [ "./$name" -ef "$kept/$name" ]; }; then set -- "$@" "$kept/$name"; fi
    done
    [ $# = 0 ] || rm -f "$@"
  }
  o() { :; }
  ta() { :; }
  tb() { touch_at "$@"; }
fi
# One by one where that failed.
cs() {
  cs_at_once "$@" && return
  live=$1 made=$2
  shift 2
  for name; do c "$live/$name" "$made/$name"; done
}
ds() {
  ds_at_once "$@" && return
  live=$1 kept=$2
  shift 2
  for name; do d "$live/$name" "$kept/$name"; done
}
rs() {
  rs_at_once "$@" && return
  live=$1 made=$2 kept=$3
  shift 3
  for name; do r "$live/$name" "$made/$name" "$kept/$name"; done
}
# What is to be done, in order; each line does what of it is still to do.`

const epilogue = `sync
if [ $direction = forward ]; then enter COMMITTED; say 'Done: the commit is ended'; else enter TAKEN-BACK; say 'Done: the commit is taken back'; fi
`
