// Exact versions of packages that are not installed any more, brought to where a stage sees them: from pools, apt's cache, snapshot services, or apt's own sources.
import { createWriteStream } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { VmlError } from '../base/failure.ts'
import { fetchPackage, type WantedPackage } from '../packages/package-sources.ts'
import { type Asking, openSources } from './package-archives.ts'

/** What apt has downloaded stays there until somebody cleans it. */
const aptCache = '/var/cache/apt/archives'
/** Not below VML's own folder, which a stage does not show. */
const folderPrefix = '/var/tmp/vml-packages-'

export interface OldPackages extends AsyncDisposable {
  readonly files: readonly string[]
}

/** All of them, or `integrity.missing` with the names of those that no source has. */
export async function fetchOldPackages(
  asking: Asking,
  wanted: readonly WantedPackage[],
): Promise<OldPackages> {
  const { context, settings } = asking
  const sources = openSources({ ...asking, settings: { ...settings, pools: [...settings.pools, aptCache] } })
  const folder = await mkdtemp(folderPrefix)
  const remove = async () => await rm(folder, { recursive: true, force: true })
  try {
    const files: string[] = []
    const missing: string[] = []
    for (const [at, one] of wanted.entries()) {
      context.signal.throwIfAborted()
      context.reporter.progress({ phase: `getting ${one.name} ${one.version}` })
      const found = await sources.find(one)
      const file = join(folder, `${at}.deb`)
      if (found !== undefined) {
        const deb = await fetchPackage(found, { folder })
        await pipeline(deb.open(), createWriteStream(file, { flags: 'wx', mode: 0o600 }))
        files.push(file)
      } else {
        const own = await download(asking, one, join(folder, String(at)))
        if (own === undefined) missing.push(`${one.name} ${one.version}`)
        else files.push(own)
      }
    }
    if (missing.length > 0)
      throw new VmlError('integrity.missing', `Cannot get ${missing.join(', ')}: no source has it any more`, {
        details: { packages: missing },
        hint: 'Nothing was changed. Without --scripts no package is needed: every file comes back from the record',
      })
    return { files, [Symbol.asyncDispose]: remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/** apt checks it against its signed lists. Undefined where it has none. */
async function download(
  { context, shell }: Asking,
  one: WantedPackage,
  place: string,
): Promise<string | undefined> {
  const word = `${one.name}${one.architecture === 'all' ? '' : `:${one.architecture}`}=${one.version}`
  const script = 'mkdir -m 0700 "$0" && cd "$0" && exec apt-get -q download "$1"'
  const { status } = await shell.run({
    argv: ['/bin/sh', '-c', script, place, word],
    idleTimeoutMs: downloadIdleMs,
    signal: context.signal,
  })
  const [name] = status === 0 ? await readdir(place) : []
  return name?.endsWith('.deb') ? join(place, name) : undefined
}

const downloadIdleMs = 120_000
