// `vml open` on real images: an entry becomes a machine that its user can enter, and nothing is left behind but QEMU.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openTestHome, type TestHome, vmlCommand, vmlEnvironment, well } from '../cli.ts'
import { isStored } from '../blobs.ts'
import { addEntry, openTestLogbook } from '../entries.ts'
import { publishImages } from '../image-repository.ts'
import { printedCommand, removing } from '../opened-machines.ts'

const theirKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEVYUDsXX9ZhmJxqWOWzBgDk8P3i7OEcRmKu2JmnGzQk me@home'
const at = '2026-11-01T10:00:00Z'

test('an imported entry opens on the image that came along, without a network; its user enters beside their own keys, and no entry holds the key of VML', async () => {
  await using repository = await publishImages(['tiny@1'])
  await using sender = await openTestHome()
  await using receiver = await openTestHome()
  await repository.useIn(sender)
  await repository.useIn(receiver, { isKnown: false })
  await addEntry(sender, {
    title: 'fit',
    at,
    image: { name: 'tiny', version: '1', guessed: false },
    files: { '/home/lab/.ssh/authorized_keys': `${theirKey}\n`, '/home/lab/fit.C': 'one\n' },
  })
  await well(sender, 'share', '1', '-o', 'fit.vml', '--with-image')
  await well(receiver, 'import', join(sender.home, 'fit.vml'), '--yes')
  await using _gone = removing(receiver, 'my_copy')
  const opened = await well(receiver, 'open', '1', '--name', 'my_copy')
  const ssh = printedCommand(opened.stdout)

  assert.equal(await ssh('cat fit.C; cat .ssh/authorized_keys; ls -A'), `one\n${theirKey}\n.ssh\nfit.C\n`)
  const port = new URL(repository.server.url).port
  const reached = await ssh(
    `for at in 10.0.2.2 10.0.2.3 1.1.1.1; do busybox wget -T 3 -q -O- http://$at:${port}/streams/v1/index.json; done; echo end`,
  )
  assert.equal(reached, 'end\n')

  // What the machine becomes can be saved like any other: the homes of root and of the user.
  const machine = join(receiver.home, '.local/share/vml/vms/my_copy')
  await writeFile(join(receiver.home, 'ssh_config'), sshConfig(opened.stdout, machine))
  await well(receiver, 'machine', 'add', 'copy', 'ssh://root@copy')
  await well(receiver, 'save', 'copy', '-m', 'both homes', '--include', '/home/lab')
  const blob = (await readFile(join(machine, 'key.pub'), 'utf8')).split(' ')[1] ?? ''
  assert.ok(blob.length > 60)
  assert.equal(await isInLogbook(receiver, blob), false)
  assert.equal(await isInLogbook(receiver, theirKey), true)

  await well(receiver, 'open', '--stop', 'my_copy')
  assert.match((await well(receiver, 'open', '--list')).stdout, /^my_copy +stopped +tiny@1 +no network$/m)
  const again = await well(receiver, 'open', '--start', 'my_copy')
  assert.equal(await printedCommand(again.stdout)('cat fit.C'), 'one\n')
  await well(receiver, 'open', '--rm', 'my_copy', '--yes')
  assert.deepEqual(await machinesIn(receiver), [])
})

test('an opening that is killed leaves a machine that can be listed and removed; one that is cancelled leaves none', async () => {
  await using repository = await publishImages(['tiny@1'])
  await using home = await openTestHome()
  await repository.useIn(home)
  await addEntry(home, { title: 'fit', at, files: { '/home/lab/fit.C': 'one\n' } })
  const open = ['open', '1', '--image', 'tiny@1', '--no-restore', '--name', 'half']
  for (const signal of ['SIGKILL', 'SIGINT'] as const) {
    const [program = '', ...words] = vmlCommand
    const child = spawn(program, [...words, ...open], { env: vmlEnvironment(home), stdio: 'ignore' })
    const pid = await untilRunning(home)
    child.kill(signal)
    const [status] = (await once(child, 'exit')) as [number | null]
    if (signal === 'SIGKILL') {
      assert.equal((await home.run(open)).status, 5)
      await well(home, 'open', '--rm', 'half', '--yes')
    } else assert.equal(status, 130)
    assert.equal(await isRunning(pid), false)
    assert.deepEqual(await machinesIn(home), [])
  }
})

function sshConfig(stdout: string, machine: string): string {
  const port = /^ssh -p (\d+)/m.exec(stdout)?.[1] ?? ''
  return [
    'Host copy',
    'HostName 127.0.0.1',
    `Port ${port}`,
    `IdentityFile ${join(machine, 'key')}`,
    `UserKnownHostsFile ${join(machine, 'known_hosts')}`,
    'HostKeyAlias vml-my_copy',
    'IdentitiesOnly yes',
    '',
  ].join('\n')
}

async function isInLogbook(home: TestHome, text: string): Promise<boolean> {
  await using logbook = await openTestLogbook(home)
  const { logbook: location, passwordFile } = home
  return await isStored(logbook.repository, { location, passwordFile }, [text])
}

async function untilRunning(home: TestHome): Promise<number> {
  for (let tries = 0; tries < 300; tries++) {
    const listed = JSON.parse((await well(home, 'open', '--list', '--json')).stdout) as {
      machines: { state: string; pid?: number }[]
    }
    const running = listed.machines.find(({ state }) => state === 'running')
    if (running?.pid !== undefined) return running.pid
    await sleep(100)
  }
  throw new Error('The machine was not started')
}

/** A process whose parent has not asked for its end yet has no command line any more. */
async function isRunning(pid: number): Promise<boolean> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')) !== ''
}

async function machinesIn(home: TestHome): Promise<string[]> {
  const entries = await readdir(join(home.home, '.local/share/vml/vms'), { withFileTypes: true })
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
}
