// A systemd timer, of the user or of the system (systemd.service(5), systemd.timer(5), systemd.syntax(7)).
import { join } from 'node:path'
import { crontabLine } from './schedule-crontab.ts'
import type { SchedulePlan, ScheduleRequest } from './schedule.ts'

const name = 'vml-policy'

export function planSystemd(request: ScheduleRequest): SchedulePlan {
  const isUser = request.scope === 'user'
  const folder = isUser ? join(request.configHome, 'systemd/user') : '/etc/systemd/system'
  const systemctl = isUser ? ['systemctl', '--user'] : ['systemctl']
  const service = join(folder, `${name}.service`)
  const timer = join(folder, `${name}.timer`)
  const call = (...words: string[]) => ({ kind: 'run', argv: [...systemctl, ...words] }) as const
  return {
    install: [
      { kind: 'write', path: service, content: serviceUnit(request), encoding: 'utf8' },
      { kind: 'write', path: timer, content: timerUnit(request), encoding: 'utf8' },
      { ...call('daemon-reload'), optional: false },
      { ...call('enable', `${name}.timer`), optional: false },
      // Also where it runs already, with the times of before.
      { ...call('restart', `${name}.timer`), optional: false },
    ],
    uninstall: [
      { ...call('disable', '--now', `${name}.timer`), optional: true },
      // Where nobody could be asked to disable it.
      { kind: 'remove', path: join(folder, 'timers.target.wants', `${name}.timer`) },
      { kind: 'remove', path: timer },
      { kind: 'remove', path: service },
      { ...call('daemon-reload'), optional: true },
    ],
    notes: [`See what it did: journalctl ${isUser ? '--user ' : ''}-u ${name}`],
    instead: `${isUser ? 'Without a session of systemd: as root, vml policy install --system; or put' : 'Without systemd put'} this line behind crontab -e: ${crontabLine(request)}`,
  }
}

function serviceUnit({ scope, command, environment, home, user }: ScheduleRequest): string {
  const variables = { ...(scope === 'system' ? { HOME: home } : {}), ...environment }
  return [
    '[Unit]',
    'Description=VML: save the machines that are due, thin their entries',
    ...(scope === 'system' ? ['Wants=network-online.target', 'After=network-online.target'] : []),
    '',
    '[Service]',
    'Type=oneshot',
    ...(scope === 'system' ? [`User=${user.uid}`] : []),
    // ":" keeps systemd from reading $ in the words as variables.
    `ExecStart=:${startable(command).map(quoted).join(' ')}`,
    ...Object.entries(variables).map(([variable, value]) => `Environment=${quoted(`${variable}=${value}`)}`),
    'UMask=0077',
    'Nice=10',
    'IOSchedulingPriority=7',
    '# Another run is at work: nothing has failed.',
    'SuccessExitStatus=11',
    '',
  ].join('\n')
}

function timerUnit({ everyMinutes }: ScheduleRequest): string {
  return [
    '[Unit]',
    'Description=VML: call the policies',
    '',
    '[Timer]',
    `OnCalendar=${everyMinutes === 60 ? 'hourly' : everyMinutes === 1 ? 'minutely' : `*:0/${everyMinutes}`}`,
    '# What was missed is made up for once.',
    'Persistent=true',
    'AccuracySec=30s',
    '',
    '[Install]',
    'WantedBy=timers.target',
    '',
  ].join('\n')
}

/** For `ExecStart`. A program with quotes or backslashes in its name is refused by systemd, however they are written: a shell starts it. */
export function startable(command: readonly string[]): readonly string[] {
  return /["'\\]/.test(command[0] ?? '') ? ['/bin/sh', '-c', 'exec "$0" "$@"', ...command] : command
}

/** Between double quotes, with the escapes of C; % begins a specifier. */
export function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, String.raw`\$&`).replaceAll('%', '%%')}"`
}
