// `vml tx hook`: what the hooks of apt, dpkg, dnf and rpm call; not for people.
import { beginPackageRun } from '../../app/begin-package-run.ts'
import type { Logbook } from '../../app/open.ts'
import { openTransactionParts, whoIsAtWork } from '../../app/transactions.ts'
import { isFailure, messageOf } from '../../base/failure.ts'
import type { StageEnd, TransactionParts } from '../../transaction/end-stage.ts'
import { type BegunCall, type HookCall, parseHookCall, type RpmCall } from '../../packages/hook-calls.ts'
import { refusedStatus, toldStatus } from '../../packages/hook-scripts.ts'
import { openFolder } from '../../transaction/workplace.ts'
import { type Context, defineCommand, operand } from '../command.ts'
import { recoverFirst } from '../recover-first.ts'

export const hook = defineCommand({
  description:
    'Called by the hooks of apt, dpkg, dnf and rpm, which vml tx enable puts in place. Not to be called by hand.',
  operands: [
    operand(
      'VERB',
      'begin, plan, live, redo-live, end, dpkg-begin, dpkg-end, dnf-staged, dnf-run, dnf-begin, dnf-end, rpm-begin, rpm-end',
    ),
    {
      ...operand('WORD', 'the process; of redo-live number and status of the call; of dnf-run the command'),
      required: false,
      many: true,
    },
  ],
  options: {},
  examples: [
    { line: 'vml tx hook begin 4711', does: 'a run of apt begins' },
    { line: 'vml tx hook end 4711', does: 'it has ended' },
    { line: 'vml tx hook redo-live 0001 1', does: 'what failed in the stage is done on the system' },
  ],
  async run(context, { operands }) {
    const call = parseHookCall(operands.filter((word) => word !== undefined))
    if (context.config.storage.readOnly && isBegin(call)) return goUnrecorded(context, call, readOnlyText)
    const logbook = await openForHook(context, call)
    if (typeof logbook === 'string') return goUnrecorded(context, call, logbook)
    const parts = openTransactionParts(context, logbook)
    try {
      return await answer(context, parts, call)
    } catch (error) {
      // Another transaction is open: nothing must change beside it.
      if (!isFailure(error, 'store.locked') || !beginnings.has(call.verb)) throw error
      context.out.note(`vml: ${messageOf(error)}${error.hint === undefined ? '' : `\n     ${error.hint}`}`)
      return refusedStatus
    }
  },
})

const beginnings: ReadonlySet<HookCall['verb']> = new Set([
  'begin',
  'live',
  'dpkg-begin',
  'dnf-begin',
  'dnf-run',
  'rpm-begin',
])
function isBegin({ verb }: HookCall): boolean {
  return verb === 'dnf-staged' || beginnings.has(verb)
}

const readOnlyText =
  'This change is not recorded: the logbook is read only (--read-only, VML_READ_ONLY or read_only of config.toml)'

/** Where it is away, or its place is none: why nothing is recorded. What begins now goes on all the same. */
async function openForHook(context: Context, call: HookCall): Promise<Logbook | string> {
  try {
    return await context.openSystemLogbook({ make: true })
  } catch (error) {
    if (!isFailure(error, 'store.missing', 'unsupported') || !isBegin(call)) throw error
    // Of what is asked for it is not true: that is done.
    const next = error.hint?.replace(/^Nothing was changed[^.]*\. ?/, '') ?? ''
    return `${messageOf(error)}\n     ${programOf(call)} goes on without VML; this change is not recorded. ${next}`.trimEnd()
  }
}

function programOf({ verb }: HookCall): string {
  return /^(dpkg|dnf|rpm)-/.exec(verb)?.[1] ?? 'apt'
}

/** What is done then could not be recorded: apt and the others go on without VML, which says so once. */
function goUnrecorded({ out, config }: Context, { verb }: HookCall, text: string): number {
  // apt has begun before, and the dpkg that it calls begins again; dnf asks before it begins.
  const isTold = verb === 'dnf-staged' || config.environment['DPKG_FRONTEND_LOCKED'] !== undefined
  if (verb === 'begin' || !isTold) out.note(`vml: ${text}`)
  return toldStatus
}

