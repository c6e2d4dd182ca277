// `vml policy install`: a timer of this computer that calls the policies.
import { choosePolicies } from '../../app/policies.ts'
import { VmlError } from '../../base/failure.ts'
import { choice, defineCommand, dryRun, flag } from '../command.ts'
import { shown } from '../options.ts'
import { printableLines } from '../output.ts'
import type { ScheduleStep } from '../../app/schedule.ts'

export const install = defineCommand({
  description:
    'Installs a timer that calls vml policy run: a systemd timer, a launchd job on macOS, a task on Windows. Times that were missed, since the computer was off, are made up for once. A timer of yours runs while you are logged in; on Linux always after loginctl enable-linger, or with --system.',
  operands: [],
  options: {
    user: flag('--user', 'for you: the default'),
    system: flag('--system', 'for the whole computer: needs root, and uses its configuration'),
    uninstall: flag('--uninstall', 'take it away'),
    print: flag('--print', 'print its files instead'),
    for: choice('--for <system>', 'with --print or --dry-run: for another system than this', [
      'linux',
      'macos',
      'windows',
    ]),
    dryRun,
  },
  examples: [
    {
      line: 'vml policy install',
      does: 'have the policies called while you are logged in, or always: it says how',
    },
    { line: 'vml policy install --dry-run', does: 'say which files and commands that takes' },
    { line: 'vml policy install --print --for macos', does: 'see what launchd would be given' },
    { line: 'vml policy install --uninstall', does: 'take the timer away; policies and entries stay' },
  ],
  async run({ config, out, signal }, { options }) {
    if (options.user && options.system)
      throw new VmlError('usage', 'Cannot install for you and for the system at once', {
        hint: 'Give one of --user and --system',
      })
    if (options.for !== undefined && !options.print && !options.dryRun)
      throw new VmlError('usage', 'Cannot install for another system than this', {
        hint: 'Add --print to see its files, or --dry-run',
      })
    const { planSchedule, scheduleRequest, thisPlatform } = await import('../../app/schedule.ts')
    const platform = options.for ?? thisPlatform()
    const scope = options.system ? 'system' : 'user'
    const policies = options.uninstall ? config.policies : choosePolicies(config, undefined)
    const request = scheduleRequest(config, policies, { scope, platform })
    const plan = planSchedule(platform, request)
    const steps = options.uninstall ? plan.uninstall : plan.install
    if (options.print) {
      const files = plan.install.flatMap((step) => (step.kind === 'write' ? [step] : []))
      for (const { path, content } of files) {
        if (files.length > 1) out.line(`# ${shown(path)}`)
        out.line(content.replace('\ufeff', '').trimEnd())
      }
    } else if (options.uninstall && options.for === undefined && !(await isInstalled(steps))) {
      // The steps are taken all the same: a manager may know of a timer whose files are gone.
      out.line('No timer of VML is there: nothing to take away')
    } else for (const step of steps) out.line(`${options.dryRun ? 'Would ' : ''}${describe(step)}`)
    if (!options.print && !options.dryRun) {
      const { isNothingToStop, runSchedule } = await import('../../app/run-schedule.ts')
      for (const complaint of await runSchedule(steps, signal, plan.instead)) {
        // Where there was no timer there is nothing to stop; whoever had one should know.
        if (options.uninstall && !isNothingToStop(complaint)) out.note(`  ${printableLines(complaint)}`)
      }
    }
    out.document({
      schema: 1,
      dry_run: options.dryRun || options.print,
      system: platform,
      scope,
      every_minutes: request.everyMinutes,
      steps,
    })
    if (options.print || options.uninstall) return
    for (const note of plan.notes) out.note(`  ${shown(note)}`)
    if (platform !== 'linux' || scope !== 'user') return
    const { lingers } = await import('../../app/run-schedule.ts')
    const { name } = request.user
    const always = options.dryRun ? undefined : await lingers(name, signal)
    if (always === true) out.note('  It runs also while you are not logged in')
    else
      out.note(
        `  It runs only while you are logged in${always === undefined ? ', unless lingering is on' : ''}; for always: loginctl enable-linger ${shown(name)}`,
      )
  },
})

async function isInstalled(steps: readonly ScheduleStep[]): Promise<boolean> {
  const { findsAnything } = await import('../../app/run-schedule.ts')
  return findsAnything(steps)
}

function describe(step: ScheduleStep): string {
  switch (step.kind) {
    case 'write':
      return `write ${shown(step.path)}`
    case 'remove':
      return `remove ${shown(step.path)}`
    case 'run':
      return `run ${step.argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${shown(word).replaceAll("'", String.raw`'\''`)}'`)).join(' ')}`
  }
}
