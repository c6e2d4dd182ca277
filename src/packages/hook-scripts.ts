// The texts of what stands between apt, dpkg and VML: two configuration files and three programs for sh. What they ask VML for: hook-calls.ts.
import { singleQuoted } from '../wire/quote.ts'

/** Program files of the hooks, from the root of the machine. */
export const hookFolder = '/usr/lib/vml'

/**
 * What `tx hook begin` and `tx hook dpkg-begin` end with when nothing may be changed now: apt or dpkg then stops before it has begun.
 * Any other failure of theirs lets apt and dpkg go on, unrecorded and said so, since a broken VML is no reason to leave a hole unmended.
 */
export const refusedStatus = 99
/** The same as any other failure, but that VML has said itself why the change is not recorded. */
export const toldStatus = 97
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
 * may hold anything. In the /proc of a namespace above (nsenter, or chroot from a container) every process has another number, by which it is
 * known here; VML is told that, and knows (process-mark.ts).
 */
const lookFunctions = `above() {
  vml_parent=
  { read -r vml_line </proc/self/stat; } 2>/dev/null || return 1
  set -- \${vml_line##*) }
  vml_parent=$2
}
look() {
  vml_pid=$1 vml_parent= vml_mark=
  { read -r vml_line <"/proc/$1/stat" && read -r vml_boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || return 1
  set -- \${vml_line##*) }
  [ "\${20}" ] || return 1
  vml_parent=$2 vml_mark="$vml_pid \${20} $vml_boot"
}`

/**
 * A stage is used by the very process that it was opened for, and by nobody who finds it left behind: what is done in a stage that
 * nobody will commit would be reported as done, and be gone. `frontend` in it has that process's mark.
 */
export const dpkgScript = `#!/bin/sh
# ${firstLine}
# Stands before dpkg in apt's search path: has it work in the open stage of this run of apt, and is out of the way otherwise.
PATH=\${PATH#${hookFolder}/bin:}
vml_real=/usr/bin/dpkg vml_stage=/var/lib/vml/stage/open
[ -e "$vml_stage/enter" ] && [ ! -e /var/lib/vml/inside ] || exec $vml_real "$@"
for vml_word; do
  case $vml_word in
    # What says the same within the stage and without, or is about another system than this one.
    --print-architecture|--print-foreign-architectures|--assert-*|--version|--help|--compare-versions|--validate-*) exec $vml_real "$@" ;;
    --root=*|--admindir|--admindir=*|--instdir=*|--no-act|--dry-run|--simulate) exec $vml_real "$@" ;;
    --) break ;;
  esac
done
${lookFunctions}
above && look "$vml_parent"
{ read -r vml_frontend <"$vml_stage/frontend"; } 2>/dev/null || vml_frontend=
[ "$vml_mark" ] && [ "$vml_frontend" = "$vml_mark" ] || exec $vml_real "$@"

# The call is kept, so that it can be made once more on the system itself if the stage does not serve.
vml_umask_before=$(umask)
umask 077
vml_number=10001
while [ -e "$vml_stage/calls/\${vml_number#1}" ]; do vml_number=$((vml_number + 1)); done
vml_call=$vml_stage/calls/\${vml_number#1}
mkdir -p "$vml_call" || exit 2
printf '%s\\0' "$@" >"$vml_call/argv" && pwd >"$vml_call/cwd" && export -p >"$vml_call/environment" || exit 2
vml_input=
case " $* " in *' --set-selections '*|*' --merge-avail '*|*' --update-avail '*) cat >"$vml_call/stdin" && vml_input=$vml_call/stdin || exit 2 ;; esac
umask "$vml_umask_before"

# The status is needed, and dpkg must not be left behind by a signal meant for both: a trap that does nothing is not passed on.
trap : HUP INT QUIT TERM
if [ "$vml_input" ]; then
  unshare -m --propagation private /bin/sh "$vml_stage/enter" $vml_real "$@" <"$vml_input"
else
  unshare -m --propagation private /bin/sh "$vml_stage/enter" $vml_real "$@"
fi
vml_status=$?
echo $vml_status >"$vml_call/status"
[ $vml_status = 0 ] && exit 0
# Ended by a signal: somebody wants it to stop, not to be done in another way.
[ $vml_status -le 128 ] && [ -x ${hookFolder}/hook ] || exit $vml_status
${hookFolder}/hook redo-live "\${vml_call##*/}" "$vml_status"
`

