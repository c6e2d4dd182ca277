// The texts of what stands between apt, dpkg and VML: two configuration files and three programs for sh. What they ask VML for: hook-calls.ts.
import { singleQuoted } from '../wire/quote.ts'

/** Program files of the hooks, from the root of the machine. */
export const hookFolder = '/usr/lib/vml'

/**
 * What `tx hook begin` and `tx hook dpkg-begin` end with when nothing may be changed now: apt or dpkg then stops before it has begun.
 * Any other failure of theirs lets apt and dpkg go on, unrecorded and said so, since a broken VML is no reason to leave a hole unmended.
 */
export const refusedStatus = 99
/** What the program file ends with when VML is no longer where it was: a status that Node and VML itself never have. */
export const goneStatus = 98

const firstLine = 'Written by "vml tx enable"; "vml tx disable" removes it.'

/** Whether a file that has lost its place or its link is one of ours all the same. */
export function isHookText(text: string): boolean {
  return text.split('\n', 3).some((line) => line.endsWith(firstLine))
}

/**
 * apt.conf(5). dpkg is named without its folder, and the search path leads to ours: where that file is missing, the next one of that
 * name runs, and apt never fails for want of it. The command of Pre-Install-Pkgs has to begin with the word that its options are kept under.
 */
export const aptConfiguration = `// ${firstLine}
Dir::Bin::dpkg "dpkg";
DPkg::Path "${hookFolder}/bin:/usr/sbin:/usr/bin:/sbin:/bin";
DPkg::Pre-Invoke { "[ ! -x ${hookFolder}/hook ] || exec ${hookFolder}/hook begin"; };
DPkg::Pre-Install-Pkgs { "${hookFolder}/hook plan 2>/dev/null || cat >/dev/null"; };
DPkg::Tools::Options::${hookFolder}/hook::Version "3";
DPkg::Post-Invoke { "[ ! -x ${hookFolder}/hook ] || exec ${hookFolder}/hook end"; };
`

/** dpkg(1), --pre-invoke: a hook that fails ends dpkg before it has changed anything. */
export const dpkgConfiguration = `# ${firstLine}
pre-invoke=[ ! -x ${hookFolder}/hook ] || exec ${hookFolder}/hook dpkg-begin
post-invoke=[ ! -x ${hookFolder}/hook ] || exec ${hookFolder}/hook dpkg-end
`

/** How VML is started; what it names by an absolute path must be there. */
export function programScript(argv: readonly string[]): string {
  const needed = argv.filter((word) => word.startsWith('/'))
  return `#!/bin/sh
# ${firstLine}
for file in ${needed.map(singleQuoted).join(' ')}; do [ -e "$file" ] || exit ${goneStatus}; done
exec ${argv.map(singleQuoted).join(' ')} "$@"
`
}

/**
 * Reads from /proc/PID/stat whose child a process is, and by which mark it is known for ever: its number, when it began, and since which
 * start of the kernel (proc(5), fields 4 and 22). Without a program, since it is asked for each dpkg. The name before the last bracket
 * may hold anything.
 */
const lookFunction = `look() {
  pid=$1 parent= mark=
  { read -r line <"/proc/$1/stat" && read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || return 1
  set -- \${line##*) }
  [ "\${20}" ] || return 1
  parent=$2 mark="$pid \${20} $boot"
}`

/**
 * A stage is used by the very process that it was opened for, and by nobody who finds it left behind: what is done in a stage that
 * nobody will commit would be reported as done, and be gone. `frontend` in it has that process's mark.
 */
export const dpkgScript = `#!/bin/sh
# ${firstLine}
# Stands before dpkg in apt's search path: has it work in the open stage of this run of apt, and is out of the way otherwise.
PATH=\${PATH#${hookFolder}/bin:}
real=/usr/bin/dpkg stage=/var/lib/vml/stage/open
[ -e "$stage/enter" ] && [ ! -e /var/lib/vml/inside ] || exec $real "$@"
for word; do
  case $word in
    # What says the same within the stage and without, or is about another system than this one.
    --print-architecture|--print-foreign-architectures|--assert-*|--version|--help|--compare-versions|--validate-*) exec $real "$@" ;;
    --root=*|--admindir|--admindir=*|--instdir=*|--no-act|--dry-run|--simulate) exec $real "$@" ;;
    --) break ;;
  esac
done
${lookFunction}
look "$PPID"
{ read -r frontend <"$stage/frontend"; } 2>/dev/null || frontend=
[ "$mark" ] && [ "$frontend" = "$mark" ] || exec $real "$@"

# The call is kept, so that it can be made once more on the system itself if the stage does not serve.
umask_before=$(umask)
umask 077
number=10001
while [ -e "$stage/calls/\${number#1}" ]; do number=$((number + 1)); done
call=$stage/calls/\${number#1}
mkdir -p "$call" || exit 2
printf '%s\\0' "$@" >"$call/argv" && pwd >"$call/cwd" && export -p >"$call/environment" || exit 2
input=
case " $* " in *' --set-selections '*|*' --merge-avail '*|*' --update-avail '*) cat >"$call/stdin" && input=$call/stdin || exit 2 ;; esac
umask "$umask_before"

# The status is needed, and dpkg must not be left behind by a signal meant for both: a trap that does nothing is not passed on.
trap : HUP INT QUIT TERM
if [ "$input" ]; then
  unshare -m --propagation private /bin/sh "$stage/enter" $real "$@" <"$input"
else
  unshare -m --propagation private /bin/sh "$stage/enter" $real "$@"
fi
status=$?
echo $status >"$call/status"
[ $status = 0 ] && exit 0
# Ended by a signal: somebody wants it to stop, not to be done in another way.
[ $status -le 128 ] && [ -x ${hookFolder}/hook ] || exit $status
${hookFolder}/hook redo-live "\${call##*/}" "$status"
`

