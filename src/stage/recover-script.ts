// recover.sh: ends or takes back a commit by a plain sh, where neither VML nor its Node may work any more.
import type { RawText } from '../base/raw-text.ts'
import { rootPath } from '../model/raw-path.ts'
import { singleQuoted } from '../wire/quote.ts'
import type { FolderState, Journal, Step } from './journal.ts'

/**
 * For dash, bash and busybox; POSIX but for `mv -T`, for which it has another way, and `test -ef`. It does the same steps as
 * `commit-step.ts`, told by the same marks, so that either goes on where the other one was cut off. What it cannot do: change places
 * of a folder and something else in one call, so that the name is gone between two calls of mv; attributes of folders without setfattr
 * (package attr), which it says; fractions of seconds of folders with busybox. It takes a name of 4 KiB, as the kernel does.
 */
export function recoverScript(journal: Journal): Buffer {
  const places = placeNames(journal)
  const lines = [
    ...journal.steps.map((step) => stepLine(step, places)),
    ...journal.times.map(
      ({ path, beforeNs, afterNs }) => `t ${quoted(path)} ${secondsOf(afterNs)} ${secondsOf(beforeNs)}`,
    ),
  ]
  const head = places.assignments()
  return Buffer.from([prologue, head, functions, ...lines, epilogue].join('\n'), 'latin1')
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
        ...names.map(
          ({ folder, name }) =>
            `${name}=${inRoot(root, folder) ? '"$R"' : ''}${quoted(withoutRoot(root, folder))}`,
        ),
        // Before anything is done: steps of a file system that is not mounted would look as if they were done already.
        ...names.map(({ name }) => `[ -d "$${name}" ] || away "$${name}"`),
      ].join('\n'),
  }
}

function inRoot(root: RawText, path: RawText): boolean {
  return root === rootPath || path.startsWith(`${root}/`)
}

function withoutRoot(root: RawText, path: RawText): string {
  return root !== rootPath && inRoot(root, path) ? path.slice(root.length) : path
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
    case 'folder':
      return [
        `f ${path} ${stateWords(step.after)} ${stateWords(step.before)}`,
        ...attributeLines(step.path, step),
      ].join('\n')
  }
}

/** A name that one side has and the other has not is removed on the other. */
function attributeLines(
  path: RawText,
  { before, after }: { before: FolderState; after: FolderState },
): string[] {
  const had = new Map((before.xattrs ?? []).map(({ name, value }) => [name, value]))
  const gets = new Map((after.xattrs ?? []).map(({ name, value }) => [name, value]))
  const lines = [...new Set([...had.keys(), ...gets.keys()])].map(
    (name) => `a ${quoted(path)} ${quoted(name)} ${hexWord(gets.get(name))} ${hexWord(had.get(name))}`,
  )
  // An ACL changes the rights of the group, which are set again.
  return lines.length === 0 ? [] : [...lines, `f ${quoted(path)} ${stateWords(after)} ${stateWords(before)}`]
}

function stateWords({ mode, uid, gid }: FolderState): string {
  return `${mode.toString(8).padStart(5, '0')} ${uid}:${gid}`
}

function hexWord(value: Uint8Array | undefined): string {
  return value === undefined ? "''" : `0x${Buffer.from(value).toString('hex')}`
}

