// What services were asked to do in a stage, and what of it is to be done once after the commit.
import { rawToUtf8, type RawText } from '../base/raw-text.ts'

export type ServiceAction = 'start' | 'stop' | 'restart' | 'try-restart' | 'reload'

export interface ServiceStep {
  /** A unit with its ending (`nginx.service`), or the name of an init script. */
  readonly service: string
  readonly action: ServiceAction
  /** A program of the machine and its words. */
  readonly command: readonly string[]
}

export interface ServicePlan {
  /** Each service once. What ends comes first: systemd knows a unit until it is told to look again, its file may be gone by now. */
  readonly stops: readonly ServiceStep[]
  /** `systemctl daemon-reload`, or `daemon-reexec` where that was asked for, between the two; absent where systemd does not run. */
  readonly reload?: readonly string[]
  /** In the order in which they were last asked for. */
  readonly starts: readonly ServiceStep[]
  /** Lines that ask for nothing that we know, as they stand there; safe to print as `printable` says. */
  readonly unknown: readonly RawText[]
}

/** Scripts write some fifty bytes for each request; a full upgrade makes hundreds. */
export const queueBytesMax = 4 * 1024 * 1024
/** Units and init scripts (systemd.unit(5), "Description"), or patterns of them: nothing that a program could take for an option or a path. */
const serviceName = /^[A-Za-z0-9_][A-Za-z0-9:_.\\@*-]{0,255}$/
/** Who was asked for it, where it is not Debian's invoke-rc.d, and is asked again. */
const askedOfSystemctl = 'systemctl'
const daemonReexec = 'daemon-reexec'

/** Actions of invoke-rc.d(8) and deb-systemd-invoke(1p). */
const actions: ReadonlyMap<string, ServiceAction> = new Map([
  ['start', 'start'],
  ['stop', 'stop'],
  ['restart', 'restart'],
  ['try-restart', 'try-restart'],
  ['condrestart', 'try-restart'],
  ['reload', 'reload'],
  ['force-reload', 'restart'],
  ['reload-or-restart', 'restart'],
  ['rotate', 'reload'],
])

/** Pure. `queue` is what the policy script or the stand-in of systemctl wrote; more than `queueBytesMax` of it is not looked at. */
export function planServices(queue: RawText, { systemd }: { readonly systemd: boolean }): ServicePlan {
  const asked: { readonly service: string; readonly known: readonly ServiceAction[] }[] = []
  const unknown: RawText[] = []
  const bySystemctl = new Set<string>()
  let reload = 'daemon-reload'
  for (const line of queue.slice(0, queueBytesMax).split('\n') as RawText[]) {
    if (line === '') continue
    const [service = '', words = '', asker, ...rest] = (rawToUtf8(line) ?? '').split('\t')
    if (service === '' && asker === askedOfSystemctl && managerWords.has(words)) {
      // It reads all units, too.
      if (words === daemonReexec) reload = words
      continue
    }
    const known = words.split(' ').flatMap((word) => actions.get(word) ?? [])
    const isKnownAsker = asker === undefined || asker === askedOfSystemctl
    if (!serviceName.test(service) || known.length === 0 || !isKnownAsker || rest.length > 0) {
      unknown.push(line)
      continue
    }
    if (asker !== undefined) bySystemctl.add(service)
    asked.push({ service, known })
  }
  const names = new Set(asked.map(({ service }) => service))
  const wanted = new Map<string, ServiceAction>()
  for (const { service: name, known } of asked) {
    // Packages may ask for a unit, and by invoke-rc.d for the init script that it stands for.
    const service = systemd && names.has(`${name}.service`) ? `${name}.service` : name
    for (const action of known) {
      const next = combined(wanted.get(service), action)
      // The last request decides on its place.
      wanted.delete(service)
      wanted.set(service, next)
    }
  }
  const steps = [...wanted].map(([service, action]): ServiceStep => ({
    service,
    action,
    command: bySystemctl.has(service) ? systemctlCommand(service, action) : commandOf(service, action),
  }))
  return {
    stops: steps.filter(({ action }) => action === 'stop'),
    ...(systemd ? { reload: ['systemctl', reload] } : {}),
    starts: steps.filter(({ action }) => action !== 'stop'),
    unknown,
  }
}

/**
 * What two requests come to. The service was left alone in between: what was to be stopped and started runs still, with the old program. One that
 * was stopped is not brought back by a request to restart it if it runs.
 */
function combined(before: ServiceAction | undefined, now: ServiceAction): ServiceAction {
  if (before === undefined || now === 'stop') return now
  switch (before) {
    case 'stop':
      return now === 'start' || now === 'restart' ? 'restart' : 'stop'
    case 'restart':
      return 'restart'
    case 'start':
      return now === 'restart' || now === 'try-restart' ? 'restart' : 'start'
    case 'try-restart':
      return now === 'start' || now === 'restart' ? 'restart' : 'try-restart'
    case 'reload':
      return now === 'start' ? 'restart' : now
  }
}

const managerWords: ReadonlySet<string> = new Set(['daemon-reload', daemonReexec])

/** Of what does not run nothing is to be read anew; what cannot read anew is restarted. */
function systemctlCommand(service: string, action: ServiceAction): readonly string[] {
  return ['systemctl', action === 'reload' ? 'try-reload-or-restart' : action, '--', service]
}

/** Both ask the machine's own policy, which may forbid it. An unknown ending is an init script's name with a dot in it. */
function commandOf(service: string, action: ServiceAction): readonly string[] {
  const isUnit = /\.(?:service|socket|timer|path|target|mount|automount|slice|scope|swap|device)$/.test(
    service,
  )
  if (isUnit) return ['deb-systemd-invoke', action, service]
  return ['invoke-rc.d', service, action]
}
