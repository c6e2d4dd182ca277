// The folder of one machine under QEMU: the files that are VML's, what they tell, and how they go.
import { mkdir, readdir, readFile, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isFailure, systemErrorCode, VmlError } from '../base/failure.ts'
import type { MachineStatus, SshAccess } from './hypervisor.ts'
import { fileNames } from './qemu-arguments.ts'
import { type MachineRecord, pidName, readRecord, recordName, findRunning } from './qemu-record.ts'

export const key = 'key'
const knownHosts = 'known_hosts'
export const credentialNames = ['ssh.authorized_keys.root', 'tmpfiles.extra']
const ownNames: ReadonlySet<string> = new Set([
  ...Object.values(fileNames),
  ...[key, `${key}.pub`, knownHosts, `${knownHosts}.old`, pidName],
  ...credentialNames,
])

export async function statusIn(folder: string, name: string): Promise<MachineStatus> {
  let record: MachineRecord | undefined
  try {
    record = await readRecord(folder)
  } catch (error) {
    if (!isFailure(error, 'integrity.format')) throw error
  }
  const running = await findRunning(folder, record?.id)
  if (record === undefined)
    return { name, state: running === undefined ? 'unfinished' : 'running', ...running }
  const { image, user, network, started } = record
  return {
    name,
    state: running !== undefined ? 'running' : record.state === 'ready' ? 'stopped' : 'unfinished',
    image: { name: image.name, version: image.version, sha256: image.sha256 },
    user,
    network,
    consoleFile: join(folder, fileNames.console),
    ...(started === undefined ? {} : { sshPort: started.sshPort, accelerator: started.accelerator }),
    ...running,
  }
}

export async function accessTo(folder: string, record: MachineRecord): Promise<SshAccess> {
  if (record.started === undefined)
    throw new VmlError('conflict', `Cannot enter "${record.name}": it was never started`)
  return {
    host: '127.0.0.1',
    port: (await findRunning(folder, record.id))?.sshPort ?? record.started.sshPort,
    identityFile: join(folder, key),
    knownHostsFile: join(folder, knownHosts),
    hostKeyAlias: `vml-${record.name}`,
    publicKey: await readPublicKey(folder),
    seededUsers: record.image.seed === 'baked' ? [] : ['root'],
  }
}

/** Removes VML's own files, the record last; gives the names of what is left. */
export async function clearFolder(folder: string): Promise<string[]> {
  for (const name of await readdir(folder)) {
    if (ownNames.has(name) || /^vm\.json\.[0-9a-f]+\.tmp$/.test(name)) await rm(join(folder, name))
  }
  await rm(join(folder, recordName), { force: true })
  const left = await readdir(folder)
  if (left.length === 0) await rmdir(folder)
  return left
}

export async function makeOwnFolder(folder: string, name: string) {
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error
    throw new VmlError('exists', `Cannot make "${name}": there is a machine of this name`, {
      cause: error,
      hint: 'Choose another name with --name, or remove that one with --rm',
    })
  }
}

export async function mustExist(folder: string, name: string) {
  try {
    await readdir(folder)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    throw new VmlError('not-found', `Cannot find a machine named "${name}"`, { cause: error })
  }
}

export async function readPublicKey(folder: string): Promise<string> {
  const line = (await readFile(join(folder, `${key}.pub`), 'utf8')).trim()
  if (/^ssh-ed25519 [A-Za-z0-9+/=]{60,80} [\w.-]+$/.test(line)) return line
  throw new VmlError('integrity.format', `Cannot use "${join(folder, `${key}.pub`)}": it is no ed25519 key`)
}