export const hookScript = `#!/bin/sh
# ${firstLine}
# Called by apt and dpkg. Answers at once what needs no VML; where VML is gone or broken, apt and dpkg go on without it.
PATH=\${PATH:+$PATH:}/usr/sbin:/usr/bin:/sbin:/bin
vml_opened= vml_opened_by=
vml_state=/var/lib/vml vml_stage=/var/lib/vml/stage/open vml_program=${hookFolder}/program vml_verb=$1
shift
if [ "$vml_verb" = plan ]; then
  # The list of what apt is about to do, kept for the record; apt waits until somebody has read it.
  [ -d "$vml_stage" ] && [ ! -e $vml_state/inside ] && cat >"$vml_stage/plan.new" && mv -f "$vml_stage/plan.new" "$vml_stage/plan" || cat >/dev/null
  # Packages that need the running system: VML is asked before dpkg begins. apt shows no standard error of this hook.
  if [ -e "$vml_stage/enter" ] && [ -x $vml_program ] && grep -q -E -f "$vml_stage/live-names" "$vml_stage/plan" 2>/dev/null; then
    read -r vml_opened <"$vml_stage/frontend" && $vml_program tx hook plan "\${vml_opened%% *}" 2>&1
  fi
  exit 0
fi
[ -e $vml_state/inside ] && exit 0

${lookFunctions}

# The process that apt or dpkg runs in: it ends what it has begun, and nobody else does.
begins() {
  look "$1" || {
    if [ "$vml_verb" = end ] && [ -d "$vml_stage" ]; then
      tell "Cannot tell which process this is, without /proc: what lies in $vml_stage is not committed"
      exit 1
    fi
    [ "$vml_verb" != begin ] || tell "Cannot tell which process this is, without /proc: this change is not recorded"
    exit 0
  }
}
began() {
  { read -r vml_opened && read -r vml_opened_by; } 2>/dev/null <"$vml_stage/frontend" || vml_opened= vml_opened_by=
}
tell() { echo "vml: $*" >&2; }

start() {
  if [ -x $vml_program ]; then $vml_program tx hook "$@"; else (exit ${goneStatus}); fi
}

open() {
  start "$1" "\${vml_mark%% *}"
  vml_status=$?
  case $vml_status in
    0) [ ! -d "$vml_stage" ] || { echo "$vml_mark"; echo "$vml_by"; } 2>/dev/null >"$vml_stage/frontend" || {
         tell "Cannot write to $vml_stage: nothing was changed"
         exit 1
       } ;;
    # Refused, or ended by who would have all of it ended.
    ${refusedStatus}|130|143) exit 1 ;;
    *) unrecorded ;;
  esac
}

# Another vml has the lock of the open transaction (stage.lock): sh cannot ask for it, but the kernel lists it by the number of its file.
busy() {
  set -- $(ls -i "$vml_state/stage.lock" 2>/dev/null)
  [ "$1" ] && grep -q "POSIX .*:$1 " /proc/locks 2>/dev/null
}

# VML did not start. What it left half done is finished or taken back by the script that it wrote for that, unless another is at it.
unrecorded() {
  if busy; then
    tell "VML failed with status $vml_status while another is at work on what lies in $vml_stage: nothing was changed. Repeat it when that has ended"
    exit 1
  fi
  if [ -e "$vml_stage/journal/recover.sh" ] && ! sh "$vml_stage/journal/recover.sh" >&2; then
    tell "Cannot mend what a change that was cut off left in $vml_stage/journal: nothing was changed"
    exit 1
  fi
  # A stage that nobody commits is not entered any more.
  if [ -e "$vml_stage/enter" ] && ! mv -f "$vml_stage/enter" "$vml_stage/enter.left"; then exit 1; fi
  # Within a run of apt that was told so already.
  [ "$vml_verb" = begin ] || [ ! "$DPKG_FRONTEND_LOCKED" ] || return 0
  case $vml_status in
    ${toldStatus}) ;;
    ${goneStatus}|126|127) tell "VML is not where it was: this change is not recorded (vml tx disable, or rm -r ${hookFolder}, ends this line)" ;;
    *) tell "VML failed with status $vml_status: this change is not recorded" ;;
  esac
}

finish() {
  # What was written outside of the stage until now is this run's.
  true 2>/dev/null >"$vml_stage/ended"
  start "$@"
  vml_status=$?
  case $vml_status in
    0) ;;
    ${goneStatus}|126|127)
      tell "VML is not where it was: what this run did lies in $vml_stage and is not committed"
      exit 1 ;;
    *) exit $vml_status ;;
  esac
}

case $vml_verb in
  begin|end)
    # apt has a child of its own run the list of commands, each by sh, which has become this.
    above && look "$vml_parent"
    vml_by=$vml_mark
    begins "$vml_parent"
    [ ! -d "$vml_stage" ] || began
    if [ "$vml_verb" = begin ]; then
      # Who reads apt's configuration twice, as unattended-upgrade does, has the list twice.
      [ "$vml_opened" = "$vml_mark" ] && [ "$vml_opened_by" = "$vml_by" ] || open begin
      exit 0
    fi
    [ -d "$vml_stage" ] || exit 0
    [ "$vml_opened" = "$vml_mark" ] || exit 0
    finish end "\${vml_mark%% *}" ;;
  dpkg-begin)
    if [ -d "$vml_stage" ]; then
      began
      if [ "$vml_opened" ] && look "\${vml_opened%% *}" && [ "$vml_opened" = "$vml_mark" ]; then
        # Somebody's transaction is open. Without the frontend's lock this dpkg is of another hand, and fails by that lock.
        [ "$DPKG_FRONTEND_LOCKED" ] && [ -e "$vml_stage/enter" ] || exit 0
        if [ -e "$vml_stage/calls/0001" ]; then
          tell "dpkg was called outside of the stage that holds what this run did before: nothing was changed"
          exit 1
        fi
        # python-apt names dpkg by its path, and others may: dpkg has not begun yet, so that VML can record it without a stage.
        vml_by=$vml_opened_by
        open live
        [ ! -e "$vml_stage/enter" ] || mv -f "$vml_stage/enter" "$vml_stage/enter.left" || exit 1
        exit 0
      fi
    fi
    [ "$(id -u)" = 0 ] || exit 0
    # Other systems' folders, and what is only tried.
    above
    tr '\\0' '\\n' <"/proc/$vml_parent/cmdline" 2>/dev/null | grep -q -x -e '--root=.*' -e '--admindir.*' -e '--instdir=.*' -e --no-act -e --dry-run -e --simulate && exit 0
    begins "$vml_parent"
    vml_by=$vml_mark
    open dpkg-begin ;;
  dpkg-end)
    [ -d "$vml_stage" ] || exit 0
    above
    begins "$vml_parent"
    began
    [ "$vml_opened" = "$vml_mark" ] || exit 0
    finish dpkg-end "\${vml_mark%% *}" ;;
  redo-live)
    start redo-live "$@"
    vml_status=$?
    case $vml_status in ${goneStatus}|126|127) exit "$2" ;; *) exit $vml_status ;; esac ;;
esac
exit 0
`
