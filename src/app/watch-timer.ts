// A timer of the system that calls `vml tx watch --once`: systemd's where it runs, else one of cron.
import { existsSync } from 'node:fs'
import type { SchedulePlan } from './schedule.ts'
import { vmlCommand } from './schedule.ts'
import { quoted, startable } from './schedule-systemd.ts'

const name = 'vml-watch'
const cronFile = `/etc/cron.d/${name}`
/** A look takes a second of which most is the start of the program: each minute would be felt on a small machine. */
const everyMinutes = 5

export function planWatchTimer(isSystemd = existsSync('/run/systemd/system')): SchedulePlan {
  return isSystemd ? systemdTimer() : cronTimer()
}

/** Whether anything of it is there. */
export function hasWatchTimer({ uninstall }: SchedulePlan): boolean {
  return uninstall.some((step) => step.kind === 'remove' && existsSync(step.path))
}

function systemdTimer(): SchedulePlan {
  const unit = (kind: string) => `/etc/systemd/system/${name}.${kind}`
  const call = (optional: boolean, ...words: string[]) =>
    ({ kind: 'run', argv: ['systemctl', ...words], optional }) as const
  return {
    install: [
      { kind: 'write', path: unit('service'), content: service(), encoding: 'utf8' },
      { kind: 'write', path: unit('timer'), content: timer, encoding: 'utf8' },
      call(false, 'daemon-reload'),
      call(false, 'enable', `${name}.timer`),
      call(false, 'restart', `${name}.timer`),
    ],
    uninstall: [
      call(true, 'disable', '--now', `${name}.timer`),
      { kind: 'remove', path: `/etc/systemd/system/timers.target.wants/${name}.timer` },
      { kind: 'remove', path: unit('timer') },
      { kind: 'remove', path: unit('service') },
      { kind: 'remove', path: cronFile },
      call(true, 'daemon-reload'),
    ],
    notes: [`See what it did: journalctl -u ${name}`],
  }
}

function service(): string {
  return [
    '[Unit]',
    'Description=VML: record what was changed by hand',
    '',
    '[Service]',
    'Type=oneshot',
    // ":" keeps systemd from reading $ in the words as variables.
    `ExecStart=:${startable(command()).map(quoted).join(' ')}`,
    'UMask=0077',
    'Nice=10',
    'IOSchedulingClass=idle',
    '# A transaction is open: nothing has failed.',
    'SuccessExitStatus=11',
    '',
  ].join('\n')
}

const timer = `[Unit]
Description=VML: look for changes made by hand

[Timer]
OnCalendar=*:0/${everyMinutes}
AccuracySec=30s

[Install]
WantedBy=timers.target
`

/** crontab(5); files of this folder name the user, and `%` ends a command. */
function cronTimer(): SchedulePlan {
  const words = command().map((word) =>
    `'${word.replaceAll("'", String.raw`'\''`)}'`.replaceAll('%', String.raw`\%`),
  )
  return {
    install: [
      {
        kind: 'write',
        path: cronFile,
        content: `*/${everyMinutes} * * * * root ${words.join(' ')}\n`,
        encoding: 'utf8',
      },
    ],
    uninstall: [{ kind: 'remove', path: cronFile }],
    notes: [],
  }
}

function command(): readonly string[] {
  return [...vmlCommand('linux'), '--quiet', 'tx', 'watch', '--once']
}
