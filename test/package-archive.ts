// An archive of packages that apt of a chroot reads, and that a test publishes new versions in.
import { createHash } from 'node:crypto'
import { copyFileSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { execFile } from 'node:child_process'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import type { Chroot } from './chroot.ts'
import { buildPackage, type TinyPackage } from './tiny-packages.ts'

export interface PackageArchive {
  /** New versions, which apt of the chroot knows from then on. Gives their file names, which lie in `/srv/archive` there. */
  publish(...packages: readonly TinyPackage[]): Promise<string[]>
  /** The same for packages of others, by the paths of their files on this computer. */
  publishFiles(paths: readonly string[]): Promise<void>
  /** Takes a package out, as an archive forgets. */
  withdraw(name: string, version: string): Promise<void>
}

export interface PackageArchiveOptions {
  /** Drops a version the moment another one of that package is published, as archives of distributions do. Default: keeps all. */
  readonly forgets?: boolean
  /** With `copy` apt puts packages into `/var/cache/apt/archives` first, as from a network. Default: file. */
  readonly method?: 'file' | 'copy'
}

interface Published {
  readonly name: string
  readonly version: string
  readonly file: string
  readonly stanza: string
}

// 2024-01-01: before the clock of whoever runs this, or apt takes no notice.
const firstReleaseSeconds = 1_704_067_200

/** Empty at first, and the chroot's one source. */
export async function openPackageArchive(
  chroot: Chroot,
  { forgets = false, method = 'file' }: PackageArchiveOptions = {},
): Promise<PackageArchive> {
  const folder = chroot.archiveFolder
  let published: readonly Published[] = []
  let releases = 0
  const add = async (news: readonly Published[]) => {
    for (const one of news) {
      const replaced = published.filter(
        ({ name, version }) => name === one.name && (forgets || version === one.version),
      )
      for (const { file } of replaced) if (file !== one.file) rmSync(join(folder, file))
      published = [...published.filter((old) => !replaced.includes(old)), one]
    }
    await release()
  }
  const release = async () => {
    releases += 1
    const packages = published.map(({ stanza }) => `${stanza}\n`).join('')
    const seconds = firstReleaseSeconds + releases * 60
    replaceFile(join(folder, 'Packages'), packages, seconds)
    replaceFile(join(folder, 'Release'), releaseOf(packages, seconds), seconds)
    await chroot.run(['apt-get', '-qq', 'update'])
  }
  await chroot.sh('cat >/etc/apt/sources.list.d/archive.list', {
    input: `deb [trusted=yes] ${method}:/srv/archive ./\n`,
  })
  await release()
  return {
    publish: async (...packages) => {
      const all = await Promise.all(packages.map(buildPackage))
      const news = all.map(({ file, bytes, paragraph }) => {
        writeFileSync(join(folder, file), bytes)
        return describe(join(folder, file), paragraph)
      })
      await add(news)
      return all.map(({ file }) => file)
    },
    publishFiles: async (paths) => {
      const news = await Promise.all(
        paths.map(async (path) => {
          const place = join(folder, basename(path))
          copyFileSync(path, place)
          const { stdout } = await promisify(execFile)('dpkg-deb', ['--field', place])
          return describe(place, stdout)
        }),
      )
      await add(news)
    },
    withdraw: async (name, version) => {
      const gone = published.filter((one) => one.name === name && one.version === version)
      if (gone.length === 0) throw new Error(`The archive has no ${name} ${version}`)
      for (const { file } of gone) rmSync(join(folder, file))
      published = published.filter((one) => !gone.includes(one))
      await release()
    },
  }
}

function describe(path: string, paragraph: string): Published {
  const file = basename(path)
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(paragraph)?.[1] ?? ''
  const lines = [
    paragraph.trimEnd(),
    `Filename: ./${file}`,
    `Size: ${statSync(path).size}`,
    `SHA256: ${sha256(readFileSync(path))}`,
  ]
  return { name: field('Package'), version: field('Version'), file, stanza: `${lines.join('\n')}\n` }
}

function releaseOf(packages: string, seconds: number): string {
  return [
    'Origin: Tiny',
    'Label: Tiny',
    'Suite: stable',
    'Codename: tiny',
    `Date: ${new Date(seconds * 1000).toUTCString()}`,
    'Architectures: all amd64 arm64',
    'SHA256:',
    ` ${sha256(packages)} ${Buffer.byteLength(packages)} Packages`,
    '',
  ].join('\n')
}

/** apt reads a file again that has another time, in seconds: two releases of one second are told apart by it. */
function replaceFile(path: string, text: string, seconds: number) {
  writeFileSync(path, text)
  utimesSync(path, seconds, seconds)
}

function sha256(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
