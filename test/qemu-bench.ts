// The driver for plain QEMU over a served library of images, and ssh as a user of its guests would type it.
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Hypervisor, SshAccess } from '../src/hypervisor/hypervisor.ts'
import { openQemu } from '../src/hypervisor/qemu.ts'
import { type ImageLibrary, openImageLibrary } from '../src/image/library.ts'
import { writeCatalog } from '../tools/images/catalog.ts'
import { buildImage, type ImageName } from '../tools/images/images.ts'
import { serveImages } from '../tools/images/serve.ts'

export interface QemuBench extends AsyncDisposable {
  readonly hypervisor: Hypervisor
  readonly images: ImageLibrary
  make(name: string, image: string, version: string, memoryMiB: number): Promise<void>
}

/** With one image, such as `tiny@1`. What runs in the end is ended. */
export async function openQemuBench(reference: ImageName): Promise<QemuBench> {
  const folder = await mkdtemp(join(tmpdir(), 'vml-e2e-qemu-'))
  const hypervisor = openQemu({ folder: join(folder, 'machines') })
  await writeCatalog(join(folder, 'web'), [await buildImage(reference)])
  const server = await serveImages({ dir: join(folder, 'web') })
  const images = openImageLibrary({ folder: join(folder, 'images'), catalogues: [server.url] })
  return {
    hypervisor,
    images,
    async make(name, image, version, memoryMiB) {
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
    },
    async [Symbol.asyncDispose]() {
      for (const { name, state } of await hypervisor.list())
        if (state === 'running') await hypervisor.stop(name, { mode: 'kill' })
      await server.close()
      await rm(folder, { recursive: true })
    },
  }
}

export async function ssh(
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
