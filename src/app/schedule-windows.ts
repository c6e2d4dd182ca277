// A task of the Windows Task Scheduler ([MS-TSCH] 2.5.1, Task Scheduler Schema).
import { win32 } from 'node:path'
import { VmlError } from '../base/failure.ts'
import type { SchedulePlan, ScheduleRequest } from './schedule.ts'
import { xmlText } from './xml-text.ts'

const taskName = 'VML policy'

export function planWindowsTask(request: ScheduleRequest): SchedulePlan {
  if (request.scope === 'system')
    throw new VmlError(
      'unsupported',
      'Cannot schedule for the system on Windows: it has no configuration of its own',
      {
        hint: 'Nothing was changed. Schedule it for the user: leave out --system',
      },
    )
  // A path of Windows has a backslash after its drive; elsewhere the task is only printed.
  const file = request.dataFolder.includes('\\')
    ? win32.join(request.dataFolder, 'policy-task.xml')
    : `${request.dataFolder}/policy-task.xml`
  const schtasks = (...words: string[]) => ({ kind: 'run', argv: ['schtasks', ...words] }) as const
  return {
    install: [
      { kind: 'write', path: file, content: taskXml(request), encoding: 'utf16le' },
      { ...schtasks('/Create', '/F', '/TN', taskName, '/XML', file), optional: false },
    ],
    uninstall: [
      { ...schtasks('/Delete', '/F', '/TN', taskName), optional: true },
      { kind: 'remove', path: file },
    ],
    notes: ['It runs while you are logged in'],
  }
}

/** Elements in the order of the schema, which demands it. The file is UTF-16 with a byte order mark, as schtasks wants it. */
function taskXml({ command: [program = '', ...words], environment, everyMinutes }: ScheduleRequest): string {
  if (Object.keys(environment).length > 0)
    throw new VmlError(
      'unsupported',
      'Cannot schedule with folders that a variable names: a task has no variables',
      {
        details: { variables: Object.keys(environment) },
        hint: 'Nothing was changed. Set the variables for your whole account, and leave them unset here',
      },
    )
  const argumentsText = words.map(quotedArgument).join(' ')
  for (const text of [program, argumentsText]) refuseVariables(text)
  return `\ufeff<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>VML: save the machines that are due, thin their entries</Description>
  </RegistrationInfo>
  <Triggers>
    <TimeTrigger>
      <Repetition>
        <Interval>PT${everyMinutes}M</Interval>
      </Repetition>
      <StartBoundary>2026-01-01T00:00:00</StartBoundary>
      <Enabled>true</Enabled>
    </TimeTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>P1D</ExecutionTimeLimit>
    <Priority>7</Priority>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>${xmlText(program)}</Command>
      <Arguments>${xmlText(argumentsText)}</Arguments>
    </Exec>
  </Actions>
</Task>
`
}

/** The scheduler puts variables in place of %NAME% and $(NAME), and has no way to write these as they are. */
function refuseVariables(text: string): void {
  if (!/%[^%]*%|\$\(/.test(text)) return
  throw new VmlError(
    'unsupported',
    `Cannot schedule ${text}: Windows would take a part of it for a variable`,
    {
      hint: 'Nothing was changed. Use a path without % and $(',
    },
  )
}

/** As CommandLineToArgvW takes it apart: backslashes count only before a quote. */
function quotedArgument(word: string): string {
  if (/^[^\s"]+$/.test(word)) return word
  return `"${word.replaceAll(/(\\*)"/g, String.raw`$1$1\"`).replace(/(\\+)$/, '$1$1')}"`
}
