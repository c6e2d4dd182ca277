// `vml edit ENTRY`: title, note, tags, project of an entry. Its id and number stay.
import { VmlError } from '../../base/failure.ts'
import { type EditPlan, planEdit, runEdit } from '../../engine/edit.ts'
import { entryName } from '../../engine/entries.ts'
import { findEntry } from '../../engine/look.ts'
import { defineCommand, dryRun, text, texts } from '../command.ts'
import { entryOperand, shown } from '../options.ts'
import type { Output } from '../output.ts'

export const command = defineCommand({
  description:
    'Changes title, note, tags or project of an entry. What was recorded stays, and so do its id and number.',
  operands: [entryOperand],
  options: {
    message: text('-m, --message <title>', 'the new title'),
    note: text('--note <text>', 'the new note; empty takes it away'),
    tag: texts('--tag <tags>', 'tags to add (+x or x) and take away (-y), with commas between', 'tag'),
    project: text('--project <name>', 'the project; empty takes it away', 'project'),
    dryRun,
  },
  examples: [
    { line: 'vml edit 42 -m "fit v2, final"', does: 'another title' },
    { line: 'vml edit 42 --tag +paper,-draft', does: 'one tag more, one less' },
    { line: 'vml edit lab@latest --project thesis --dry-run', does: 'only show what would change' },
  ],
  async run(context, { operands: [typed = ''], options }) {
    const { out, signal } = context
    const tags = options.tag.flatMap((list) => list.split(',')).map((tag) => tag.trim())
    const addTags = tags.filter((tag) => !tag.startsWith('-')).map((tag) => tag.replace(/^\+/, ''))
    const removeTags = tags.filter((tag) => tag.startsWith('-')).map((tag) => tag.slice(1))
    if (
      [options.message, options.note, options.project].every((value) => value === undefined) &&
      tags.length === 0
    )
      throw new VmlError('usage', 'Cannot edit: nothing to change is given', {
        hint: 'Give -m TITLE, --note TEXT, --tag +x,-y or --project NAME',
      })
    const logbook = await context.openLogbook()
    const { entry, path } = await findEntry(logbook, typed, { signal, reporter: context.reporter })
    if (path !== undefined)
      throw new VmlError('usage', `Cannot edit "${shown(typed)}": what was recorded stays as it is`)
    const { message: title, note, project } = options
    const plan = planEdit(entry, { title, note, project, addTags, removeTags })
    if (plan.changes && !options.dryRun) await runEdit(logbook, plan, signal)
    printPlan(out, plan, options.dryRun)
    out.document({
      schema: 1,
      dry_run: options.dryRun,
      changed: plan.changes,
      id: entry.id,
      number: entry.number ?? null,
      title: plan.title,
      note: plan.note,
      tags: plan.tags,
      project: plan.project ?? null,
    })
  },
})

function printPlan(out: Output, plan: EditPlan, dryRunOnly: boolean): void {
  const { entry } = plan
  if (!plan.changes) {
    out.line(`${entryName(entry)} is so already`)
    return
  }
  out.line(`${dryRunOnly ? 'Would change' : 'Changed'} ${entryName(entry)}`)
  const row = (name: string, before: string, after: string) => {
    if (before !== after) out.line(`  ${name}: ${shown(before) || '(none)'} → ${shown(after) || '(none)'}`)
  }
  row('title', entry.title, plan.title)
  row('note', entry.note, plan.note)
  row('tags', entry.tags.join(', '), plan.tags.join(', '))
  row('project', entry.project ?? '', plan.project ?? '')
}
