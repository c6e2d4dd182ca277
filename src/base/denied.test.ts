import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { explainDenied } from './denied.ts'

test('a refusal of the system says what could not be done, whose that is, and what helps, without the word of the system call', async () => {
  const root = await mkdtemp(join(tmpdir(), 'vml-denied-'))
  const closed = join(root, 'closed')
  await mkdir(closed)
  await chmod(closed, 0)
  await chmod(root, 0o755)
  const isRoot = process.getuid?.() === 0
  // Root is refused nothing by a mode.
  if (isRoot) process.seteuid?.(65_534)
  try {
    const refusals = [
      await readdir(closed).catch((error: unknown) => error),
      await open(join(closed, 'inner', 'file'), 'r').catch((error: unknown) => error),
    ]
    for (const error of refusals) {
      const failure = explainDenied(error)
      assert.match(failure?.message ?? '', /^Cannot (list|open) ".*closed.*": permission denied$/)
      assert.match(failure?.hint ?? '', /^Nothing was changed there\. ".*\/closed" belongs to .* mode 0/)
    }
    const [error] = refusals
    assert.match(explainDenied(error, 'look at "x"')?.message ?? '', /^Cannot look at "x": /)
  } finally {
    if (isRoot) process.seteuid?.(0)
    await rm(root, { recursive: true })
  }
  assert.equal(explainDenied(new Error('EACCES')), undefined)
  assert.equal(explainDenied(Object.assign(new Error('x'), { code: 'EIO' })), undefined)
})
