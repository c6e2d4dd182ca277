// What mends a commit that a crash cut off when the machine starts, before its services do, by plain sh (systemd.service(5), bootup(7)).
import { existsSync, readFileSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { absent } from '../packages/hook-file.ts'
import { hookFolder } from '../packages/hook-scripts.ts'
import { bootLogFile } from '../transaction/boot-log.ts'
import type { SchedulePlan } from './schedule.ts'
import { findsAnything, runSchedule } from './run-schedule.ts'
import { systemFolder } from './system-logbook.ts'

const name = 'vml-recover.service'
const unit = `/etc/systemd/system/${name}`
const wants = '/etc/systemd/system/sysinit.target.wants'
const script = `${hookFolder}/at-boot`
const stage = `${systemFolder}/stage/open`

export const bootRescueFiles: readonly string[] = [script, unit, `${wants}/${name}`]

/** False where systemd does not run the machine: then the first call of VML, or of apt, mends it. */
export function canRescueAtBoot(): boolean {
  return existsSync('/run/systemd/system')
}

export async function installBootRescue(signal: AbortSignal): Promise<void> {
  await runSchedule(plan.install, signal, 'After a crash: vml tx recover')
}

/** Gives the files that were there. */
export async function removeBootRescue(signal: AbortSignal): Promise<readonly string[]> {
  if (!findsAnything(plan.uninstall)) return []
  const found = bootRescueFiles.filter((path) => existsSync(path))
  await runSchedule(plan.uninstall, signal)
  // It is made where nothing else is wanted by that target.
  await absent(rmdir(wants)).catch(() => {})
  return found
}

/** Those that are already what they would be after `installBootRescue`. */
export function rightBootRescueFiles(): readonly string[] {
  const texts = new Map(
    plan.install.flatMap((step) => (step.kind === 'write' ? [[step.path, step.content]] : [])),
  )
  // systemd's own link has the text of what it leads to.
  return bootRescueFiles.filter(
    (path) => existsSync(path) && readFileSync(path, 'utf8') === (texts.get(path) ?? unitText),
  )
}

export function findsBootRescue(): boolean {
  return findsAnything(plan.uninstall)
}

/**
 * After the local file systems, on which all that a commit moves lies, and before what may read files of packages. Not before systemd-sysusers or
 * systemd-modules-load: those may come before file systems are mounted, which would be a circle. Without the script, or a journal, it does nothing.
 */
const unitText = `[Unit]
Description=VML: end a change of software that a crash cut off
Documentation=file:${stage}/journal/recover.sh
DefaultDependencies=no
ConditionPathExists=${stage}/journal/state
ConditionPathExists=${script}
After=local-fs.target
Before=sysinit.target systemd-tmpfiles-setup.service ldconfig.service apparmor.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh ${script}
# The size of the change decides: it goes by the step.
TimeoutStartSec=infinity
UMask=0077
StandardOutput=journal+console

[Install]
WantedBy=sysinit.target
`

/**
 * Goes on in the direction in which it was cut off; a commit that cannot be ended is taken back, as VML does it. Whatever comes of it, the machine goes
 * on starting. What it says is kept for the record.
 */
export const bootScript = `#!/bin/sh
# Written by "vml tx enable"; "vml tx disable" removes it.
# Called when the machine starts: ends a commit of VML that a crash cut off, or takes it back. Needs neither VML nor Node.
PATH=\${PATH:+$PATH:}/usr/sbin:/usr/bin:/sbin:/bin
stage=\${1-${stage}}
state=
[ ! -f "$stage/journal/state" ] || read -r state <"$stage/journal/state"
case $state in COMMITTING | TAKING-BACK) ;; *) exit 0 ;; esac
umask 077
tell() {
  echo "$*"
  echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*" >>"$stage/${bootLogFile}"
}
run() {
  said=$(sh "$stage/journal/recover.sh" "$@" 2>&1)
  status=$?
  tell "$said"
}
tell "A change of software was cut off ($state)"
run
# Whole in the other direction is better than half in this one.
[ $status != 1 ] || [ "$state" != COMMITTING ] || run --backward
sync
# systemd and udev have read files of before.
[ ! -d /run/systemd/system ] || systemctl daemon-reload || :
udevadm control --reload 2>/dev/null || :
exit $status
`

const plan: SchedulePlan = {
  install: [
    { kind: 'write', path: script, content: bootScript, encoding: 'utf8' },
    { kind: 'write', path: unit, content: unitText, encoding: 'utf8' },
    { kind: 'run', argv: ['systemctl', 'daemon-reload'], optional: false },
    { kind: 'run', argv: ['systemctl', 'enable', name], optional: false },
  ],
  // The unit first: without its script it does nothing.
  uninstall: [
    // Where it mended something it counts as active until it is stopped.
    { kind: 'run', argv: ['systemctl', 'disable', '--now', name], optional: true },
    { kind: 'remove', path: `${wants}/${name}` },
    { kind: 'remove', path: unit },
    { kind: 'remove', path: script },
    { kind: 'run', argv: ['systemctl', 'daemon-reload'], optional: true },
    // A watch that took something back has failed as a unit, and systemd remembers that of units that are gone.
    {
      kind: 'run',
      argv: ['systemctl', 'reset-failed', name, 'vml-probation.service', 'vml-watch.service'],
      optional: true,
    },
  ],
  notes: [],
}
