// The driver for plain QEMU with real guests: the tiny one by its kernel, Debian by its own bootloader.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { SshAccess } from '../../src/hypervisor/hypervisor.ts'
import { openQemu } from '../../src/hypervisor/qemu.ts'
import { openImageLibrary } from '../../src/image/library.ts'
import { writeCatalog } from '../../tools/images/catalog.ts'
import { buildImage } from '../../tools/images/images.ts'
import { serveImages } from '../../tools/images/serve.ts'

const folder = await mkdtemp(join(tmpdir(), 'vml-e2e-qemu-'))
const hypervisor = openQemu({ folder: join(folder, 'machines') })
after(async () => {
  for (const { name, state } of await hypervisor.list())
    if (state === 'running') await hypervisor.stop(name, { mode: 'kill' })
  await rm(folder, { recursive: true })
})

await writeCatalog(join(folder, 'web'), [await buildImage('tiny@1'), await buildImage('debian@12')])
const server = await serveImages({ dir: join(folder, 'web') })
after(async () => await server.close())
const images = openImageLibrary({ folder: join(folder, 'images'), catalogues: [server.url] })

async function make(name: string, image: string, version: string, memoryMiB: number) {
  const { record, paths } = await images.pull({ reference: { name: image, version }, arch: 'x86_64' })
  const user = record.user ?? 'root'
  await hypervisor.create({
    name,
    image: record,
    paths,
    memoryMiB,
    user,
    hostname: name,
    network: 'restricted',
  })
}

async function ssh(
  access: SshAccess,
  user: string,
  command: string,
): Promise<{ status: number; output: string }> {
  const options = {
    UserKnownHostsFile: `"${access.knownHostsFile}"`,
    HostKeyAlias: access.hostKeyAlias,
    StrictHostKeyChecking: 'accept-new',
    IdentitiesOnly: 'yes',
    BatchMode: 'yes',
    ConnectTimeout: '30',
    LogLevel: 'ERROR',
  }
  const flags = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`])
  const port = String(access.port)
  const args = [
    '-F',
    'none',
    '-i',
    access.identityFile,
    ...flags,
    '-p',
    port,
    `${user}@${access.host}`,
    command,
  ]
  const { promise, resolve } = Promise.withResolvers<{ status: number; output: string }>()
  const child = execFile('ssh', args, (_, stdout, stderr) =>
    resolve({ status: child.exitCode ?? 255, output: (stdout + stderr).trim() }),
  )
  return await promise
}

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
    const pressed = await hypervisor.stop('tiny', { mode: 'acpi', timeoutMs: 10_000 })
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

test('Debian starts by its own bootloader, and the key of a credential lets in root and its user', async () => {
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
