// `vml tx pin` and `vml tx unpin`: packages that are to stay at their version.
import { packagePinsHere } from '../../app/package-questions.ts'
import { requireRoot } from '../../app/system-logbook.ts'
import { type Context, defineCommand, type Operand } from '../command.ts'
import { shown } from '../options.ts'

const packages: Operand = {
  name: 'PACKAGE',
  description: 'an installed package',
  required: true,
  many: true,
  complete: 'none',
}

export const pin = defineCommand({
  description:
    'Keeps packages at their version: apt and dnf leave them alone (apt-mark hold, dnf versionlock), and an undo that would change one is refused without --pinned. Without a package it lists them.',
  operands: [{ ...packages, required: false }],
  options: {},
  examples: [
    { line: 'vml tx pin', does: 'the packages that are pinned' },
    { line: 'sudo vml tx pin linux-image-amd64', does: 'keep the kernel as it is' },
    { line: 'vml tx pin --json', does: 'for programs' },
  ],
  async run(context, { operands }) {
    if (operands.length > 0) {
      requireRoot('pin packages')
      await change(context, operands, { verb: 'pin', done: 'pinned now', already: 'pinned already' })
    }
    await tell(context)
  },
})

export const unpin = defineCommand({
  description: 'Lets packages change again.',
  operands: [packages],
  options: {},
  examples: [
    { line: 'sudo vml tx unpin linux-image-amd64', does: 'upgrade it again with the others' },
    { line: 'sudo vml tx unpin libc6 libc-bin', does: 'several' },
    { line: 'sudo vml tx unpin libc6 --json', does: 'for programs' },
  ],
  async run(context, { operands }) {
    requireRoot('unpin packages')
    await change(context, operands, { verb: 'unpin', done: 'not pinned any more', already: 'not pinned' })
    await tell(context)
  },
})

/** An entry may be named more exactly than what was typed: `joe:i386`, or `joe-0:4.6-1.*` of dnf. */
async function change(
  { out }: Context,
  names: readonly string[],
  {
    verb,
    done,
    already,
  }: { readonly verb: 'pin' | 'unpin'; readonly done: string; readonly already: string },
): Promise<void> {
  const pins = packagePinsHere()
  const before = await pins.list()
  await pins[verb](names)
  const after = await pins.list()
  const [from, to] = verb === 'pin' ? [after, before] : [before, after]
  const changed = from.filter((each) => !to.includes(each))
  for (const name of changed) out.note(`${shown(name)}: ${done}`)
  const isChanged = (name: string) =>
    changed.some((each) => each === name || [`${name}:`, `${name}-`].some((start) => each.startsWith(start)))
  for (const name of names) if (!isChanged(name)) out.note(`${shown(name)}: ${already}`)
}

async function tell({ out }: Context): Promise<void> {
  const pinned = await packagePinsHere().list()
  out.document({ schema: 1, pinned })
  for (const name of pinned) out.line(shown(name))
  if (pinned.length === 0) out.note('No package is pinned')
}
