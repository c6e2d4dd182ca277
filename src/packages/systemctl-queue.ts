// The script that stands before systemctl while rpm's packages change in a stage: it has no service touched, and writes down what is to be done after the commit.
import { hookMark } from './rpm-hook-scripts.ts'

export interface SystemctlPlaces {
  /** Of the stage: a line for each request, `UNIT\tACTION\tsystemctl`, or `\tdaemon-reload\tsystemctl`. */
  readonly queue?: string
  readonly real?: string
  /** Is there where systemd runs the machine (sd_booted(3)). */
  readonly booted?: string
}

/**
 * In a chroot systemctl lets everything be that is for the running manager, and succeeds (its source, VERB_ONLINE_ONLY): without this a stage would lose it. What
 * changes files (`enable`, `preset`) is the real one's, and part of the change. Marks of `%systemd_postun_with_restart` (systemd-update-helper:
 * `set-property UNIT Markers=+needs-restart`) are requests; the `reload-or-restart --marked` of systemd's own trigger names nobody.
 *
 * A question for what runs is asked of the manager itself: told that all is well, a script would restart what does not run.
 */
export function systemctlScript({
  queue = '/var/lib/vml/queue',
  real = '/usr/bin/systemctl',
  booted = '/run/systemd/system',
}: SystemctlPlaces = {}): string {
  return `#!/bin/sh
# ${hookMark}
# Within a stage no service is started or stopped; that is done after the commit.
[ -e ${queue} ] && [ -d ${booted} ] || exec ${real} "$@"
verb= units= now= skip=
for word; do
  if [ "$skip" ]; then skip= && continue; fi
  case $word in
    # Other managers than this machine's own.
    --user|--global|-M*|--machine|--machine=*|-H*|--host|--host=*|--root=*|--image=*) exec ${real} "$@" ;;
    --now) now=1 ;;
    -[tpPnos]|--type|--property|--state|--lines|--output|--signal|--job-mode|--kill-whom|--root|--image) skip=1 ;;
    -*) ;;
    *) if [ "$verb" ]; then units="$units $word"; else verb=$word; fi ;;
  esac
done
set -f

# Names without an ending are those of services (systemctl(1)); a unit may be named by its file.
queue() {
  for unit in $units; do
    unit=\${unit##*/}
    case $unit in
      *.service|*.socket|*.timer|*.path|*.target|*.mount|*.automount|*.slice|*.scope|*.swap|*.device) ;;
      *) unit=$unit.service ;;
    esac
    printf '%s\\t%s\\tsystemctl\\n' "$unit" "$1" >>${queue} || exit
  done
}

case $verb in
  start|stop|restart) queue $verb ;;
  try-restart|condrestart) queue try-restart ;;
  reload-or-restart) queue restart ;;
  reload|try-reload-or-restart|reload-or-try-restart|condreload|force-reload) queue reload ;;
  daemon-reload|daemon-reexec) printf '\\t%s\\tsystemctl\\n' $verb >>${queue} ;;
  enable|reenable|disable|mask)
    [ "$now" ] || exec ${real} "$@"
    for word; do shift; [ "$word" = --now ] || set -- "$@" "$word"; done
    ${real} "$@" || exit
    case $verb in enable|reenable) queue start ;; *) queue stop ;; esac ;;
  set-property)
    case $units in
      *Markers=+needs-restart*) action=try-restart ;;
      *Markers=+needs-reload*) action=reload ;;
      *) exec ${real} "$@" ;;
    esac
    units=\${units# }
    units=\${units%% *}
    queue $action ;;
  is-active|is-failed|is-system-running|show|status) SYSTEMD_IGNORE_CHROOT=1 exec ${real} "$@" ;;
  *) exec ${real} "$@" ;;
esac
`
}
