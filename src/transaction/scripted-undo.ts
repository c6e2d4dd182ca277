// `vml tx undo --scripts`: the package manager takes it back by the packages' own scripts, in a stage; and what is then not as it was is told.
import type { StdioOptions } from 'node:child_process'
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import { ruleOf } from '../model/regeneration.ts'
import { dataFolderOf } from '../model/service-data.ts'
import { sameState } from '../model/transaction.ts'
import type { PackageTransition, Validation } from '../model/transaction-record.ts'
import { runInStage } from '../stage/run-in-stage.ts'
import { readPackagesNow, transitionsOf } from './packages-now.ts'
import {
  commitStage,
  discardStage,
  lookAtStage,
  type LookedStage,
  notRecorded,
  type StageEnd,
  type TransactionParts,
} from './end-stage.ts'
import { openStage, readIfThere, type StageRequest } from './open-stage.ts'
import { commitNeeds, requireSpace } from './space-need.ts'
import { checkStage, describeValidation, notPassed } from './stage-checks.ts'
import { requireStillOpen, withStageLock } from './stage-lock.ts'
import { openStageView } from './stage-view.ts'
import { takenBackBy, type UndoPlan } from './undo.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'

export interface ScriptedWork {
  /** To be brought back, each with the version it had; others go. */
  readonly install: readonly PackageTransition[]
  readonly remove: readonly PackageTransition[]
  /** Of `remove`, those of which nothing was there before, no configuration either. */
  readonly purge: readonly PackageTransition[]
}

export interface ScriptedRun {
  readonly request: StageRequest
  /** Files of `install`, where a stage sees them. */
  readonly files: readonly string[]
  /** Data of services may be changed by scripts. */
  readonly data: boolean
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly stdio: StdioOptions
}

/** A path that is not as the exact undo would have it. */
export interface ScriptedDifference {
  readonly path: RawPath
  readonly what: 'left over' | 'missing' | 'differs' | 'changed besides'
}

export function scriptedWork({ packages }: Pick<UndoPlan, 'packages'>): ScriptedWork {
  const moved = packages.filter(({ from, to }) => from !== to)
  const remove = moved.filter(({ to }) => to === undefined)
  return {
    install: moved.filter(({ to }) => to !== undefined),
    remove,
    purge: remove.filter(({ fate }) => fate === 'purged'),
  }
}

/** What is run in the stage, one after the other. Files of configuration that were changed by hand stay (dpkg(1), --force-confold). */
export function scriptedCommands(
  work: ScriptedWork,
  files: readonly string[],
): readonly (readonly string[])[] {
  const apt = [
    'apt-get',
    '-y',
    '-q',
    '-o',
    'Dpkg::Options::=--force-confdef',
    '-o',
    'Dpkg::Options::=--force-confold',
    '-o',
    'APT::Get::AutomaticRemove=false',
  ]
  const nameOf = ({ name, architecture }: PackageTransition) =>
    architecture === 'all' ? name : `${name}:${architecture}`
  const going = work.remove.map((each) => `${nameOf(each)}-`)
  const first = [...apt, 'install', '--allow-downgrades', '--no-install-recommends', ...files, ...going]
  const second = [...apt, 'purge', ...work.purge.map(nameOf)]
  return [
    ...(files.length > 0 || going.length > 0 ? [first] : []),
    ...(work.purge.length > 0 ? [second] : []),
  ]
}

/**
 * Order: stage; the commands; then it is looked at: other packages changed, a script failed, or data of services would be overwritten, and the stage is thrown away;
 * else it is committed and recorded as any other. The machine is untouched until then.
 */
export async function runScriptedUndo(
  parts: TransactionParts,
  plan: UndoPlan,
  run: ScriptedRun,
): Promise<{ readonly end: StageEnd; readonly differences: readonly ScriptedDifference[] }> {
  const work = scriptedWork(plan)
  const stage = await openStage(parts, run.request)
  try {
    for (const command of scriptedCommands(work, run.files)) {
      const { status } = await runInStage({
        folder: stage.folder,
        command,
        environment: { ...run.environment, DEBIAN_FRONTEND: 'noninteractive' },
        workingFolder: rootPath,
        stdio: run.stdio,
        signal: parts.signal,
      })
      if (status !== 0)
        throw new VmlError(
          'remote.command',
          `Cannot ${plan.kind} it by scripts: ${command[0]} ended with ${status}`,
          {
            details: { command },
            hint: 'Nothing was changed. Without --scripts no script runs, and every file comes back as it was',
          },
        )
    }
    const looked = await lookAtStage(parts, stage)
    await requirePackages(parts, plan, looked)
    if (!run.data) requireData(plan, looked)
    const differences = differencesTo(plan, looked)
    requireSpace(`${plan.kind} it`, commitNeeds(parts, looked))
    const checks = await checkStage(parts, looked)
    for (const bad of notPassed(checks)) parts.reporter.warn({ warning: describeValidation(bad) })
    const end = await withStageLock(parts, async () => {
      requireStillOpen(parts, stage.note)
      return await commitStage(parts, looked, {
        exitStatus: 0,
        validations: [...checks, validationOf(differences)],
        ...takenBackBy(plan),
      })
    })
    return { end, differences }
  } catch (error) {
    // Committed, and not recorded: that is left to `vml tx recover`.
    const isCommitted = await withStageLock(parts, async () => {
      if (parts.disk.look(pathIn(openFolder(parts), 'journal'))) return true
      await discardStage(parts, stage)
      return false
    })
    throw isCommitted ? notRecorded(error, `The ${plan.kind}`) : error
  }
}

