// What `vml save --dry-run` tells: what would be read and left out, without a word on what it would take to store it.
import { printable, printableText } from '../base/raw-text.ts'
import type { Survey } from '../engine/capture.ts'
import { formatBytes, formatCount, plural } from './format.ts'
import { largestFolders } from './largest-folders.ts'
import type { Output } from './output.ts'
import { padStart } from './style.ts'

/** More of them with --verbose, all of them with --json. */
const shownMax = 20
const foldersShown = 5

export function printSurvey(out: Output, survey: Survey, machine: string): void {
  const sizeOf = (path: (typeof survey.changed)[number]) => survey.files.get(path)?.attributes.size ?? 0
  const files = [...survey.files.values()].filter(({ attributes }) => attributes.type === 'file')
  const bytes = files.reduce((sum, { attributes }) => sum + (attributes.size ?? 0), 0)
  const changed = survey.changed.filter((path) => survey.files.get(path)?.attributes.type === 'file').sort()
  const changedBytes = changed.reduce((sum, path) => sum + sizeOf(path), 0)
  const show = (lines: readonly string[]) => {
    const shown = out.verbose ? lines : lines.slice(0, shownMax)
    for (const line of shown) out.line(line)
    if (lines.length > shown.length)
      out.line(`  … and ${formatCount(lines.length - shown.length)} more: add --verbose`)
  }
  show(changed.map((path) => `  read ${printable(path)} (${formatBytes(sizeOf(path))})`))
  const folders = largestFolders(
    changed.map((path) => ({ path, bytes: sizeOf(path) })),
    foldersShown,
  )
  // One folder of few files says what the list has said.
  if (changed.length > shownMax || folders.length > 1) {
    out.line('  Largest folders, each file counted once:')
    for (const { path, files: count, bytes: sum } of folders)
      out.line(`    ${padStart(formatBytes(sum), 9)}  ${printable(path)}  ${plural(count, 'file')}`)
  }
  show(survey.excluded.map(({ path, rule }) => `  leave out ${printable(path)}: ${printableText(rule)}`))
  show(survey.mounts.map(({ path, type }) => `  not entered ${printable(path)}: ${printableText(type)}`))
  show(survey.problems.map(({ path, problem }) => `  ${problem}: ${path}`))
  out.line(
    `Would read ${formatCount(changed.length)} of ${plural(files.length, 'file')} of ${machine} (${formatBytes(changedBytes)} of ${formatBytes(bytes)}), leave out ${plural(survey.excluded.length, 'path')} by rules; nothing was stored`,
  )
  out.document({
    schema: 1,
    dry_run: true,
    machine,
    files: files.length,
    bytes,
    files_read: changed.length,
    bytes_read: changedBytes,
    read: changed.map((path) => printable(path)),
    excluded: survey.excluded.map(({ path, rule }) => ({ path: printable(path), rule })),
    mounts: survey.mounts.map(({ path, type }) => ({ path: printable(path), type })),
    problems: survey.problems,
  })
}
