// What maintainer scripts find in a chroot in the place of a running systemd: a systemctl that writes down what it is told, and a policy.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Chroot } from './chroot.ts'

export interface RecordedSystemctl {
  /** Its arguments, a line for each call, oldest first. */
  calls(): string[]
}

// Below /run, as systemd has it: no part of what is compared or staged. Scripts take the folder for a sign of a running systemd.
const memory = '/run/systemd/recorded'

// Units that were started are active, those that were enabled are enabled: enough for deb-systemd-invoke and for looks before and after.
const systemctl = `#!/bin/sh
folder=${memory}
echo "$*" >>"$folder/calls"
verb= units=
for word; do
  case $word in
    -*) ;;
    *) if [ -z "$verb" ]; then verb=$word; else units="$units $word"; fi ;;
  esac
done
status=0
for unit in $units; do
  case $unit in *.*) ;; *) unit=$unit.service ;; esac
  case $verb in
    start | restart | reload-or-restart) : >"$folder/active/$unit" ;;
    try-restart | try-reload-or-restart | reload) ;;
    stop) rm -f "$folder/active/$unit" ;;
    enable) : >"$folder/enabled/$unit" ;;
    disable) rm -f "$folder/enabled/$unit" ;;
    is-active) [ -e "$folder/active/$unit" ] && echo active || { echo inactive; status=3; } ;;
    is-enabled) [ -e "$folder/enabled/$unit" ] && echo enabled || { echo disabled; status=1; } ;;
  esac
done
exit $status
`

/** Puts it at `/usr/bin/systemctl`: for flavours without one, and in the place of the one of others. */
export async function recordSystemctl(chroot: Chroot): Promise<RecordedSystemctl> {
  await chroot.sh(
    `mkdir -p /run/systemd/system ${memory}/active ${memory}/enabled && cat >/usr/bin/systemctl && chmod 755 /usr/bin/systemctl`,
    { input: systemctl },
  )
  const file = join(chroot.path, memory, 'calls')
  return {
    calls: () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []),
  }
}

/** invoke-rc.d asks `policy-rc.d` before each start; where there is none, and no init, as in the small flavour, it starts nothing (its source). */
export async function ruleServiceStarts(chroot: Chroot, rule: 'allowed' | 'forbidden'): Promise<void> {
  await chroot.sh(
    `printf '#!/bin/sh\\nexit ${rule === 'allowed' ? 104 : 101}\\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d`,
  )
}