export const hookScript = `#!/bin/sh
# ${firstLine}
# Called by apt and dpkg. Answers at once what needs no VML; where VML is gone or broken, apt and dpkg go on without it.
opened= opened_by=
state=/var/lib/vml stage=/var/lib/vml/stage/open program=${hookFolder}/program verb=$1
shift
if [ "$verb" = plan ]; then
  # The list of what apt is about to do, kept for the record; apt waits until somebody has read it.
  [ -d "$stage" ] && [ ! -e $state/inside ] && cat >"$stage/plan.new" && mv -f "$stage/plan.new" "$stage/plan" || cat >/dev/null
  exit 0
fi
[ -e $state/inside ] && exit 0

${lookFunction}

# The process that apt or dpkg runs in: it ends what it has begun, and nobody else does.
begins() {
  look "$1" || {
    if [ "$verb" = end ] && [ -d "$stage" ]; then
      tell "Cannot tell which process this is, without /proc: what lies in $stage is not committed"
      exit 1
    fi
    [ "$verb" != begin ] || tell "Cannot tell which process this is, without /proc: this change is not recorded"
    exit 0
  }
}
began() {
  { read -r opened && read -r opened_by; } 2>/dev/null <"$stage/frontend" || opened= opened_by=
}
tell() { echo "vml: $*" >&2; }

start() {
  if [ -x $program ]; then $program tx hook "$@"; else (exit ${goneStatus}); fi
}

open() {
  start "$1" "\${mark%% *}"
  status=$?
  case $status in
    0) [ ! -d "$stage" ] || { echo "$mark"; echo "$by"; } 2>/dev/null >"$stage/frontend" || {
         tell "Cannot write to $stage: nothing was changed"
         exit 1
       } ;;
    ${refusedStatus}) exit 1 ;;
    *) unrecorded ;;
  esac
}

# VML did not start. What it left half done is finished or taken back by the script that it wrote for that.
unrecorded() {
  if [ -e "$stage/journal/recover.sh" ] && ! sh "$stage/journal/recover.sh" >&2; then
    tell "Cannot mend what a change that was cut off left in $stage/journal: nothing was changed"
    exit 1
  fi
  # A stage that nobody commits is not entered any more.
  if [ -e "$stage/enter" ] && ! mv -f "$stage/enter" "$stage/enter.left"; then exit 1; fi
  # Within a run of apt that was told so already.
  [ "$verb" = begin ] || [ ! "$DPKG_FRONTEND_LOCKED" ] || return 0
  case $status in
    ${goneStatus}|126|127) tell "VML is not where it was: this change is not recorded (vml tx disable, or rm -r ${hookFolder}, ends this line)" ;;
    *) tell "VML failed with status $status: this change is not recorded" ;;
  esac
}

finish() {
  start "$@"
  status=$?
  case $status in
    0) ;;
    ${goneStatus}|126|127)
      tell "VML is not where it was: what this run did lies in $stage and is not committed"
      exit 1 ;;
    *) exit $status ;;
  esac
}

case $verb in
  begin|end)
    # apt has a child of its own run the list of commands, each by sh, which has become this.
    look "$PPID"
    by=$mark
    begins "$parent"
    [ ! -d "$stage" ] || began
    if [ "$verb" = begin ]; then
      # Who reads apt's configuration twice, as unattended-upgrade does, has the list twice.
      [ "$opened" = "$mark" ] && [ "$opened_by" = "$by" ] || open begin
      exit 0
    fi
    [ -d "$stage" ] || exit 0
    [ "$opened" = "$mark" ] || exit 0
    finish end "\${mark%% *}" ;;
  dpkg-begin)
    if [ -d "$stage" ]; then
      began
      if [ "$opened" ] && look "\${opened%% *}" && [ "$opened" = "$mark" ]; then
        # Somebody's transaction is open. Without the frontend's lock this dpkg is of another hand, and fails by that lock.
        [ "$DPKG_FRONTEND_LOCKED" ] && [ -e "$stage/enter" ] || exit 0
        if [ -e "$stage/calls/0001" ]; then
          tell "dpkg was called outside of the stage that holds what this run did before: nothing was changed"
          exit 1
        fi
        # python-apt names dpkg by its path, and others may: dpkg has not begun yet, so that VML can record it without a stage.
        by=$opened_by
        open live
        [ ! -e "$stage/enter" ] || mv -f "$stage/enter" "$stage/enter.left" || exit 1
        exit 0
      fi
    fi
    [ "$(id -u)" = 0 ] || exit 0
    # Other systems' folders, and what is only tried.
    tr '\\0' '\\n' <"/proc/$PPID/cmdline" 2>/dev/null | grep -q -x -e '--root=.*' -e '--admindir.*' -e '--instdir=.*' -e --no-act -e --dry-run -e --simulate && exit 0
    begins "$PPID"
    by=$mark
    open dpkg-begin ;;
  dpkg-end)
    [ -d "$stage" ] || exit 0
    begins "$PPID"
    began
    [ "$opened" = "$mark" ] || exit 0
    finish dpkg-end "$PPID" ;;
  redo-live)
    start redo-live "$@"
    status=$?
    case $status in ${goneStatus}|126|127) exit "$2" ;; *) exit $status ;; esac ;;
esac
exit 0
`
