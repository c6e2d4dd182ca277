// Writes the script that runs a check in the open stage and keeps from it all that the check writes, and from the machine, too. Plain sh (POSIX).
import { asRaw, type RawText } from '../base/raw-text.ts'
import { isWithin, rootPath } from '../model/raw-path.ts'
import { singleQuoted } from '../wire/quote.ts'
import type { MountPlan, StageMount } from './mount-plan.ts'

/** The check could not be set apart, and was not run: standard error says why. */
export const notSetApartStatus = 96
/** As timeout(1) says it. */
export const timedOutStatuses: ReadonlySet<number> = new Set([124, 137])

/**
 * Run in the stage as `sh -c 'eval "$(cat)"' vml COMMAND…` with this as standard input. A second overlay lies over the stage: its upper folder is in memory, and
 * goes with the check. So do all processes that it leaves behind: the kernel ends them with the first one of their namespace.
 */
export function checkScript(
  plan: MountPlan,
  { timeoutSeconds }: { readonly timeoutSeconds: number },
): RawText {
  const at = quoted(plan.state)
  const lines = plan.mounts.filter(({ path }) => path !== rootPath).map(mountLine)
  // The first for the root. All in one go: a program for each is half of what a check takes.
  const layers = lines.map((_, number) => number)
  const folders = [...layers, lines.length].map((number) => `"$vml_at/u${number}" "$vml_at/w${number}"`)
  return asRaw(`PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
vml_at=${at}
vml_number=0
vml_refuse() {
  echo "vml: $1" >&2
  exit ${notSetApartStatus}
}
vml_over() {
  vml_layer=$vml_number
  vml_number=$((vml_number + 1))
  mount -t overlay vml-check -o "lowerdir=.,upperdir=$vml_at/u$vml_layer,workdir=$vml_at/w$vml_layer" "$vml_at/m$1"
}
vml_overlay() {
  [ -d "$vml_at/m$1" ] || return 0
  cd "$1/" && vml_over "$1" 2>/dev/null && return
  # Where it can have no overlay it can be read.
  vml_bind "$1" && mount -o remount,bind,ro "$vml_at/m$1" || vml_refuse "\\"$1\\" cannot be set apart"
}
vml_bind() {
  [ -e "$1" ] && [ -e "$vml_at/m$1" ] || return 0
  mount --rbind "$1" "$vml_at/m$1" || vml_refuse "\\"$1\\" cannot be seen"
}
vml_hide() {
  [ -d "$vml_at/m$1" ] || return 0
  mount -t tmpfs -o mode=0700,size=1m vml-check "$vml_at/m$1" || vml_refuse "\\"$1\\" cannot be hidden"
}
mount -t tmpfs -o mode=0755 vml-check "$vml_at" || vml_refuse 'it has no memory of its own'
(umask 022 && mkdir "$vml_at/m" ${folders.join(' ')}) && cd / && vml_over '' || vml_refuse 'no overlay lies over the stage'
${lines.join('\n')}
${plan.hidden.map((path) => `vml_hide ${quoted(path)}`).join('\n')}
: >"$vml_at/m$vml_at/inside"
cd /
exec unshare --pid --fork --kill-child chroot "$vml_at/m" timeout --kill-after=5 ${timeoutSeconds} "$@"
`)
}

/** What the kernel makes is seen as it is; logs, `/run` and the rest get an overlay, too. */
function mountLine({ path, kind }: StageMount): string {
  const isKernels = ['/proc', '/sys', '/dev'].some((folder) => isWithin(path, asRaw(folder) as typeof path))
  return kind === 'through' && isKernels ? `vml_bind ${quoted(path)}` : `vml_overlay ${quoted(path)}`
}

function quoted(text: RawText): string {
  return singleQuoted(text)
}
