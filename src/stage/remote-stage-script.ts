// Scripts by which a stage is made, left and taken away on another machine. Plain sh with coreutils, findutils, tar and util-linux.
import { asRaw, type RawText } from '../base/raw-text.ts'
import { parentPath, type RawPath } from '../model/raw-path.ts'
import { singleQuoted } from '../wire/quote.ts'
import { overlaysOf, storeName, type MountPlan } from './mount-plan.ts'

/** The folder of the open stage is there already: somebody else's, or what a crash has left. */
export const stageBusyStatus = 75

/** `$1`: VML's folder. Makes it, and in it the folder of the stage, which is the lock. */
export const beginScript = `umask 077
mkdir -p "$1/stage" || exit
mkdir "$1/stage/open" 2>/dev/null && exit
[ -d "$1/stage/open" ] && exit ${stageBusyStatus}
mkdir "$1/stage/open"`

/** What goes through tar from one folder to another: without the marks that an overlay makes for itself. */
export const packOptions =
  "--format=posix --numeric-owner --sparse --acls --xattrs '--xattrs-include=*' '--xattrs-exclude=trusted.overlay.*'"
export const unpackOptions =
  "-p --same-owner --numeric-owner --acls --xattrs '--xattrs-include=*' --delay-directory-restore"

/** Layers and queue; what is written into the script `enter` comes on standard input, last of all: a stage without one was never open. */
export function makeStageScript(plan: MountPlan): RawText {
  const open = singleQuoted(`${plan.state}/stage/open`)
  const lines = overlaysOf(plan).map(
    ({ path, layer }) =>
      `vml_layer ${singleQuoted(path)} ${singleQuoted(layer)} ${parentPath(layer).endsWith(`/${storeName}`) ? singleQuoted(parentPath(layer)) : "''"}`,
  )
  return asRaw(`set -eu
umask 077
open=${open}
vml_layer() {
  [ -z "$3" ] || mkdir "$3"
  mkdir "$2" "$2/work" "$2/links" "$2/upper" "$2/ready"
  # The top of an upper folder is what the top of the mount is in the stage.
  tar -c -f - --no-recursion ${packOptions} -C "$1" . | tar -x -f - ${unpackOptions} -C "$2/upper"
}
mkdir "$open/merged" "$open/layers"
${lines.join('\n')}
: >"$open/queue"
cat >"$open/enter.new"
chmod 700 "$open/enter.new"
sync "$open/enter.new"
mv "$open/enter.new" "$open/enter"`)
}

/**
 * Run as `sh -c THIS vml OPEN COMMAND…`. How the command ended is written down, since a connection that is lost tells the same as a command
 * that ends with 255.
 */
export const enterAndTellScript = `open=$1
shift
rm -f "$open/exit"
echo 'a mount namespace cannot be had' >"$open/refusal"
unshare -m --propagation private /bin/sh "$open/enter" "$@"
status=$?
echo $status >"$open/exit.new" && mv "$open/exit.new" "$open/exit"
exit $status`

/** Ends what is still in the stage with that token, `$1`: asks first. */
export const endProcessesScript = `vml_in() {
  for table in $(grep -l " - overlay vml-$1 " /proc/[0-9]*/mountinfo 2>/dev/null); do
    table=\${table#/proc/}
    echo "\${table%/mountinfo}"
  done
}
turn=0
for signal in TERM TERM KILL KILL KILL; do
  pids=$(vml_in "$1")
  [ "$pids" ] || exit 0
  kill -s $signal $pids 2>/dev/null
  turn=0
  while [ "$(vml_in "$1")" ] && [ $turn -lt 40 ]; do
    turn=$((turn + 1))
    sleep 0.05
  done
done
[ -z "$(vml_in "$1")" ]`

/** Who is in the stage with that token, `$1`: numbers of processes. */
export const processesScript = `for table in $(grep -l " - overlay vml-$1 " /proc/[0-9]*/mountinfo 2>/dev/null); do
  table=\${table#/proc/}
  echo "\${table%/mountinfo}"
done
:`

/**
 * Everything of the stage goes; nobody may be in it, and its journal is done with. The script to enter it goes first, the note last: what was cut
 * off is found, and removed, later.
 */
export function dropScript(state: RawPath, plan: MountPlan | undefined): RawText {
  const open = `${state}/stage/open`
  const stores = (plan ? overlaysOf(plan) : []).map(({ layer }) =>
    parentPath(layer).endsWith(`/${storeName}`) ? parentPath(layer) : layer,
  )
  return asRaw(`open=${singleQuoted(open)}
rm -f "$open/enter"
for store in ${stores.map(singleQuoted).join(' ')}; do rm -rf --one-file-system "$store" || exit; done
[ -d "$open" ] || exit 0
find "$open" -xdev -mindepth 1 -maxdepth 1 ! -name note.json -exec rm -rf --one-file-system {} + || exit
rm -rf --one-file-system ${singleQuoted(state)}/shadow-?????? ${singleQuoted(state)}/plan-??????
rm -f "$open/note.json" && rmdir "$open"`)
}
