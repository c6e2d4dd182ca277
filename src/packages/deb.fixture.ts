// Small packages for tests, built by the real dpkg-deb.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export interface PackageFixture {
  readonly name: string
  readonly version?: string
  readonly architecture?: string
  readonly files: Readonly<Record<string, string | Buffer>>
  /** New names of files. */
  readonly links?: Readonly<Record<string, string>>
  readonly control?: string
  readonly scripts?: Readonly<Record<string, string>>
  /** In place of what would be true. */
  readonly md5sums?: string
}

/** `to` is the file that is written; paths of files are without a slash in front. Those below `etc/` are conffiles. */
export function buildDeb(
  to: string,
  {
    name,
    version = '1',
    architecture = 'all',
    files,
    links = {},
    control = '',
    scripts = {},
    md5sums,
  }: PackageFixture,
): string {
  mkdirSync(dirname(to), { recursive: true })
  const source = mkdtempSync(join(dirname(to), '.build-'))
  chmodSync(source, 0o755)
  const place = (path: string) => {
    const file = join(source, path)
    mkdirSync(dirname(file), { recursive: true })
    return file
  }
  const sums = Object.entries(files)
    .filter(([path]) => !path.startsWith('etc/'))
    .map(([path, content]) => {
      const escaped = path.replaceAll('\\', '\\\\')
      return `${escaped === path ? '' : '\\'}${createHash('md5').update(content).digest('hex')}  ${escaped}\n`
    })
  const conffiles = Object.keys(files).filter((path) => path.startsWith('etc/'))
  for (const [path, content] of Object.entries(files)) writeFileSync(place(path), content)
  for (const [path, target] of Object.entries(links)) linkSync(join(source, target), place(path))
  writeFileSync(
    place('DEBIAN/control'),
    `Package: ${name}\nVersion: ${version}\nArchitecture: ${architecture}\nMaintainer: Nobody <nobody@localhost>\n${control}Description: a test\n`,
  )
  writeFileSync(place('DEBIAN/md5sums'), md5sums ?? sums.join(''))
  writeFileSync(place('DEBIAN/conffiles'), conffiles.map((path) => `/${path}\n`).join(''))
  for (const [script, text] of Object.entries(scripts))
    writeFileSync(place(`DEBIAN/${script}`), text, { mode: 0o755 })
  chmodSync(join(source, 'DEBIAN'), 0o755)
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zgzip', '--build', source, to], { stdio: 'pipe' })
  rmSync(source, { recursive: true })
  return to
}
