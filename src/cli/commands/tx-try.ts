// `vml tx try -- COMMAND`, `vml tx commit`, `vml tx discard`: see what a command would do, then have exactly that, or nothing.
import { keepPackagesOut } from '../../app/packages-kept-out.ts'
import { requireRecording, requireRoot, requireWritable } from '../../app/system-logbook.ts'
import { openTransactionParts } from '../../app/transactions.ts'
import { claimTried, discardTried } from '../../app/tried.ts'
import { isFailure, VmlError } from '../../base/failure.ts'
import { printable } from '../../base/raw-text.ts'
import { commitOrDiscard, runTransaction } from '../../transaction/run-transaction.ts'
import { requirePassed } from '../../transaction/stage-checks.ts'
import { withStageLock } from '../../transaction/stage-lock.ts'
import { previewStage, type StagePreview } from '../../transaction/stage-preview.ts'
import { keepWaiting } from '../../transaction/waiting-stage.ts'
import { takenNow } from '../../transaction/held-files.ts'
import { writtenAtOnce } from '../../transaction/written-at-once.ts'
import { isNothingMeant } from '../../model/mere-writing.ts'
import type { RawPath } from '../../model/raw-path.ts'
import type { Validation } from '../../model/transaction-record.ts'
import { type Context, defineCommand, flag, text, texts } from '../command.ts'
import { printNotFound, printRecorded } from '../print-transaction.ts'
import { printPreview, printTaken, printWrittenAtOnce } from '../print-tried.ts'
import { recoverFirst } from '../recover-first.ts'
import { endOverdueProbations } from '../probation.ts'
import { commandOperand, commandTransaction } from '../command-transaction.ts'

export const tryCommand = defineCommand({
  description:
    'Runs a command, as root, in a stage, checks the machine as it would be, and shows what would change: packages, lines of configuration, services, sizes. The machine stays as it is, but for /tmp, /var/tmp, /run and /var/log, which are the real ones: what is written there is written at once, and stays, and what is taken out of there comes back when the result is thrown away. The result waits: vml tx commit makes exactly it real, if nothing that it changes was changed meanwhile; vml tx discard throws it away. So does a run of apt or dpkg, and the next start of the machine.',
  operands: [commandOperand],
  options: {
    message: text('-m, --message <title>', 'what it is for (default: the command)'),
    tag: texts('--tag <tag>', 'mark the transaction', 'tag'),
    discard: flag('--discard', 'show it and throw it away at once'),
    strict: flag('--strict', 'keep nothing where a check does not pass'),
  },
  examples: [
    { line: 'vml tx try -- apt-get -y dist-upgrade', does: 'what would an upgrade do?' },
    { line: 'vml tx commit', does: 'exactly that' },
    { line: 'vml tx try --discard -- make install', does: 'only show it' },
  ],
  async run(context, { operands, options }) {
    if (operands.length === 0)
      throw new VmlError('usage', 'Cannot try nothing', { hint: 'vml tx try -- COMMAND' })
    const { out } = context
    requireRecording(context.config, 'try a transaction')
    const parts = await openParts(context, 'try a transaction')
    const { request, run } = commandTransaction(context, operands, options)
    let preview: StagePreview | undefined
    let checks: readonly Validation[] = []
    let written: readonly RawPath[] = []
    let taken: readonly RawPath[] = []
    const outcome = await runTransaction(parts, request, run, async (decision) => {
      const { exitStatus, looked } = decision
      written = writtenAtOnce(parts, Date.parse(looked.stage.note.startedAt))
      taken = takenNow(parts)
      if (exitStatus !== 0) return 'discard'
      checks = await decision.check()
      preview = await previewStage(parts, looked)
      if (!out.json && !isNothingMeant(preview.changes)) printPreview(out, preview, checks)
      if (options.strict) requirePassed(checks)
      if (options.discard || isNothingMeant(looked.changeSet.changes)) return 'discard'
      await keepWaiting(parts, looked, { exitStatus, validations: checks })
      return 'keep'
    })
    const failed = preview === undefined
    const isNothing = preview !== undefined && isNothingMeant(preview.changes)
    out.document({
      schema: 1,
      outcome: failed ? 'failed' : isNothing ? 'nothing' : outcome.kind === 'kept' ? 'waiting' : 'discarded',
      exit_status: outcome.exitStatus,
      ...(preview ? describePreview(preview) : {}),
      validations: checks,
      written_at_once: written.map(printable),
      taken_at_once: taken.map(printable),
    })
    printWrittenAtOnce(out, written)
    if (outcome.kind === 'kept') printTaken(out, taken)
    if (failed) {
      out.line(
        `The command ended with status ${outcome.exitStatus}: nothing ${written.length === 0 ? '' : 'else '}of it was kept`,
      )
      printNotFound(out, outcome.exitStatus, 'try')
      return failedStatus
    }
    const isElse = written.length > 0 || (outcome.kind === 'kept' && taken.length > 0)
    const unchanged = !isElse ? 'Nothing was changed' : 'Nothing else was changed'
    if (isNothing) out.line(written.length === 0 ? 'It would change nothing' : 'It would change nothing else')
    else if (outcome.kind === 'kept')
      out.line(`${unchanged}. To have exactly this: vml tx commit. To throw it away: vml tx discard`)
    else out.line(`${unchanged}, and it is thrown away`)
  },
})

