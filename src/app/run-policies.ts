// What a timer does: due saves, thinning, and now and then a prune. One machine that fails does not keep the others from theirs.
import { messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import type { Policy } from '../model/policy.ts'
import type { Logbook } from './open.ts'
import type { PolicyContext, PolicyEvent, PolicyRun, RunOptions } from './policy-events.ts'
import { saveDue } from './policy-save.ts'
import { protectPacks } from './protect.ts'
import { policyStateFile, readPolicyState, writePolicyState } from './policy-state.ts'
import { pruneSometimes, thinLine } from './policy-thin.ts'

/** The policies are those that were chosen; which entries each is about depends on all that there are. */
export async function* runPolicies(
  context: PolicyContext,
  logbook: Logbook,
  policies: readonly Policy[],
  options: RunOptions,
): AsyncGenerator<PolicyEvent> {
  const stateFile = policyStateFile(context.config.folders.state, logbook.repository.id)
  const state = await readPolicyState(stateFile)
  const run: PolicyRun = {
    ...options,
    context,
    refusal: undefined,
    defects: [],
    async agreeTo(removal) {
      try {
        await context.agreeTo(removal)
      } catch (error) {
        run.refusal = error
        throw error
      }
    },
    logbook,
    state,
    async remember(change) {
      run.state = { ...run.state, ...change }
      await writePolicyState(stateFile, run.state)
    },
  }
  for (const policy of policies) {
    if (run.save) yield* attempt(run, policy, 'save', () => saveDue(run, policy))
    if (run.thin) yield* attempt(run, policy, 'thin', () => thinLine(run, policy))
  }
  if (run.prune && !run.dryRun) yield* pruneSometimes(run)
  if ((run.save || run.prune) && !run.dryRun) await protectPacks(run.logbook.repository, run.context)
  if (run.defects.length > 0) throw run.defects[0]
}

/**
 * What fails ends this policy's part and no other; a no and a cancelled run end all. A defect is kept for the end, so that it is told as
 * one, after the other machines had their turn.
 */
async function* attempt(
  run: PolicyRun,
  policy: Policy,
  doing: 'save' | 'thin',
  work: () => AsyncGenerator<PolicyEvent>,
): AsyncGenerator<PolicyEvent> {
  try {
    yield* work()
  } catch (error) {
    run.context.signal.throwIfAborted()
    if (error === run.refusal) throw error
    const failure = failureOf(error)
    if (failure === undefined) run.defects.push(error)
    yield {
      what: 'failed',
      policy,
      doing,
      error: failure ?? new VmlError('failed', `A defect of VML: ${messageOf(error)}`, { cause: error }),
    }
  }
}

/** A failure of the table, or of the system. */
function failureOf(error: unknown): VmlError | undefined {
  if (error instanceof VmlError) return error
  const code = systemErrorCode(error)
  if (code === undefined) return undefined
  const isFull = code === 'ENOSPC' || code === 'EDQUOT'
  return new VmlError(isFull ? 'unavailable.space' : 'failed', messageOf(error), { cause: error })
}
