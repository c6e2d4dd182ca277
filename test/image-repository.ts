// A home with an image repository of its own in its configuration: what `vml open` and `vml image` need.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeCatalog } from '../tools/images/catalog.ts'
import { buildImage, type ImageName } from '../tools/images/images.ts'
import { type ImageServer, serveImages, type ServeOptions } from '../tools/images/serve.ts'
import type { TestHome } from './cli.ts'

export interface ImageRepository extends AsyncDisposable {
  readonly server: ImageServer
  /** Writes config.toml of a home so that it asks this repository, unless it is not to know of it; `~/ssh_config` counts there. */
  useIn(home: TestHome, options?: { readonly isKnown?: boolean }): Promise<void>
}

export async function publishImages(
  names: readonly ImageName[],
  options: Pick<ServeOptions, 'intercept'> = {},
): Promise<ImageRepository> {
  await using resources = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'vml-repository-'))
  resources.defer(async () => await rm(folder, { recursive: true, force: true }))
  await writeCatalog(folder, await Promise.all(names.map(buildImage)))
  const server = resources.use(await serveImages({ dir: folder, ...options }))
  const owned = resources.move()
  return {
    server,
    async useIn({ home, logbook }, { isKnown = true } = {}) {
      const config = join(home, '.config/vml')
      await mkdir(config, { recursive: true })
      await writeFile(
        join(config, 'config.toml'),
        [
          `logbook = "${logbook}"`,
          `ssh_config = "${join(home, 'ssh_config')}"`,
          '[images]',
          `catalogues = [${isKnown ? `"${server.url}"` : ''}]`,
          // A test must not depend on the host.
          '[open]',
          'accelerator = "tcg"',
          'memory_mib = 256',
          '',
        ].join('\n'),
      )
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}
