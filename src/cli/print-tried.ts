// What was tried, in words a person understands, before it is committed.
import { printable } from '../base/raw-text.ts'
import { notPassed } from '../transaction/stage-checks.ts'
import type { SpaceNeed } from '../transaction/space-need.ts'
import type { ConfigurationChange, StagePreview } from '../transaction/stage-preview.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Validation } from '../model/transaction-record.ts'
import { formatBytes, plural } from './format.ts'
import { shown } from './options.ts'
import type { Output } from './output.ts'
import { countsText, packageLines } from './print-transaction.ts'

const filesShown = 20
const linesShown = 8
const writtenShown = 5

export function printPreview(out: Output, preview: StagePreview, validations: readonly Validation[]): void {
  for (const line of packageLines(out, preview.packages)) out.line(`  ${line}`)
  const files = out.verbose ? preview.configuration : preview.configuration.slice(0, filesShown)
  for (const change of files) printConfiguration(out, change)
  const left = preview.configuration.length - files.length
  if (left > 0) out.line(`  ${plural(left, 'more file')} of /etc: --verbose shows them`)
  printOtherPaths(out, preview)
  for (const { service, action } of preview.services) out.line(`  ${shown(service)}: ${action}`)
  const { addedBytes } = preview
  out.line(
    `  ${countsText(preview.changes)}; ${formatBytes(Math.abs(addedBytes))} ${addedBytes < 0 ? 'less' : 'more'} in use`,
  )
  printNeeds(out, preview.needs)
  printChecks(out, validations)
}

/** Of a run that changes packages their names say it; of any other, nobody should take what it deletes on trust. */
function printOtherPaths(out: Output, { packages, configuration, changes }: StagePreview): void {
  if (packages.length > 0 && !out.verbose) return
  const told = new Set(configuration.map(({ path }) => path))
  const others = changes.filter(({ path }) => !told.has(path))
  const some = out.verbose ? others : others.slice(0, filesShown)
  for (const { path, before, after } of some)
    out.line(
      `  ${markOf(out, before === undefined ? 'created' : after === undefined ? 'deleted' : 'changed')} ${printable(path)}`,
    )
  if (others.length > some.length)
    out.line(`  ${plural(others.length - some.length, 'more path')}: --verbose shows them`)
}

function markOf({ style }: Output, change: ConfigurationChange['change']): string {
  return change === 'created' ? style.green('+') : change === 'deleted' ? style.red('−') : style.yellow('M')
}

function printConfiguration(out: Output, { path, change, lines = [] }: ConfigurationChange): void {
  const { style } = out
  out.line(`  ${markOf(out, change)} ${printable(path)}`)
  const some = out.verbose ? lines : lines.slice(0, linesShown)
  for (const line of some) out.line(`      ${line.startsWith('+') ? style.green(line) : style.red(line)}`)
  if (lines.length > some.length) out.line(`      ${plural(lines.length - some.length, 'more line')}`)
}

/** No stage holds these; whether the command or another program wrote them is not known. */
export function printWrittenAtOnce(out: Output, written: readonly RawPath[]): void {
  if (written.length === 0) return
  const some = out.verbose ? written : written.slice(0, writtenShown)
  const left = written.length - some.length
  out.line(
    `Written at once meanwhile, by it or by others, and not thrown away: ${some.map(printable).join(', ')}${left > 0 ? ` and ${left} more` : ''}`,
  )
}

/** Of what waits: the stage may hold the only copy of it. */
export function printTaken(out: Output, taken: readonly RawPath[]): void {
  if (taken.length === 0) return
  const some = out.verbose ? taken : taken.slice(0, writtenShown)
  const left = taken.length - some.length
  out.line(
    `Removed or moved away at once, by it or by others: ${some.map(printable).join(', ')}${left > 0 ? ` and ${left} more` : ''}. vml tx discard puts it back, vml tx commit does not`,
  )
}

/** What there must be room for, and how much there is (A4); contents that do not compress take more. */
export function printNeeds(out: Output, needs: readonly SpaceNeed[]): void {
  for (const { folder, neededBytes, freeBytes } of needs)
    out.line(
      `  needs about ${formatBytes(neededBytes)} where ${printable(folder)} lies, with ${formatBytes(freeBytes)} free${neededBytes > freeBytes ? out.style.red(': too little, it would be refused') : ''}`,
    )
}

function printChecks(out: Output, validations: readonly Validation[]): void {
  const bad = notPassed(validations)
  const passed = validations.filter((each) => !bad.includes(each))
  if (passed.length > 0) out.line(`  passed: ${passed.map(({ name }) => shown(name)).join(', ')}`)
  for (const { name, outcome, message } of bad)
    out.line(
      `  ${out.style.red(outcome)}  ${shown(name)}${message === undefined ? '' : `: ${shown(message)}`}`,
    )
}
