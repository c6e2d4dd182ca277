// The driver for plain QEMU with Debian, started by its own bootloader: test/e2e/open.test.ts opens an entry on it, too.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openQemuBench, ssh } from '../qemu-bench.ts'

test('Debian starts by its own bootloader, and the key of a credential lets in root and its user', async () => {
  await using bench = await openQemuBench('debian@12')
  const { hypervisor, make } = bench
  await make('debian', 'debian', '12', 512)
  await hypervisor.start('debian')
  const access = await hypervisor.waitForSsh('debian')
  const { user = 'root' } = await hypervisor.status('debian')
  for (const name of ['root', user]) {
    const { status, output } = await ssh(access, name, 'id -un')
    assert.deepEqual([status, output], [0, name])
  }
  assert.equal((await ssh(access, user, 'test ! -e ~/.ssh/authorized_keys')).status, 0)
  const stopped = await hypervisor.stop('debian', { mode: 'acpi', timeoutMs: 60_000 })
  assert.equal(stopped.state, 'stopped')
  assert.deepEqual(await hypervisor.remove('debian'), { leftInPlace: [] })
})
