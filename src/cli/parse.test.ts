import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { VmlError } from '../base/failure.ts'
import { noun } from './commands/tx.ts'
import { parseArguments } from './parse.ts'

async function parsed(...argv: readonly string[]) {
  const found = await parseArguments(argv, { version: '1', width: undefined })
  assert.ok(found.kind === 'command')
  const { operands, typed, flags } = found
  return { operands, message: typed['message'], yes: flags.yes, quiet: flags.quiet }
}

test('from its first word on a command has its own options, with -- and without', async () => {
  const nothing = { message: undefined, yes: false, quiet: false }
  for (const verb of ['run', 'try']) {
    for (const separator of [[], ['--']])
      assert.deepEqual(
        await parsed('tx', verb, ...separator, 'cp', '-y', '-m', 'x', '-q', '/a', '--', '/b'),
        {
          ...nothing,
          operands: ['cp', '-y', '-m', 'x', '-q', '/a', '--', '/b'],
        },
      )
    assert.deepEqual(
      await parsed('-y', 'tx', verb, '-m', 'touch', '--tag', 'run', '-q', 'touch', '-m', '/x'),
      {
        operands: ['touch', '-m', '/x'],
        message: 'touch',
        yes: true,
        quiet: true,
      },
    )
    assert.deepEqual(await parsed('tx', verb, '--message=a b', 'run', '-y'), {
      ...nothing,
      message: 'a b',
      operands: ['run', '-y'],
    })
  }
})

test('a verb that takes no --on says what does its work over ssh', async () => {
  for (const [verb, { load, hidden = false }] of Object.entries(noun.verbs)) {
    if (hidden || Object.hasOwn((await load()).options, 'on')) continue
    await assert.rejects(
      parsed('tx', verb, '--on', 'lab'),
      ({ message, hint }: VmlError) =>
        message === `Cannot take --on with vml tx ${verb}` && hint?.includes('Instead: ') === true,
      verb,
    )
  }
  await assert.rejects(parsed('tx', 'verify', '--no-such'), /Unknown option/i)
})
