// The line for crontab(5) that calls the policies where no manager of services does.
import type { ScheduleRequest } from './schedule.ts'

/** To be pasted behind `crontab -e`. In its command `%` ends the line, hence the backslash before it. */
export function crontabLine({ command, environment, everyMinutes }: ScheduleRequest): string {
  const minutes = everyMinutes === 60 ? '0' : everyMinutes === 1 ? '*' : `*/${everyMinutes}`
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const words = [...(variables.length > 0 ? ['env', ...variables] : []), ...command, '--quiet']
  return `${minutes} * * * * ${words
    .map(quoted)
    .join(' ')
    .replaceAll('%', String.raw`\%`)}`
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}
