// The save of a policy: when it is due, what it asks for, and none where nothing has changed.
import { isImported, listEntries, type LoggedEntry, nextEntryNumber } from '../engine/entries.ts'
import { chooseBase, type SaveParts, type SaveRequest } from '../engine/save.ts'
import { warnOfOtherHost } from '../engine/other-host.ts'
import { saveIfChanged } from '../engine/save-if-changed.ts'
import { dueAtMs, type Policy, policyFor, policyName } from '../model/policy.ts'
import { findMachine } from './config.ts'
import { openFolderMemory } from './folder-memory.ts'
import { parseCache, parseMachinePath } from './machine-path.ts'
import { openMachine } from './open-machine.ts'
import { patiently, type PolicyContext, type PolicyEvent, type PolicyRun } from './policy-events.ts'
import { digestOfImage, openBase } from './save-base.ts'

export async function* saveDue(run: PolicyRun, policy: Policy): AsyncGenerator<PolicyEvent> {
  const { context, logbook } = run
  const entries = await listEntries(logbook, context)
  const nowMs = context.clock.now()
  const dueMs = dueAtMs(policy, lastMs(run, policy, entries, nowMs))
  if (dueMs === undefined) return
  if (dueMs > nowMs) {
    yield { what: 'not-due', policy, dueMs }
    return
  }
  if (run.dryRun) {
    yield { what: 'due', policy }
    return
  }
  const machine = findMachine(context.config, policy.machine)
  const project = projectOf(context, policy)
  await using open = await openMachine(context, machine)
  const { home } = context.config
  const request: SaveRequest = {
    title: 'scheduled',
    note: '',
    ...(project === undefined ? {} : { project }),
    tags: [],
    mode: 'incremental',
    include: policy.include.map((typed) => parseMachinePath(typed, open, home)),
    exclude: policy.exclude,
    only: policy.only.map((typed) => parseMachinePath(typed, open, home)),
    caches: policy.cache.map((typed) => parseCache(typed, open, home)),
  }
  const past = entries.filter(({ takenAt }) => takenAt.getTime() <= nowMs)
  const ofLine = past.filter((entry) => entry.project === project)
  const chosen =
    chooseBase(ofLine, machine.name, 'incremental') ?? chooseBase(past, machine.name, 'incremental')
  const base = await openBase(context, logbook.repository, chosen)
  warnOfOtherHost(base, open, context.reporter)
  const parts: SaveParts = {
    open,
    repository: logbook.repository,
    base,
    reporter: context.reporter,
    signal: context.signal,
    imageSha256: await digestOfImage(context, machine, base),
    folderMemory: openFolderMemory(context.config, logbook.repository.id, machine.name),
    nextNumber: () => nextEntryNumber(logbook, context),
    clock: context.clock,
  }
  const outcome = await patiently(run, async () => await saveIfChanged(parts, request))
  if ('kind' in outcome) {
    await run.remember({ looked: { ...run.state.looked, [policyName(policy)]: nowMs } })
    yield { what: 'unchanged', policy, since: outcome.since }
  } else yield { what: 'saved', policy, saved: outcome }
}

/** When the line was looked at last. What lies in the future was stamped by a clock that went wrong, and keeps nothing from being saved. */
function lastMs(
  { context, state }: PolicyRun,
  policy: Policy,
  entries: readonly LoggedEntry[],
  nowMs: number,
): number | undefined {
  const { policies: all, machines, hostName } = context.config
  const isLocal = machines.get(policy.machine)?.address.kind === 'local'
  const times = entries
    .filter((entry) => entry.kind === 'environment' && !isImported(entry) && policyFor(all, entry) === policy)
    // What another computer saves under the same name keeps nothing here from being saved.
    .filter(({ facts }) => !isLocal || facts?.host === undefined || facts.host === hostName)
    .map(({ takenAt }) => takenAt.getTime())
  const looked = state.looked[policyName(policy)]
  const past = [...times, ...(looked === undefined ? [] : [looked])].filter((time) => time <= nowMs)
  return past.length === 0 ? undefined : past.reduce((left, right) => Math.max(left, right))
}

/** As `vml save` would have it, unless that project has a policy of its own. */
function projectOf({ config }: PolicyContext, policy: Policy): string | undefined {
  if (policy.project !== undefined) return policy.project
  const project = config.project?.value
  return policyFor(config.policies, { machine: policy.machine, project }) === policy ? project : undefined
}
