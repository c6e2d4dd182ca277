// The guests that other tests stand on: what is inside, that they are private copies, and that none outlives its test.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startGuest } from '../guests.ts'

test('two guests of one image are resumed side by side, each on its own', async () => {
  await using one = await startGuest({ image: 'tiny@1' })
  await using other = await startGuest({ image: 'tiny@1' })
  assert.notEqual(one.port, other.port)
  await one.lab('echo mine >~/file')
  const seen = await other.lab('cat ~/file', { mayFail: true })
  assert.notEqual(seen.status, 0)
})

test('a resumed guest knows the time, and its homes hold no key but that of root', async () => {
  await using guest = await startGuest({ image: 'tiny@1' })
  const asked = Date.now() / 1000
  const now = Number((await guest.root('date +%s')).stdout)
  assert.ok(now > asked - 5 && now < Date.now() / 1000 + 5)
  const home = await guest.lab('ls -A ~')
  assert.deepEqual(home.stdout.trim().split('\n'), ['.bashrc', '.profile'])
})

test('the two versions of tiny differ in release, packages and what their library computes', async () => {
  const versions = []
  for (const image of ['tiny@1', 'tiny@2'] as const) {
    await using guest = await startGuest({ image })
    const release = await guest.lab('. /etc/os-release && echo $ID $VERSION_ID')
    const packages = await guest.lab("dpkg-query -W -f='${Package} ${Version}\\n' libfit1 less 2>/dev/null", {
      mayFail: true,
    })
    const result = await guest.lab('printf "1 3\\n2 5\\n3 7\\n" >/tmp/points; fit /tmp/points')
    assert.equal((await guest.root('dpkg --verify')).stdout, '')
    versions.push([release.stdout.trim(), packages.stdout.trim(), result.stdout.trim()])
  }
  assert.deepEqual(versions, [
    ['tiny 1', 'libfit1 1.0-1', 'slope 2.428571 (3 points, libfit 1)'],
    ['tiny 2', versions[1]?.[1], 'slope 2.000000 (3 points, libfit 2)'],
  ])
  assert.match(versions[1]?.[1] ?? '', /^less \S+\nlibfit1 2\.0-1$/)
})

test('tiny has what files may carry: extended attributes, access lists, FIFOs, sparse files', async () => {
  await using guest = await startGuest({ image: 'tiny@1' })
  const result = await guest.lab(`
    cd && touch file && mkfifo fifo && setfattr -n user.a -v b file && setfacl -m u:100:r file &&
    truncate -s 1M sparse && tar --xattrs --acls -cSf - file fifo sparse | tar -t && getfattr --only-values -n user.a file`)
  assert.equal(result.stdout, 'file\nfifo\nsparse\nb')
})

test('sshd takes up a dropped-in configuration when it is told to', async () => {
  await using guest = await startGuest({ image: 'tiny@1' })
  await guest.root(
    "echo 'Banner /etc/hostname' >/etc/ssh/sshd_config.d/banner.conf; kill -HUP $(cat /run/sshd.pid)",
  )
  for (let tries = 0; ; tries++) {
    // A new connection; the harness would reuse its own.
    const { stderr } = await sshOnce(guest.sshArgs, 'lab@127.0.0.1', 'true')
    if (stderr.includes('tiny')) return
    assert.ok(tries < 240, `no banner: ${stderr}`)
    await sleep(250)
  }
})

test('tiny-busybox has neither GNU tar nor GNU find', async () => {
  await using guest = await startGuest({ image: 'tiny-busybox@1' })
  const versions = await guest.lab('tar --version; find --version; true')
  assert.doesNotMatch(versions.stdout, /GNU/)
})

test('no QEMU outlives the process that started it, however that ended', async () => {
  const source = `
    import { startGuest } from ${JSON.stringify(join(import.meta.dirname, '../guests.ts'))}
    const guest = await startGuest({ image: 'tiny@1' })
    console.log(guest.pid)
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const line: unknown = (await once(child.stdout, 'data'))[0]
  const pid = Number(String(line))
  assert.ok(isAlive(pid))
  child.kill('SIGKILL')
  for (let tries = 0; isAlive(pid); tries++) {
    assert.ok(tries < 1200, 'QEMU is still there')
    await sleep(50)
  }
})

async function sshOnce(args: readonly string[], login: string, command: string): Promise<{ stderr: string }> {
  const child = spawn('ssh', [...args, '-o', 'ControlPath=none', login, command], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const chunks: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(child, 'close')
  return { stderr: Buffer.concat(chunks).toString() }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
