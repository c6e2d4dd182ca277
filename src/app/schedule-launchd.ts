// A launchd job, of the user or of the system (launchd.plist(5)).
import { join } from 'node:path'
import type { SchedulePlan, ScheduleRequest } from './schedule.ts'
import { xmlText } from './xml-text.ts'

/** 0077: a property list has no octal numbers. */
const umask = 0o077
const label = 'vml.policy'
/** launchd's own PATH has none of the folders where rclone and others are installed. */
const path = '/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin'

export function planLaunchd(request: ScheduleRequest): SchedulePlan {
  const { scope, home, user } = request
  const isUser = scope === 'user'
  const folder = isUser ? join(home, 'Library/LaunchAgents') : '/Library/LaunchDaemons'
  const domain = isUser ? `gui/${user.uid}` : 'system'
  const file = join(folder, `${label}.plist`)
  const out = { kind: 'run', argv: ['launchctl', 'bootout', `${domain}/${label}`], optional: true } as const
  return {
    install: [
      { kind: 'write', path: file, content: propertyList(request), encoding: 'utf8' },
      out,
      { kind: 'run', argv: ['launchctl', 'bootstrap', domain, file], optional: false },
    ],
    uninstall: [out, { kind: 'remove', path: file }],
    notes: [`See what it did: ${logFile(request)}`],
  }
}

function logFile({ stateFolder }: ScheduleRequest): string {
  return join(stateFolder, 'policy.log')
}

/**
 * At calendar times, which launchd makes up for once when the computer wakes, and when it starts: what is not due then costs a look.
 */
function propertyList(request: ScheduleRequest): string {
  const { scope, command, environment, everyMinutes, home } = request
  const variables = { PATH: path, ...(scope === 'system' ? { HOME: home } : {}), ...environment }
  const minutes = Array.from({ length: 60 / everyMinutes }, (_, index) => index * everyMinutes)
  const text = (value: string) => `<string>${xmlText(value)}</string>`
  const log = text(logFile(request))
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>${text(label)}
  <key>ProgramArguments</key>
  <array>
${command.map((word) => `    ${text(word)}`).join('\n')}
  </array>
  <key>EnvironmentVariables</key>
  <dict>
${Object.entries(variables)
  .map(([variable, value]) => `    <key>${xmlText(variable)}</key>${text(value)}`)
  .join('\n')}
  </dict>
  <key>StartCalendarInterval</key>
  <array>
${minutes.map((minute) => `    <dict><key>Minute</key><integer>${minute}</integer></dict>`).join('\n')}
  </array>
  <key>RunAtLoad</key><true/>
  <key>ProcessType</key><string>Background</string>
  <key>LowPriorityIO</key><true/>
  <key>Umask</key><integer>${umask}</integer>
  <key>StandardOutPath</key>${log}
  <key>StandardErrorPath</key>${log}
</dict>
</plist>
`
}
