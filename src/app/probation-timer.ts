// Has systemd take up watches of transactions after a start of the machine (systemd.timer(5), OnBootSec).
import { fileURLToPath } from 'node:url'
import { hasServices } from '../packages/services.ts'
import type { Shell } from '../wire/shell.ts'
import type { ScheduleStep } from './schedule.ts'
import { runSchedule } from './run-schedule.ts'

const name = 'vml-probation'
const folder = '/etc/systemd/system'
const service = `${folder}/${name}.service`
const timer = `${folder}/${name}.timer`
/** The system may come up first; it takes up what was cut off by a kill, too. */
const seconds = 60

/** False where systemd does not run the machine: then the next `vml tx` takes them up. */
export async function installProbationTimer(shell: Shell, signal: AbortSignal): Promise<boolean> {
  if (!(await hasServices(shell))) return false
  const start = fileURLToPath(new URL('../cli/vml.js', import.meta.url))
  await runSchedule(
    installSteps([process.execPath, start]),
    signal,
    'After a start of the machine: vml tx resume-probation',
  )
  return true
}

/** Whether systemd takes up what nobody watches any more: within the time above, and its slack. */
export async function isProbationTimerActive(shell: Shell): Promise<boolean> {
  if (!(await hasServices(shell))) return false
  return (await shell.run({ argv: ['systemctl', 'is-active', '--quiet', `${name}.timer`] })).status === 0
}

export async function removeProbationTimer(shell: Shell, signal: AbortSignal): Promise<void> {
  if (await hasServices(shell)) await runSchedule(removeSteps, signal)
}

function installSteps(program: readonly string[]): readonly ScheduleStep[] {
  return [
    { kind: 'write', path: service, content: serviceUnit(program), encoding: 'utf8' },
    { kind: 'write', path: timer, content: timerUnit, encoding: 'utf8' },
    { kind: 'run', argv: ['systemctl', 'daemon-reload'], optional: false },
    { kind: 'run', argv: ['systemctl', 'enable', '--now', `${name}.timer`], optional: false },
  ]
}

// The service is what may call this: it is not stopped.
const removeSteps: readonly ScheduleStep[] = [
  { kind: 'run', argv: ['systemctl', 'disable', '--now', `${name}.timer`], optional: true },
  { kind: 'remove', path: `${folder}/timers.target.wants/${name}.timer` },
  { kind: 'remove', path: timer },
  { kind: 'remove', path: service },
  { kind: 'run', argv: ['systemctl', 'daemon-reload'], optional: true },
]

function serviceUnit(program: readonly string[]): string {
  const words = [...program, 'tx', 'resume-probation'].map(
    (word) => `"${word.replaceAll(/["\\]/g, String.raw`\$&`).replaceAll('%', '%%')}"`,
  )
  return [
    '[Unit]',
    'Description=VML: watch changes of software until their time is over',
    '',
    '[Service]',
    'Type=oneshot',
    'TimeoutStartSec=infinity',
    // ":" keeps systemd from reading $ in the words as variables.
    `ExecStart=:${words.join(' ')}`,
    'Environment="HOME=/root"',
    'UMask=0077',
    '',
  ].join('\n')
}

const timerUnit = [
  '[Unit]',
  'Description=VML: take up the watch of changes of software',
  '',
  '[Timer]',
  `OnBootSec=${seconds}`,
  `OnUnitInactiveSec=${seconds}`,
  'AccuracySec=5s',
  '',
  '[Install]',
  'WantedBy=timers.target',
  '',
].join('\n')
