// A real systemd: a commit that the power cuts off is mended before services start, and no trace of VML stays behind. Many cuts, timers and services: test/long/.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startRebootedChroot } from '../rebooted-chroot.ts'
import { cutCommit, nothingIsLeft, unitIsEnabled, writing } from '../systemd-steps.ts'

const files = 1000

test('with a real systemd a commit that is cut off is whole, or not there, when services start; disable leaves no trace', async () => {
  await using machine = await startRebootedChroot()
  const cut = machine.cuts.at(-1)
  assert.ok(cut)
  await machine.vml('tx enable')
  await unitIsEnabled(machine)
  await machine.vml(`tx run -m first -- sh -c '${writing('before', files)}'`)
  await cutCommit(machine, { cut, delay: 0, files, before: 'before', after: 'after' })
  await nothingIsLeft(machine)
})
