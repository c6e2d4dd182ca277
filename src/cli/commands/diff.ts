// `vml diff LEFT RIGHT`: what changed between two entries, or between an entry and now.
import { printable } from '../../base/raw-text.ts'
import type { Comparison, FileChange } from '../../model/compare.ts'
import { defineCommand, flag, operand } from '../command.ts'
import { describeComparison } from '../describe-comparison.ts'
import { comparisonStatus } from '../not-compared.ts'
import { type DiffSection, printComparison } from '../print-comparison.ts'

export const command = defineCommand({
  description:
    'Tells what changed: a summary, packages, configuration, environment variables, files. "now" is the machine as it is. With a path, only what lies there is compared.',
  operands: [
    operand('LEFT', 'an entry, such as 41 or lab@-1, or 41:/home/lab', 'entry'),
    operand('RIGHT', 'an entry, or now', 'entry'),
  ],
  options: {
    packages: flag('--packages', 'only packages'),
    config: flag('--config', 'only configuration files'),
    env: flag('--env', 'only environment variables'),
    files: flag('--files', 'only the other files'),
    text: flag('-u, --text', 'with the changed lines of text files'),
    times: flag('--times', 'also files of which only the time differs'),
    exitCode: flag(
      '--exit-code',
      'exit with 21 where something differs, with 3 where nothing does and something could not be compared',
    ),
  },
  examples: [
    { line: 'vml diff 41 42', does: 'everything, in this order' },
    { line: 'vml diff lab@latest now', does: 'what is not saved yet' },
    { line: 'vml diff 41:/home/lab/fit.C 42 --text', does: 'the changed lines of one file' },
  ],
  async run(context, { operands: [left = '', right = ''], options }) {
    const { out } = context
    context.whenCancelled('nothing was changed')
    const logbook = await context.openLogbook()
    const { compareNamed } = await import('../../app/compare-named.ts')
    await using named = await compareNamed(context, logbook, { left, right, times: options.times })
    const { comparison } = named
    const sections: readonly DiffSection[] = (['packages', 'config', 'env', 'files'] as const).filter(
      (section) => options[section],
    )
    const { textDiff, textDiffBytesMax } = await import('../../model/text-diff.ts')
    const linesOf = async (change: FileChange): Promise<readonly string[] | undefined> => {
      if (!options.text || change.mark === '-' || !isText(change)) return undefined
      const contents = await named.contents(change, textDiffBytesMax)
      const diff = textDiff(contents.left, contents.right)
      if (diff.kind === 'text')
        return [
          `--- ${comparison.left}:${printable(change.from ?? change.path)}`,
          `+++ ${comparison.right}:${printable(change.path)}`,
          ...diff.lines,
        ]
      return diff.kind === 'binary'
        ? ['(binary)']
        : diff.kind === 'too-large'
          ? ['(too large to show)']
          : undefined
    }
    if (out.json) {
      const texts = new Map<FileChange, readonly string[]>()
      for (const change of options.text ? [...comparison.configuration, ...comparison.files] : []) {
        const lines = await linesOf(change)
        if (lines) texts.set(change, lines)
      }
      out.document(describeComparison(comparison, texts))
    } else await printComparison(out, comparison, { sections, linesOf })
    if (!options.exitCode) return 0
    return comparisonStatus({
      different: differs(comparison, sections),
      incomplete: isIncomplete(comparison, sections),
    })
  },
})

function isText({ left, right }: FileChange): boolean {
  return (left === undefined || left.type === 'file') && (right === undefined || right.type === 'file')
}

/** Whether something of what was asked for could not be compared. */
function isIncomplete(comparison: Comparison, sections: readonly DiffSection[]): boolean {
  const ofPaths = sections.length === 0 || sections.includes('files') || sections.includes('config')
  return (
    (ofPaths && comparison.notCompared.length > 0) ||
    (sections.includes('packages') && comparison.packages === undefined) ||
    (sections.includes('env') && comparison.environment === undefined)
  )
}

function differs(comparison: Comparison, sections: readonly DiffSection[]): boolean {
  if (sections.length === 0) return !comparison.identical
  const lists: Readonly<Record<DiffSection, readonly unknown[] | undefined>> = {
    packages: comparison.packages,
    config: comparison.configuration,
    env: comparison.environment,
    files: comparison.files,
  }
  return sections.some((section) => (lists[section] ?? []).length > 0)
}
