// Writes the script that mounts a stage in a mount namespace of its own and becomes a command in it. Plain sh (POSIX), without VML: each dpkg of an apt run starts it.
import { asRaw, type RawText } from '../base/raw-text.ts'
import { rootPath } from '../model/raw-path.ts'
import { singleQuoted } from '../wire/quote.ts'
import type { MountPlan, StageMount } from './mount-plan.ts'
import type { StageSettings } from './stage-folder.ts'

/** The stage could not be mounted, nothing was run: `refusal` in the stage's folder says why, as standard error does. */
export const notEnteredStatus = 97

/**
 * Run as `unshare -m --propagation private /bin/sh SCRIPT COMMAND…`. Keeps descriptors, environment, standard input, the working folder where it is
 * there, too, and the status of the command; the process becomes it. May be entered by several at once, and again after a crash.
 *
 * `index=on`, since without it a file that is written by one of its hard links parts from the others (measured; overlayfs.rst, "Index"): in the stage, and then
 * in the change set. A kernel that cannot have it on that file system does without by itself. With it, nobody can mount an upper folder a second time:
 * who comes while somebody is in enters the mounts that there are.
 */
export function enterScript(plan: MountPlan, { token, policy }: StageSettings): RawText {
  if (!/^[A-Za-z0-9]{1,64}$/.test(token)) throw new TypeError('Cannot name a stage: letters and digits only')
  const root = plan.root === rootPath ? '' : plan.root
  const open = `${root}${plan.state}/stage/open`
  const quoted = (path: string) => singleQuoted(asRaw(path))
  const merged = `${open}/merged`
  const first = plan.mounts.find(({ kind, path }) => kind === 'overlay' && path === rootPath)
  if (first === undefined) throw new TypeError('Cannot write a stage without a root')
  const lines = plan.mounts.filter((mount) => mount !== first).map(mountLine)
  const text = `#!/bin/sh
# Written by VML: enters the open stage. Start it as: unshare -m --propagation private /bin/sh THIS COMMAND...
vml_root=${quoted(root)}
vml_open=${quoted(open)}
vml_merged=${quoted(merged)}
vml_state=${quoted(plan.state)}
vml_name=vml-${token}

vml_refuse() {
  printf 'vml: Cannot enter the stage: %s\\n' "$1" >&2
  printf '%s\\n' "$1" >"$vml_open/refusal"
  exit ${notEnteredStatus}
}

# Who is in already: the process of which the root is this stage.
vml_find() {
  for vml_table in $(grep -l "^[0-9]* [0-9]* [0-9:]* / / .* - overlay $vml_name " /proc/[0-9]*/mountinfo 2>/dev/null); do
    vml_table=\${vml_table#/proc/}
    echo "\${vml_table%/mountinfo}"
    return
  done
}

# A mount point, its layer from there, flags. A volatile mount leaves a mark that forbids the next one: after a crash the stage is thrown away as a whole.
vml_overlay() {
  cd "$vml_root$1/" || vml_refuse "\\"$1\\" is not there"
  [ ! -e "$2/work/work/incompat" ] || rm -rf "$2/work/work/incompat"
  vml_options="lowerdir=.,upperdir=$2/upper,workdir=$2/work,redirect_dir=off,metacopy=off,index=on,xino=off$3"
  vml_said=$(mount -t overlay "$vml_name" -o "$vml_options,volatile" "$vml_merged$1" 2>&1) && return
  [ "$1" ] || return 1
  vml_refuse "no overlay on \\"$1\\": $vml_said"
}

# The real one, with all that is mounted in it. What is gone meanwhile, or is a file where a folder was, has no place.
vml_through() {
  if [ -d "$vml_root$1" ]; then
    [ -d "$vml_merged$1" ] || return 0
  else
    [ -f "$vml_root$1" ] && [ -f "$vml_merged$1" ] || return 0
  fi
  mount --rbind "$vml_root$1" "$vml_merged$1" || vml_refuse "\\"$1\\" cannot be seen through"
}

vml_alias() {
  mount --bind "$vml_merged$2" "$vml_merged$1" || vml_refuse "\\"$1\\" cannot show \\"$2\\""
}

# VML's own folders are empty in the stage. Of a place that is not there nothing is seen.
vml_hide() {
  [ -d "$vml_merged$1" ] || return 0
  mount -t tmpfs -o mode=0700,size=1m "$vml_name" "$vml_merged$1" || vml_refuse "\\"$1\\" cannot be hidden"
}

vml_mount() {
${lines.join('\n')}
${plan.hidden.map((path) => `  vml_hide ${quoted(path)}`).join('\n')}
  : >"$vml_merged$vml_state/inside" || vml_refuse 'its folder cannot be written'
  : >"$vml_merged$vml_state/queue"
  mount --bind "$vml_open/queue" "$vml_merged$vml_state/queue" || vml_refuse 'the queue cannot be seen'
${policy === undefined ? '' : policyLines(quoted(policy))}}

# Says the process in whose namespace to run, or nothing: then it is this one. Whoever else is in may be just going or coming.
vml_setup() {
  PATH=/usr/sbin:/usr/bin:/sbin:/bin
  LC_ALL=C
  export PATH LC_ALL
  umask 022
  [ ! -e "$vml_open/refusal" ] || rm -f "$vml_open/refusal"
  vml_try=0
  until ${mountLine(first).trim()}; do
    vml_try=$((vml_try + 1))
    vml_pid=$(vml_find)
    if [ "$vml_pid" ]; then
      echo "$vml_pid"
      return
    fi
    case $vml_said in
      *busy*) [ $vml_try -lt ${triesMax} ] || vml_refuse 'it stays busy' ;;
      *) vml_refuse "no overlay on \\"/\\": $vml_said" ;;
    esac
    sleep 0.02
  done
  vml_mount
}

vml_program() {
  for vml_folder in /usr/sbin /usr/bin /sbin /bin; do
    if [ -x "$vml_folder/$1" ]; then
      echo "$vml_folder/$1"
      return
    fi
  done
  vml_refuse "the program \\"$1\\" is missing"
}

vml_pid=$(vml_setup </dev/null) || exit
vml_here=$(pwd -P)
${root === '' ? '' : 'vml_here=${vml_here#"$vml_root"}\n'}if [ "$vml_pid" ]; then
  vml_program=$(vml_program nsenter) || exit
  set -- "$vml_program" -t "$vml_pid" -m -r -- /bin/sh -c 'cd "$0" 2>/dev/null || cd /; exec "$@"' "$vml_here" "$@"
else
  vml_program=$(vml_program chroot) || exit
  if [ "$vml_here" = / ]; then
    set -- "$vml_program" "$vml_merged" "$@"
  else
    set -- "$vml_program" "$vml_merged" /bin/sh -c 'cd "$0" 2>/dev/null || cd /; exec "$@"' "$vml_here" "$@"
  fi
fi
exec "$@"
`
  return asRaw(text)
}