/** Of what is a part of a transaction that is open: its end is not to be told. */
const partStatus = 1

/** What was tried is thrown away, and what was cut off is mended. */
async function makeWay(context: Context, parts: TransactionParts): Promise<void> {
  if (parts.disk.look(openFolder(parts))) {
    const { yieldTried } = await import('../../app/tried.ts')
    const yielded = await yieldTried(parts)
    if (yielded !== undefined) context.out.note(`vml: ${yielded}`)
  }
  await recoverFirst(context, parts)
  const { tellAbandonedProbations } = await import('../../app/probations.ts')
  await tellAbandonedProbations(parts)
}

/** Each imports what it needs: apt waits for two of them, and what a run of dnf needs is none of theirs. */
async function answer(context: Context, parts: TransactionParts, call: HookCall): Promise<number> {
  switch (call.verb) {
    case 'begin':
    case 'dpkg-begin': {
      await makeWay(context, parts)
      await beginPackageRun(parts, {
        source: call.verb === 'begin' ? 'apt' : 'dpkg',
        processId: call.pid,
        user: whoIsAtWork(context.config),
      })
      return 0
    }
    case 'plan':
    case 'live':
    case 'redo-live':
    case 'end':
    case 'dpkg-end':
      return await answerBegun(context, parts, call)
    case 'dnf-staged':
    case 'dnf-run':
    case 'dnf-begin':
    case 'rpm-begin':
    case 'dnf-end':
    case 'rpm-end':
      return await answerRpm(context, parts, call)
  }
}

async function answerBegun(context: Context, parts: TransactionParts, call: BegunCall): Promise<number> {
  const { considerPlan, endPackageRun, goLive, redoLive } = await import('../../app/package-hooks.ts')
  switch (call.verb) {
    case 'plan': {
      const reason = await considerPlan(parts, call.pid)
      if (reason !== undefined) context.out.note(`vml: ${reason}. It is recorded live`)
      return 0
    }
    case 'live':
      await goLive(parts, call.pid)
      return 0
    case 'redo-live':
      return await redoLive(parts, call, (reason) => tellLive(context, reason))
    case 'end':
    case 'dpkg-end': {
      const done = await endPackageRun(parts, call.pid, (reason) => tellLive(context, reason))
      if (done) await tellEnd(context, done.end)
      return done?.redoStatus ?? 0
    }
  }
}

async function answerRpm(context: Context, parts: TransactionParts, call: RpmCall): Promise<number> {
  const { beginRpmRun, canStageDnf, endDnfRun, endEndedRpm, runStagedDnf } =
    await import('../../app/rpm-runs.ts')
  switch (call.verb) {
    case 'dnf-staged':
      if (canStageDnf(parts, process.ppid)) context.out.line('staged')
      return 0
    case 'dnf-run': {
      await makeWay(context, parts)
      const user = whoIsAtWork(context.config)
      const { status, end } = await runStagedDnf(context, parts, { argv: call.argv, user }, (reason) =>
        tellLive(context, reason),
      )
      await tellEnd(context, end)
      return status
    }
    case 'dnf-begin':
    case 'rpm-begin': {
      await makeWay(context, parts)
      const source = call.verb === 'dnf-begin' ? 'dnf' : 'rpm'
      const user = whoIsAtWork(context.config)
      const begun = await beginRpmRun(parts, { source, processId: call.pid, user })
      return begun === 'part' ? partStatus : 0
    }
    case 'dnf-end':
    case 'rpm-end':
      await tellEnd(context, await (call.verb === 'dnf-end' ? endDnfRun : endEndedRpm)(parts, call.pid))
      return 0
  }
}

function tellLive({ out }: Context, reason: string): void {
  out.note(`vml: ${reason}. It is done again on the machine itself, and recorded live`)
}

async function tellEnd({ out }: Context, end: StageEnd | undefined): Promise<void> {
  if (end?.kind !== 'recorded') return
  const { printRecorded } = await import('../print-transaction.ts')
  printRecorded(out, end.transaction, { say: 'aside' })
}
