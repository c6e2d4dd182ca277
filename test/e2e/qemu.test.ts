// The driver for plain QEMU with a real guest, started by its kernel.
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { after, test } from 'node:test'
import { openQemuBench, ssh } from '../qemu-bench.ts'

const bench = await openQemuBench('tiny@1')
const { hypervisor, images, make } = bench
after(async () => await bench[Symbol.asyncDispose]())

test('a tiny guest of a downloaded image starts, keeps its disk, and reaches this host only when it may', async () => {
  // What a program of the user would be that listens on this host's loopback.
  const secret = createServer((socket) => socket.end('reached\n'))
  const listening = Promise.withResolvers<number>()
  secret.listen(0, '127.0.0.1', () => {
    const address = secret.address()
    listening.resolve(typeof address === 'object' && address !== null ? address.port : 0)
  })
  const knock = `timeout 5 bash -c 'cat < /dev/tcp/10.0.2.2/${await listening.promise}' 2>/dev/null`
  try {
    await make('tiny', 'tiny', '1', 256)
    await hypervisor.start('tiny')
    const access = await hypervisor.waitForSsh('tiny')
    assert.deepEqual(access.seededUsers, ['root'])
    assert.equal((await ssh(access, 'root', 'id -un; echo kept > /root/mark; sync')).output, 'root')
    assert.notEqual((await ssh(access, 'root', knock)).output, 'reached')
    const pressed = await hypervisor.stop('tiny', { mode: 'acpi', timeoutMs: 60_000 })
    assert.equal(pressed.state, 'stopped')

    await hypervisor.start('tiny')
    const again = await hypervisor.waitForSsh('tiny')
    assert.equal((await ssh(again, 'root', 'cat /root/mark')).output, 'kept')
    await hypervisor.stop('tiny', { mode: 'kill' })
    await hypervisor.remove('tiny')

    const { record, paths } = await images.pull({ reference: { name: 'tiny', version: '1' } })
    const open = { name: 'open', image: record, paths, memoryMiB: 256, user: 'lab', hostname: 'open' }
    await hypervisor.create({ ...open, network: 'user' })
    await hypervisor.start('open')
    assert.equal((await ssh(await hypervisor.waitForSsh('open'), 'root', knock)).output, 'reached')
    await hypervisor.stop('open', { mode: 'kill' })
    assert.deepEqual(await hypervisor.remove('open'), { leftInPlace: [] })
    assert.deepEqual(await hypervisor.list(), [])
  } finally {
    secret.close()
  }
})
