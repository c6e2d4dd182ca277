// Packages of a few hundred bytes, built by dpkg-deb from a description in some milliseconds: every habit of real ones, one at a time.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

/** What a package has at a path: content of a file of mode 0644, or more. */
export type PackagedPath =
  | string
  | { readonly content: string | Uint8Array; readonly mode: number }
  | { readonly linkTo: string }
  | { readonly folderMode: number }
  /** A further name of another file of the package. */
  | { readonly sameAs: string }

export interface TinyPackage {
  readonly name: string
  readonly version: string
  /** Default: all. */
  readonly architecture?: string
  /** Further fields of the control file, such as `Depends`. */
  readonly fields?: Readonly<Record<string, string>>
  /** By absolute path. Folders above are made with mode 0755. */
  readonly files?: Readonly<Record<string, PackagedPath>>
  readonly conffiles?: readonly string[]
  /** Lines for `/bin/sh -e`. */
  readonly scripts?: Readonly<Partial<Record<'preinst' | 'postinst' | 'prerm' | 'postrm' | 'config', string>>>
  /** Time of its files. Default: one for all, so that what takes an equal time and size for an equal content is found out. */
  readonly madeAtSeconds?: number
  /** Further files beside `control`, such as `triggers` and `templates`. */
  readonly control?: Readonly<Record<string, string>>
}

export interface TinyKind {
  /** Also the name of the package to ask apt for. */
  readonly name: string
  /** All that an archive needs of this version, which is a number from 1. */
  packages(version: number): TinyPackage[]
}

export interface BuiltPackage {
  /** `NAME_VERSION_ARCHITECTURE.deb`. */
  readonly file: string
  readonly bytes: Uint8Array
  /** The paragraph of its control file, without what only an archive knows. */
  readonly paragraph: string
}

// Every file of every version: what takes an equal time and size for an equal content is found out.
const madeAtSeconds = 1_700_000_000
const built = new Map<string, Promise<BuiltPackage>>()

/** The same description gives the same bytes. */
export async function buildPackage(description: TinyPackage): Promise<BuiltPackage> {
  const key = createHash('sha256').update(JSON.stringify(description)).digest('hex')
  const known = built.get(key) ?? build(description)
  built.set(key, known)
  return await known
}

async function build(description: TinyPackage): Promise<BuiltPackage> {
  const { name, version, architecture = 'all' } = description
  const folder = mkdtempSync(join(tmpdir(), 'vml-package-'))
  try {
    const root = join(folder, 'root')
    writePackage(root, description)
    const file = `${name}_${version.replace(':', '%3a')}_${architecture}.deb`
    const path = join(folder, file)
    await promisify(execFile)('dpkg-deb', ['-Znone', '--root-owner-group', '--build', root, path], {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', SOURCE_DATE_EPOCH: String(madeAtSeconds) },
    })
    return { file, bytes: readFileSync(path), paragraph: paragraphOf(description) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function writePackage(root: string, description: TinyPackage) {
  const { files = {}, conffiles = [], scripts = {}, control = {}, madeAtSeconds: seconds } = description
  mkdirSync(join(root, 'DEBIAN'), { recursive: true, mode: 0o755 })
  // What names another file comes when that one is there.
  const paths = Object.entries(files).toSorted(
    ([, one], [, other]) => Number(isSameAs(one)) - Number(isSameAs(other)),
  )
  for (const [path, what] of paths) writePath(root, path, what, seconds)
  const texts = {
    ...control,
    control: paragraphOf(description),
    ...(conffiles.length === 0 ? {} : { conffiles: conffiles.map((path) => `${path}\n`).join('') }),
  }
  for (const [name, text] of Object.entries(texts))
    writeFileSync(join(root, 'DEBIAN', name), text, { mode: 0o644 })
  for (const [name, lines] of Object.entries(scripts))
    writeFileSync(join(root, 'DEBIAN', name), `#!/bin/sh\nset -e\n${lines}\n`, { mode: 0o755 })
}

function writePath(root: string, path: string, what: PackagedPath, seconds?: number) {
  const place = join(root, path)
  mkdirSync(dirname(place), { recursive: true, mode: 0o755 })
  if (typeof what === 'string') return writeFile(place, what, 0o644, seconds)
  if ('content' in what) return writeFile(place, what.content, what.mode, seconds)
  if ('linkTo' in what) return symlinkSync(what.linkTo, place)
  if ('sameAs' in what) return linkSync(join(root, what.sameAs), place)
  mkdirSync(place, { recursive: true })
  chmodSync(place, what.folderMode)
}

function writeFile(place: string, content: string | Uint8Array, mode: number, seconds = madeAtSeconds) {
  writeFileSync(place, content)
  chmodSync(place, mode)
  utimesSync(place, seconds, seconds)
}

function isSameAs(what: PackagedPath): boolean {
  return typeof what === 'object' && 'sameAs' in what
}

function paragraphOf({ name, version, architecture = 'all', fields = {} }: TinyPackage): string {
  const all = {
    Package: name,
    Version: version,
    Architecture: architecture,
    Maintainer: 'Test <test@example.org>',
    ...fields,
    Description: `made for a test`,
  }
  return Object.entries(all)
    .map(([field, value]) => `${field}: ${value}\n`)
    .join('')
}
