// Services of a machine with systemd around a change of their files: which they are, stopped before, started after, and for how long they stood.
import type { Clock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { lines } from './package-records.ts'

export interface StoppedUnit {
  readonly unit: string
  /** By the caller's clock, when it had stopped. */
  readonly stoppedAt: number
}

export interface UnitStanding {
  readonly unit: string
  readonly stoodMs: number
  /** What systemctl said when it did not start again; the others were started all the same. */
  readonly failure?: string
}

/** systemd's own limit for a unit to start or stop is 90 s; some have a longer one. */
const idleTimeoutMs = 600_000
const unitsMax = 1000
const unitPattern = /^[A-Za-z0-9:_.@\\-]{1,200}\.(?:service|socket|timer|path|mount|automount|target|slice)$/
const unitFolders = /^(?:\/usr)?\/lib\/systemd\/system\/|^\/etc\/systemd\/system\//
const initScript = /^\/etc\/init\.d\/([A-Za-z0-9_.-]{1,200})$/

/**
 * Units that have a file among these paths: the unit's own, or one of what is added to it (`NAME.service.d/`). A script of /etc/init.d is
 * the unit of its name (systemd-sysv-generator(8)). Of a template (`NAME@.service`) there may be several: `startedOf` tells.
 */
export function unitsOfPaths(paths: Iterable<RawPath>): readonly string[] {
  const units = new Set<string>()
  for (const path of paths) {
    const script = initScript.exec(path)?.[1]
    if (script !== undefined && script !== 'README') units.add(`${script}.service`)
    if (!unitFolders.test(path)) continue
    const [first = '', second] = path.replace(unitFolders, '').split('/')
    const unit = second === undefined ? first : /^(.*)\.d$/.exec(first)?.[1]
    if (unit !== undefined && unitPattern.test(unit)) units.add(unit)
  }
  return [...units].toSorted()
}

/** False where systemd is not what runs the machine, as in a chroot (sd_booted(3)): then there is nothing to stop. */
export async function hasServices(shell: Shell): Promise<boolean> {
  return (await shell.run({ argv: ['test', '-d', '/run/systemd/system'] })).status === 0
}

/** Which of them run or are being started, with each of a template by its name. */
export async function startedOf(shell: Shell, units: readonly string[]): Promise<readonly string[]> {
  if (units.length === 0 || !(await hasServices(shell))) return []
  const patterns = units.map((unit) => unit.replace('@.', '@*.'))
  const text = await systemctl(shell, [
    'list-units',
    '--plain',
    '--no-legend',
    '--full',
    '--state=active,activating,reloading',
    '--',
    ...patterns,
  ])
  const found = [...lines(text)]
    .map((line) => line.trim().split(/\s+/, 1)[0] ?? '')
    .filter((unit) => unit !== '')
  if (found.length > unitsMax || !found.every((unit) => unitPattern.test(unit)))
    throw new VmlError('remote.protocol', `Cannot read which services of ${shell.label} run`)
  return found.toSorted()
}

/** Stops those that run, in this order, and tells which. What was stopped before one failed is started again. */
export async function stopServices(
  shell: Shell,
  units: readonly string[],
  clock: Clock,
): Promise<readonly StoppedUnit[]> {
  const stopped: StoppedUnit[] = []
  try {
    for (const unit of await startedOf(shell, units)) {
      await systemctl(shell, ['stop', '--', unit])
      stopped.push({ unit, stoppedAt: clock.now() })
    }
  } catch (error) {
    await startServices(shell, stopped, clock)
    throw error
  }
  return stopped
}

/** Those that ran before, last stopped first. One that does not start is told, and keeps no other one down. */
export async function startServices(
  shell: Shell,
  stopped: readonly StoppedUnit[],
  clock: Clock,
): Promise<readonly UnitStanding[]> {
  const standings: UnitStanding[] = []
  for (const { unit, stoppedAt } of stopped.toReversed()) {
    const failure = await systemctl(shell, ['start', '--', unit]).then(
      () => undefined,
      (error: unknown) => (error instanceof VmlError ? error.message : String(error)),
    )
    standings.push({ unit, stoodMs: clock.now() - stoppedAt, ...(failure === undefined ? {} : { failure }) })
  }
  return standings
}

/** To be called when unit files have changed, before any of them is started. */
export async function reloadServices(shell: Shell): Promise<void> {
  if (await hasServices(shell)) await systemctl(shell, ['daemon-reload'])
}

async function systemctl(shell: Shell, words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await shell.run({
    argv: ['env', 'LC_ALL=C', 'systemctl', '--no-ask-password', ...words],
    idleTimeoutMs,
  })
  if (status === 0) return rawFromBytes(stdout)
  const said = printable(rawFromBytes(stderr.subarray(0, 512)))
    .replaceAll('\\n', ' ')
    .trim()
  throw new VmlError(
    'remote.command',
    `Cannot ${words[0] ?? ''} "${words.at(-1) ?? ''}" on ${shell.label}: ${said === '' ? `systemctl ended with ${status}` : said}`,
    { details: { status }, hint: `systemctl status ${words.at(-1) ?? ''} tells more` },
  )
}
