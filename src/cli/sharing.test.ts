// What a refused share tells.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { openTestHome } from '../../test/cli.ts'
import { addEntry } from '../../test/entries.ts'

test('a share that is refused names each finding once', async () => {
  await using home = await openTestHome()
  const key = ['-----BEGIN OPENSSH', 'PRIVATE KEY-----'].join(' ')
  await addEntry(home, {
    title: 'keys',
    at: '2026-11-01T10:00:00Z',
    files: { '/home/lab/.ssh/id_ed25519': `${key}\nb3BlbnNzaC1rZXktdjEA\n` },
  })
  const { status, stderr } = await home.run(['share', '1', '-o', join(home.home, 'out.vml')])
  assert.equal(status, 14, stderr)
  assert.equal(stderr.match(/id_ed25519/g)?.length, 1, stderr)
})
