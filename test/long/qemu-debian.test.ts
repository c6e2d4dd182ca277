// Debian, started by its own bootloader: as a guest of the tests, and by the driver for plain QEMU.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startGuest } from '../guests.ts'
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

test('the debian guest boots from its own disk with systemd, and its user is debian', async () => {
  await using guest = await startGuest({ image: 'debian@12' })
  assert.equal((await guest.lab('id -un')).stdout.trim(), 'debian')
  assert.equal(
    (await guest.root('systemctl is-system-running --wait', { mayFail: true })).stdout.trim(),
    'running',
  )
  assert.match((await guest.root('findmnt -no SOURCE /')).stdout, /^\/dev\/vda1$/m)
})