function secondsOf(ns: bigint | undefined): string {
  if (ns === undefined) return "''"
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

const functions = `there() { [ -e "$1" ] || [ -L "$1" ]; }
folder() { [ -d "$1" ] && [ ! -L "$1" ]; }
stop() { say "Cannot go on at \\"$1\\"; nothing is lost: remove the cause and repeat, or try the other direction"; exit 1; }
enter() {
  [ ! -f "$D/state.$1" ] || mv -f "$D/state.$1" "$D/state" || stop "$D/state"
  sync -f "$D" 2>/dev/null || sync
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
rm -rf "$D/${trialFolder}"
# In this place nothing stands yet.
move_new() {
  if there "$2"; then say "\\"$2\\" is there already"; return 1; fi
  move "$1" "$2"
}
touch_at() { touch -m -d "@$2" "$1" 2>/dev/null || touch -m -d "@\${2%.*}" "$1" 2>/dev/null || touch -d "@\${2%.*}" "$1" 2>/dev/null || :; }
set_folder() {
  folder "$1" || stop "$1"
  chown "$3" "$1" && chmod "$2" "$1" || stop "$1"
}
set_attribute() {
  if ! command -v setfattr >/dev/null 2>&1; then
    say "The attribute $2 of \\"$1\\" stays as it is: setfattr (package attr) is missing"
  elif [ -n "$3" ]; then
    setfattr -h -n "$2" -v "$3" "$1" || stop "$1"
  else
    setfattr -h -x "$2" "$1" 2>/dev/null || :
  fi
}
if [ $direction = forward ]; then
  enter COMMITTING
  c() { if there "$2"; then move_new "$2" "$R$1" || stop "$R$1"; fi; }
  d() { if ! there "$2"; then move "$R$1" "$2" || stop "$R$1"; fi; }
  r() {
    there "$2" || return 0
    there "$3" || stop "$R$1"
    move "$2" "$R$1" || stop "$R$1"
  }
  x() {
    if [ "$4" = folder ]; then is_new() { folder "$1"; }; else is_new() { there "$1" && ! folder "$1"; }; fi
    # Half taken back before: the new thing lies where the old one was kept.
    if is_new "$3"; then move_new "$3" "$2" || stop "$R$1"; fi
    # Exchanged: the old thing lies where the new one was made.
    if there "$2" && ! is_new "$2"; then move_new "$2" "$3" || stop "$R$1"; fi
    there "$2" || return 0
    if ! there "$3"; then move_new "$R$1" "$3" || stop "$R$1"; fi
    move_new "$2" "$R$1" || stop "$R$1"
  }
  f() { set_folder "$R$1" "$2" "$3"; }
  a() { set_attribute "$R$1" "$2" "$3"; }
  t() { [ -z "$2" ] || touch_at "$R$1" "$2"; }
else
  enter TAKING-BACK
  c() { if ! there "$2" && there "$R$1"; then move "$R$1" "$2" || stop "$R$1"; fi; }
  d() { if there "$2"; then move_new "$2" "$R$1" || stop "$R$1"; fi; }
  r() {
    there "$3" || return 0
    # Not replaced yet: the old thing has two names, between which mv does nothing.
    if there "$2" && there "$R$1"; then
      if [ -L "$R$1" ] || { [ ! -L "$3" ] && [ "$R$1" -ef "$3" ]; }; then rm -f "$3"; return; fi
      # Neither the old nor the new thing: what came since stays.
      [ "$R$1" -ef "$2" ] || return 0
    fi
    move "$3" "$R$1" || stop "$R$1"
  }
  x() {
    if [ "$4" = folder ]; then is_new() { folder "$1"; }; else is_new() { there "$1" && ! folder "$1"; }; fi
    if is_new "$3"; then move_new "$3" "$2" || stop "$R$1"; return; fi
    # Exchanged: the old thing lies where the new one was made.
    if ! there "$3" && there "$2" && ! is_new "$2"; then move_new "$2" "$3" || stop "$R$1"; fi
    there "$3" || return 0
    if there "$R$1"; then move_new "$R$1" "$2" || stop "$R$1"; fi
    move_new "$3" "$R$1" || stop "$R$1"
  }
  f() { set_folder "$R$1" "$4" "$5"; }
  a() { set_attribute "$R$1" "$2" "$4"; }
  t() { [ -z "$3" ] || touch_at "$R$1" "$3"; }
fi
# What is to be done, in order; each line does what of it is still to do.`

const epilogue = `sync
if [ $direction = forward ]; then enter COMMITTED; say 'Done: the commit is ended'; else enter TAKEN-BACK; say 'Done: the commit is taken back'; fi
`