export const commit = defineCommand({
  description:
    'Makes real what vml tx try showed, exactly that, in one step, and records it. If something that it changes was changed meanwhile, it is refused, and nothing is changed.',
  operands: [],
  options: { strict: flag('--strict', 'refuse it where a check did not pass') },
  examples: [
    { line: 'sudo vml tx commit', does: 'what was tried' },
    { line: 'sudo vml tx commit --strict', does: 'only if all checks passed' },
    { line: 'sudo vml tx commit --json', does: 'with a document for programs' },
  ],
  async run(context, { options }) {
    const { out } = context
    requireRecording(context.config, 'commit what was tried')
    const parts = await openParts(context, 'commit what was tried')
    await using _locks = await keepPackagesOut(context)
    const { looked, exitStatus, validations } = await claimTried(parts, (checks) => {
      if (options.strict) requirePassed(checks)
    })
    context.whenCancelled('the transaction is being committed: vml tx list tells whether it was')
    const end = await withStageLock(
      parts,
      async () => await commitOrDiscard(parts, looked, exitStatus, validations),
    ).catch(tellThrownAway)
    if (end.kind === 'nothing') return
    const { number, document } = end.transaction
    out.document({
      schema: 1,
      outcome: 'recorded',
      number,
      counts: document.counts,
      packages: document.packages,
      validations: document.validations,
      complete: document.complete,
    })
    printRecorded(out, end.transaction, { say: 'line' })
  },
})

export const discard = defineCommand({
  description:
    'Throws away what vml tx try left waiting. The machine stays as it is, with what the command has written to /tmp, /var/tmp, /run and /var/log. What it has taken out of /tmp, /var/tmp or /var/log is put back.',
  operands: [],
  options: {},
  examples: [
    { line: 'sudo vml tx discard', does: 'throw it away' },
    { line: 'sudo vml tx discard --json', does: 'with a document for programs' },
    { line: 'sudo vml tx try --discard -- make install', does: 'try, and throw it away at once' },
  ],
  async run(context) {
    const parts = await openParts(context, 'throw away what was tried')
    const title = await discardTried(parts)
    context.out.document({ schema: 1, outcome: 'discarded', title })
    context.out.line(`Thrown away: "${title}". Nothing of it was committed`)
  },
})

const failedStatus = 1

/** What was changed in the very moment of the commit would be in the way of any later one. */
function tellThrownAway(error: unknown): never {
  if (!isFailure(error, 'conflict')) throw error
  const { code, message, details } = error
  throw new VmlError(code, message, {
    cause: error,
    details,
    hint: 'What was tried is thrown away. Try it again',
  })
}

async function openParts(context: Context, what: string) {
  requireRoot(what)
  requireWritable(what)
  context.whenCancelled('nothing was changed')
  const logbook = await context.openSystemLogbook({ make: true })
  const parts = openTransactionParts(context, logbook)
  await recoverFirst(context, parts)
  await endOverdueProbations(context, logbook, parts)
  return parts
}

function describePreview({ packages, configuration, services, changes, addedBytes, needs }: StagePreview) {
  return {
    packages,
    configuration: configuration.map(({ path, change, lines }) => ({
      path: printable(path),
      change,
      lines: lines ?? null,
    })),
    services,
    paths: changes.map(({ path, before, after }) => ({
      path: printable(path),
      change: before === undefined ? 'created' : after === undefined ? 'deleted' : 'changed',
    })),
    added_bytes: addedBytes,
    needs: needs.map(({ folder, neededBytes, freeBytes }) => ({
      folder: printable(folder),
      needed_bytes: neededBytes,
      free_bytes: freeBytes,
    })),
  }
}