/** apt may have found that others have to come or go, too: then it would be another undo than the one that was planned. */
async function requirePackages(place: Workplace, plan: UndoPlan, looked: LookedStage): Promise<void> {
  const view = openStageView(place, looked)
  const before = await readPackagesNow(place)
  const after = await readPackagesNow(place, (path) => {
    const at = view.placeOf(path)
    return at === undefined ? undefined : readIfThere(at)
  })
  const changed = (transitions: readonly PackageTransition[]) =>
    transitions
      .filter(({ from, to }) => from !== to)
      .map(({ name, architecture, to }) => `${name}:${architecture} ${to ?? 'removed'}`)
      .toSorted()
  const wanted = changed(plan.packages)
  const found = changed(transitionsOf(place, before, after).packages)
  const other = found.filter((each) => !wanted.includes(each))
  const missing = wanted.filter((each) => !found.includes(each))
  if (other.length === 0 && missing.length === 0) return
  const sentence = [
    ...(other.length > 0 ? [`it would bring ${other.join(', ')}`] : []),
    ...(missing.length > 0 ? [`it would not bring ${missing.join(', ')}`] : []),
  ].join('; ')
  throw new VmlError('conflict', `Cannot ${plan.kind} it by scripts: ${sentence}`, {
    details: { other, missing },
    hint: 'Nothing was changed. Without --scripts exactly what was planned is done',
  })
}

function requireData({ kind, paths }: UndoPlan, { changeSet }: LookedStage): void {
  const planned = new Map(paths.paths.map((each) => [each.path, each.wanted]))
  const hurt = changeSet.changes.filter(
    ({ path, before, after }) =>
      before !== undefined &&
      before.type !== 'dir' &&
      dataFolderOf(path) !== undefined &&
      !(planned.has(path) && sameState(after, planned.get(path))),
  )
  const [first] = hurt
  if (first === undefined) return
  throw new VmlError(
    'conflict',
    `Cannot ${kind} it by scripts: they change data of services: ${printable(first.path)}${hurt.length > 1 ? ` and ${hurt.length - 1} more` : ''}`,
    {
      details: { paths: hurt.map(({ path }) => printable(path)) },
      hint: 'Nothing was changed. --data lets them; without --scripts the data stays, or its hook hands it over',
    },
  )
}

/** The books of dpkg, apt and debconf are written anew by them and say the same; what programs make anew is no difference either. */
const books: readonly RegExp[] = [
  /^\/var\/lib\/(?:dpkg|apt|ucf|systemd\/deb-systemd-helper-)/,
  /^\/var\/cache\//,
]

function differencesTo(
  { paths: { paths } }: UndoPlan,
  { changeSet }: LookedStage,
): readonly ScriptedDifference[] {
  const changes = new Map(changeSet.changes.map((change) => [change.path, change]))
  const known = new Set(paths.map(({ path }) => path))
  const counts = (path: RawPath) => ruleOf(path) === undefined && !books.some((book) => book.test(path))
  const planned = paths.flatMap(({ path, now, wanted }): ScriptedDifference[] => {
    const change = changes.get(path)
    const then = change === undefined ? now : change.after
    if (!counts(path) || sameState(then, wanted)) return []
    return [{ path, what: wanted === undefined ? 'left over' : then === undefined ? 'missing' : 'differs' }]
  })
  const besides = changeSet.changes.flatMap(({ path, before, after }): ScriptedDifference[] =>
    known.has(path) || !counts(path) || sameState(before, after) ? [] : [{ path, what: 'changed besides' }],
  )
  return [...planned, ...besides].toSorted((one, other) => (one.path < other.path ? -1 : 1))
}

const namedMax = 100

function validationOf(differences: readonly ScriptedDifference[]): Validation {
  const name = 'as it was before'
  if (differences.length === 0) return { name, outcome: 'passed' }
  const named = differences.slice(0, namedMax).map(({ path, what }) => `${what}: ${printable(path)}`)
  const rest = differences.length - named.length
  return {
    name,
    outcome: 'failed',
    message: [...named, ...(rest > 0 ? [`${rest} more`] : [])].join('; '),
  }
}
