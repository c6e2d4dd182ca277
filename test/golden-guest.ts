// A guest that has booted once: disk, memory and keys of one instant, kept outside the clone, from which tests resume in a second.
// As a program: makes the one that `--make` describes. goldenGuest() starts it under flock, so that two tests make it once.
import { createHash } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildImage, type Image, type ImageName } from '../tools/images/images.ts'
import {
  forwardedPort,
  machineShape,
  makeOverlay,
  runProgram,
  startMachine,
  writeSshFiles,
} from './guest-machine.ts'

/** Paths of a guest to resume. `keyFile` lets in as root and as the image's user. */
export interface GoldenGuest {
  readonly image: Image
  readonly diskFile: string
  readonly ramFile: string
  readonly stateFile: string
  readonly keyFile: string
  readonly hostKey: string
}

// Debian takes 40 s on an idle core, four times that on a busy one.
const bootSecondsMax = 300

/** Makes the golden guest of an image first, where there is none for this QEMU and these scripts. */
export async function goldenGuest(name: ImageName, memoryMiB: number): Promise<GoldenGuest> {
  const image = await buildImage(name)
  const folder = goldenFolder(image, memoryMiB)
  if (!existsSync(folder)) {
    await mkdir(dirname(folder), { recursive: true })
    // The kernel frees this lock when its holder is gone.
    await runProgram('flock', [
      `${folder}.lock`,
      process.execPath,
      import.meta.filename,
      name,
      String(memoryMiB),
    ])
  }
  return {
    image,
    diskFile: join(folder, 'disk.qcow2'),
    ramFile: join(folder, 'ram'),
    stateFile: join(folder, 'state'),
    keyFile: join(folder, 'id'),
    hostKey: (await readFile(join(folder, 'host-key.pub'), 'utf8')).trim(),
  }
}

/** Named by all that the saved memory depends on. Images lie in `images/`, golden guests beside it. */
function goldenFolder(image: Image, memoryMiB: number): string {
  const qemu = statSync('/usr/bin/qemu-system-x86_64')
  const key = createHash('sha256')
    .update(`${image.folder} ${memoryMiB} ${qemu.size} ${qemu.mtimeMs} ${machineShape}`)
    .digest('hex')
    .slice(0, 16)
  return join(dirname(dirname(image.folder)), 'golden', `${basename(image.folder)}-${key}`)
}

async function makeGolden(name: ImageName, memoryMiB: number): Promise<void> {
  const image = await buildImage(name)
  const folder = goldenFolder(image, memoryMiB)
  if (existsSync(folder)) return
  const work = await mkdtemp(join(dirname(folder), 'new-'))
  try {
    await bootAndSave(image, memoryMiB, work)
    // The name says that all of it is there. The disk's backing file, the image, is named by its full path.
    await rename(work, folder)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function bootAndSave(image: Image, memoryMiB: number, folder: string): Promise<void> {
  const keyFile = join(folder, 'id')
  await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', keyFile])
  await makeOverlay(join(folder, 'disk.qcow2'), join(image.folder, image.disk.path))
  await using machine = await startMachine({
    image,
    memoryMiB,
    folder,
    ramFile: join(folder, 'ram'),
    ramShared: true,
    rootKeyFile: `${keyFile}.pub`,
    incoming: false,
  })
  const port = await forwardedPort(machine.qmp)
  const hostKey = await untilSshAnswers(port, machine.serialFile)
  await writeFile(join(folder, 'host-key.pub'), hostKey)
  const { sshConfigFile, knownHostsFile } = await writeSshFiles({ folder, port, keyFile, hostKey })
  const publicKey = await readFile(`${keyFile}.pub`, 'utf8')
  await runProgram('ssh', ['-F', sshConfigFile, 'root@127.0.0.1', prepareScript(image.user, publicKey)])
  await untilServed(['-F', sshConfigFile, `${image.user}@127.0.0.1`, 'true'])
  await machine.qmp.execute('stop')
  await machine.qmp.execute('migrate-set-capabilities', {
    // The memory is in its file already.
    capabilities: [{ capability: 'x-ignore-shared', state: true }],
  })
  await machine.qmp.execute('migrate', { uri: `exec:cat > ${shellQuote(join(folder, 'state'))}` })
  await untilMigrated(async () => await machine.qmp.execute('query-migrate'))
  await machine.qmp.execute('quit').catch(() => {})
  await Promise.all([sshConfigFile, knownHostsFile, machine.serialFile].map((file) => rm(file)))
}

/** Homes stay as the image has them: the test's key for the user lies outside, where sshd looks as well. */
function prepareScript(user: string, publicKey: string): string {
  return [
    'set -e',
    'mkdir -p /etc/ssh/test_keys',
    `echo ${shellQuote(publicKey.trim())} > /etc/ssh/test_keys/${user}`,
    `printf 'Match User ${user}\\n  AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/test_keys/%%u\\n' > /etc/ssh/sshd_config.d/test.conf`,
    'kill -HUP "$(cat /run/sshd.pid)"',
    'sync',
  ].join('\n')
}

/** Waits by asking for the host key, which needs no key of ours; what QEMU's network buffers meanwhile is harmless here. */
async function untilSshAnswers(port: number, serialFile: string): Promise<string> {
  const deadline = performance.now() + bootSecondsMax * 1000
  while (performance.now() < deadline) {
    const scanned = await runProgram('ssh-keyscan', [
      '-T',
      '20',
      '-t',
      'ed25519',
      '-p',
      String(port),
      '127.0.0.1',
    ])
      // It exits with 1 while nobody answers.
      .catch(() => '')
    const key = /ssh-ed25519 \S+/.exec(scanned)?.[0]
    if (key !== undefined) return key
    await sleep(200)
  }
  throw new Error(`The guest has no ssh server after ${bootSecondsMax} s; see ${serialFile}`)
}

/** The server starts anew to read its configuration: what is saved must have done with it. */
async function untilServed(ssh: readonly string[]): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await runProgram('ssh', ssh)
      return
    } catch (error) {
      if (tries === 20) throw error
      await sleep(500)
    }
  }
}

async function untilMigrated(query: () => Promise<unknown>): Promise<void> {
  for (;;) {
    const answer = await query()
    const status =
      typeof answer === 'object' && answer !== null && 'status' in answer ? answer.status : undefined
    if (status === 'completed') return
    if (status === 'failed') throw new Error('QEMU could not save the memory')
    await sleep(20)
  }
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

if (import.meta.main) {
  const [name, memoryMiB] = process.argv.slice(2)
  // Started by goldenGuest() only, with what it was given.
  await makeGolden(name as ImageName, Number(memoryMiB))
}
