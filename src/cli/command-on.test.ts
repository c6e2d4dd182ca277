import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VmlError } from '../base/failure.ts'
import { textOn, workOn } from './command-on.ts'
import type { Context } from './command.ts'

test('each command that is told for a machine over ssh names it', () => {
  for (const [told, named] of [
    ['To bring it back: vml tx redo 1', 'To bring it back: vml tx redo 1 --on lab'],
    ['vml tx redo 1, then vml tx undo 1', 'vml tx redo 1 --on lab, then vml tx undo 1 --on lab'],
    ['vml tx list shows them', 'vml tx list --on lab shows them'],
    ['vml tx show 8 tells what is kept', 'vml tx show 8 --on lab tells what is kept'],
    [
      'vml tx undo 10 --with-dependents takes those back, too; --keep-needed leaves what they need',
      'vml tx undo 10 --with-dependents --on lab takes those back, too; --keep-needed leaves what they need',
    ],
    [
      'vml tx undo 7, or vml tx undo --to-before 7',
      'vml tx undo 7 --on lab, or vml tx undo --to-before 7 --on lab',
    ],
    ['vml tx undo 0123456789abcdef', 'vml tx undo 0123456789abcdef --on lab'],
    ['vml tx undo 7 --on lab', 'vml tx undo 7 --on lab'],
    ['vml tx undo ID --on MACHINE', 'vml tx undo ID --on MACHINE'],
    ['On the machine itself: vml tx run --live', 'On the machine itself: vml tx run --live'],
  ] as const) {
    assert.equal(textOn(told, 'lab'), named)
    assert.equal(textOn(told, undefined), told)
  }
})

test('what layers that know nothing of the machine fail with and warn of names it, too', async () => {
  const warned: string[] = []
  const context = {
    reporter: { progress: () => {}, warn: ({ warning }: { warning: string }) => void warned.push(warning) },
  } as unknown as Context
  const failing = async ({ reporter }: Context) => {
    reporter.warn({ warning: 'vml tx undo does that' })
    return await Promise.reject(
      new VmlError('conflict', 'Cannot undo #1', { details: { one: 1 }, hint: 'vml tx show 1 tells' }),
    )
  }
  await assert.rejects(workOn(context, 'lab', failing), {
    code: 'conflict',
    message: 'Cannot undo #1',
    details: { one: 1 },
    hint: 'vml tx show 1 --on lab tells',
  })
  assert.deepEqual(warned, ['vml tx undo --on lab does that'])
})
