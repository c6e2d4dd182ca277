// Whether the machine would work as a stage leaves it, asked before anything is committed; the answers stand in the record.
import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { printableText, rawFromBytes, rawFromString, type RawText, rawToBytes } from '../base/raw-text.ts'
import { parseRawPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import type { Validation } from '../model/transaction-record.ts'
import { statusPath } from '../packages/dpkg-system.ts'
import { lostDependencies } from '../packages/lost-dependencies.ts'
import { checkScript, notSetApartStatus, timedOutStatuses } from '../stage/check-script.ts'
import { runInStage } from '../stage/run-in-stage.ts'
import type { LookedStage } from './end-stage.ts'
import { listOwnChecks } from './own-checks.ts'
import { checkLibraries } from './stage-libraries.ts'
import { type StageCheck, stageChecks } from './stage-check-table.ts'
import { openStageView, type StageView } from './stage-view.ts'
import { inRoot, type Workplace } from './workplace.ts'

/** A configuration is read in a second; a check that asks the network may wait for it. */
export const checkSecondsMax = 120
/** What a person reads of it, and what a record keeps. */
export const checkOutputBytesMax = 4096
const lostShown = 10

/**
 * Each answer has the outcome `passed`, `failed`, or `not run` with the reason. Nothing that a check writes stays, neither in the stage nor on the machine. Nobody
 * may be in the stage.
 */
export async function checkStage(place: Workplace, looked: LookedStage): Promise<Validation[]> {
  if (looked.changeSet.changes.length === 0) return []
  const view = openStageView(place, looked)
  const validations: Validation[] = []
  const add = (validation: Validation | undefined) => {
    if (validation) validations.push(validation)
  }
  const progress = (name: string) => place.reporter.progress({ phase: 'checking', item: name })
  progress('packages and shared libraries')
  // dpkg works while libraries are looked for: entering the stage is most of what it takes.
  const [audit, offers, libraries] = await Promise.allSettled([
    view.changes.has(statusPath) ? auditPackages(place, looked) : undefined,
    setImmediate().then(() => (view.changes.has(statusPath) ? checkOffers(place, view) : undefined)),
    setImmediate().then(async () => await checkLibraries(place, looked)),
  ])
  for (const asked of [audit, offers, libraries])
    if (asked.status === 'fulfilled') add(asked.value)
    else throw asked.reason
  for (const check of stageChecks) {
    const argv = dueArgv(check, view.changes.values())
    if (argv === undefined || !isThere(view, check.program)) continue
    progress(check.name)
    add(await withBefore(place, looked, argv, await ask(place, looked, { name: check.name, argv })))
  }
  for (const own of listOwnChecks(place)) {
    const name = `check ${own.name}`
    if (own.kind === 'refused') add({ name, outcome: 'not run', message: own.reason })
    else if (view.changes.has(own.path))
      add({ name, outcome: 'not run', message: 'the transaction changes it' })
    else {
      progress(name)
      const argv = [own.path]
      add(await withBefore(place, looked, argv, await ask(place, looked, { name, argv })))
    }
  }
  return validations
}

export function notPassed(validations: readonly Validation[]): readonly Validation[] {
  return validations.filter(({ outcome }) => outcome !== 'passed')
}

export function describeValidation({ name, outcome, message }: Validation): string {
  const what = outcome === 'not run' ? 'was not run' : outcome
  return printableText(`${name} ${what}${message === undefined ? '' : `: ${message}`}`)
}

/** `proof`: what was asked for with `--strict`. */
export function requirePassed(validations: readonly Validation[]): void {
  const bad = notPassed(validations)
  if (bad.length === 0) return
  throw new VmlError(
    'proof',
    `The change does not stand the checks: ${bad.map(describeValidation).join('; ')}`,
    {
      details: { validations: bad },
      hint: 'Nothing was changed. Without --strict it is committed all the same, and the record says so',
    },
  )
}

/** dpkg(1), --audit: what it complains of; what it complained of before is not this transaction's. */
async function auditPackages(place: Workplace, looked: LookedStage): Promise<Validation> {
  const audit = ['dpkg', '--audit']
  const staged = await ask(place, looked, { name: audit.join(' '), argv: audit, silent: true })
  if (staged.outcome !== 'failed' || staged.message === undefined) return staged
  const live = await place.shell.run({ argv: audit, signal: place.signal })
  return unlessOld(staged, live.stdout)
}

/** What it finds on the machine as it is. */
export function unlessOld(staged: Validation, live: Uint8Array): Validation {
  const isOld = textOf(live) === staged.message
  return isOld ? { name: staged.name, outcome: 'passed', message: 'it finds what it found before' } : staged
}

/** One that fails without the change, too, may have nothing to do with it. That is told, and no more: whether it is the same failure, nobody knows. */
async function withBefore(
  place: Workplace,
  { stage }: LookedStage,
  argv: readonly string[],
  staged: Validation,
): Promise<Validation> {
  if (staged.outcome !== 'failed') return staged
  const script = rawToBytes(checkScript(stage.plan, { timeoutSeconds: checkSecondsMax }))
  try {
    // Set apart in the same way, with the machine below it in place of the stage.
    const { status } = await place.shell.run({
      argv: [
        ...['env', '-i', ...Object.entries(environment).map(([name, value]) => `${name}=${value}`)],
        ...['unshare', '--mount', '--propagation', 'private'],
        ...['/bin/sh', '-c', 'eval "$(cat)" >/dev/null 2>&1', 'vml', ...argv],
      ],
      stdin: [script],
      signal: place.signal,
      idleTimeoutMs: (checkSecondsMax + 60) * 1000,
    })
    return failsBefore(status)
      ? { ...staged, message: `${staged.message ?? 'it failed'} ${alsoBefore}` }
      : staged
  } catch {
    place.signal?.throwIfAborted()
    return staged
  }
}

const alsoBefore = '(it fails on the machine as it is, too)'
const environment = { LC_ALL: 'C', HOME: '/root', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }

/** Not where it could not be asked, or was not there yet: chroot(1), timeout(1). */
function failsBefore(status: number): boolean {
  return status !== 0 && ![notSetApartStatus, 125, 126, 127].includes(status)
}

function checkOffers(place: Workplace, view: StageView): Validation | undefined {
  const [before, after] = [inRoot(place, statusPath), view.placeOf(statusPath)]
  if (after === undefined || view.changes.get(statusPath)?.before === undefined) return undefined
  const read = (file: RawText) => rawFromBytes(readFileSync(rawToBytes(file)))
  return judgeOffers(read(before), read(after))
}

/** Of dpkg's list of all packages before and after. */
export function judgeOffers(before: RawText, after: RawText): Validation {
  const lost = lostDependencies(before, after)
  const name = 'packages that others need'
  if (lost.length === 0) return { name, outcome: 'passed' }
  const sentences = lost
    .slice(0, lostShown)
    .map(({ package: by, needs, offeredBy }) => `${by} needs ${needs}, which ${offeredBy.join(', ')} offered`)
  const rest = lost.length > lostShown ? [`${lost.length - lostShown} more`] : []
  return { name, outcome: 'failed', message: [...sentences, ...rest].join('; ') }
}

/** Undefined where it is not due. */
export function dueArgv(
  { due, argv }: StageCheck,
  all: Iterable<Pick<PathChange, 'path' | 'after'>>,
): readonly string[] | undefined {
  const changes = [...all].filter(({ path }) => due.test(path))
  if (changes.length === 0) return undefined
  return argv(changes.flatMap(({ path, after }) => (after && after.type !== 'dir' ? [path] : [])))
}

function isThere(view: StageView, program: string): boolean {
  const path = parseRawPath(rawFromString(program))
  return path !== undefined && view.resolve(path) !== undefined
}

/** `silent`: what it says is a complaint, whatever its status. */
async function ask(
  place: Workplace,
  { stage }: LookedStage,
  { name, argv, silent = false }: { name: string; argv: readonly string[]; silent?: boolean },
): Promise<Validation> {
  const said: Buffer[] = []
  let bytes = 0
  const script = checkScript(stage.plan, { timeoutSeconds: checkSecondsMax })
  const outcome = await runInStage({
    folder: stage.folder,
    command: ['/bin/sh', '-c', 'eval "$(cat)"', 'vml', ...argv],
    environment,
    workingFolder: '/',
    stdio: 'pipe',
    signal: place.signal,
    onStart(child: ChildProcess) {
      child.stdin?.on('error', () => {})
      child.stdin?.end(rawToBytes(script))
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (chunk: Buffer) => {
          // Read to the end, so that it is never stopped by us; kept is its beginning.
          if (bytes < checkOutputBytesMax) said.push(chunk.subarray(0, checkOutputBytesMax - bytes))
          bytes += chunk.length
        })
    },
  }).catch((error: unknown) => {
    // The command itself could be run there: that a check cannot is no reason to do anything else with it.
    if (!isFailure(error, 'unsupported')) throw error
    return { refusal: messageOf(error) }
  })
  if ('refusal' in outcome) return { name, outcome: 'not run', message: outcome.refusal }
  return judgeCheck({ name, silent, status: outcome.status, said: Buffer.concat(said) })
}

/** `said`: the beginning of what it printed. */
export function judgeCheck({
  name,
  silent,
  status,
  said,
}: {
  readonly name: string
  readonly silent: boolean
  readonly status: number
  readonly said: Uint8Array
}): Validation {
  const output = textOf(said)
  const message = output === '' ? {} : { message: output }
  if (status === notSetApartStatus && output.startsWith('vml: '))
    return { name, outcome: 'not run', ...message }
  if (timedOutStatuses.has(status))
    return { name, outcome: 'failed', message: `it did not end within ${checkSecondsMax} s` }
  if (status !== 0)
    return { name, outcome: 'failed', message: output === '' ? `it ended with status ${status}` : output }
  return silent && output !== '' ? { name, outcome: 'failed', ...message } : { name, outcome: 'passed' }
}

/** One line of what a program said. */
function textOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).subarray(0, checkOutputBytesMax).toString('utf8')
  return text.trim().replaceAll(/\s*\n\s*/g, '; ')
}