/** Five seconds, for somebody who has just ended, or is just mounting: the kernel lets an upper folder go a moment after the last process. */
const triesMax = 250

function mountLine(mount: StageMount): string {
  const quoted = (path: string) => singleQuoted(path === '/' ? '' : path)
  switch (mount.kind) {
    case 'overlay': {
      const { path, layer, flags } = mount
      const fromTop = path === rootPath ? layer.slice(1) : layer.slice(path.length + 1)
      return `  vml_overlay ${quoted(path)} ${singleQuoted(fromTop)} '${flags.map((flag) => `,${flag}`).join('')}'`
    }
    case 'alias':
      return `  vml_alias ${quoted(mount.path)} ${quoted(mount.of)}`
    case 'through':
      return `  vml_through ${quoted(mount.path)}`
  }
}

/**
 * A package's scripts ask it before they start anything (invoke-rc.d(8)). A bind needs a file to lie on: one without content or rights, which no
 * change set has. A link on the way would lead out of the stage: then, as without the script, no package script may run.
 */
function policyLines(policy: string): string {
  return `  [ -d "$vml_merged/usr/sbin" ] || return 0
  vml_place=$vml_merged/usr/sbin/policy-rc.d
  if [ -L "$vml_merged/usr" ] || [ -L "$vml_merged/usr/sbin" ]; then vml_place=$vml_merged/usr/bin/policy-rc.d; fi
  if [ -L "$vml_merged/usr" ] || [ -L "$vml_merged/usr/bin" ] || [ -L "$vml_place" ]; then
    vml_refuse '/usr/sbin/policy-rc.d lies behind a link'
  fi
  [ -e "$vml_place" ] || (umask 777 && : >"$vml_place")
  mount --bind "$vml_root"${policy} "$vml_place" || vml_refuse 'services could be started: there is no policy-rc.d'
`
}
