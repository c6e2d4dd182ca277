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
      await packagePinsHere().pin(operands)
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
    await packagePinsHere().unpin(operands)
    await tell(context)
  },
})

async function tell({ out }: Context): Promise<void> {
  const pinned = await packagePinsHere().list()
  out.document({ schema: 1, pinned })
  for (const name of pinned) out.line(shown(name))
  if (pinned.length === 0) out.note('No package is pinned')
}
