// What `vml tx enable` puts on a Debian machine and `disable` takes away again: the hooks of apt and dpkg.
import { chmod, lstat, mkdir, readlink, rm, rmdir, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { explainDenied } from '../base/denied.ts'
import { VmlError, messageOf, systemErrorCode } from '../base/failure.ts'
import { syncFolder } from '../base/files.ts'
import { absent, textOf, writeHookFile, writtenAmong } from './hook-file.ts'
import {
  aptConfiguration,
  dpkgConfiguration,
  dpkgScript,
  hookFolder,
  hookScript,
  isHookText,
  programScript,
} from './hook-scripts.ts'

export interface HookFile {
  /** From the root of the machine. */
  readonly path: string
  readonly mode: number
  readonly text: string
}

interface HookLink {
  readonly path: string
  readonly target: string
}

/** A link that leads nowhere is a notice to apt and nothing to dpkg: whoever removes the folder by hand has removed the hooks. */
const links: readonly HookLink[] = [
  { path: '/etc/dpkg/dpkg.cfg.d/vml', target: `${hookFolder}/dpkg.cfg` },
  { path: '/etc/apt/apt.conf.d/00vml', target: `${hookFolder}/apt.conf` },
]
const folders = [hookFolder, `${hookFolder}/bin`]

/** In the order in which they are written. `program`: how VML is started; `servicePolicy`: the text of policy-rc.d of a stage. */
export function hookFiles({
  program,
  servicePolicy,
}: {
  readonly program: readonly string[]
  readonly servicePolicy: string
}): readonly HookFile[] {
  return [
    { path: `${hookFolder}/program`, mode: 0o755, text: programScript(program) },
    { path: `${hookFolder}/policy-rc.d`, mode: 0o755, text: servicePolicy },
    { path: `${hookFolder}/hook`, mode: 0o755, text: hookScript },
    { path: `${hookFolder}/bin/dpkg`, mode: 0o755, text: dpkgScript },
    { path: `${hookFolder}/dpkg.cfg`, mode: 0o644, text: dpkgConfiguration },
    { path: `${hookFolder}/apt.conf`, mode: 0o644, text: aptConfiguration },
  ]
}

/** Those that a machine has a folder for. */
export async function hookLinks(root: string): Promise<readonly string[]> {
  const paths: string[] = []
  for (const { path } of links) if ((await kindOf(join(root, dirname(path)))) === 'folder') paths.push(path)
  return paths
}

const fileNames = hookFiles({ program: [], servicePolicy: '' }).map(({ path }) => path)

/**
 * Programs first, then what names them, then the links that apt and dpkg read: each of them does without the others, so that it may be
 * cut off anywhere and repeated. The caller holds dpkg's lock: a run of apt keeps to what it has read when it began.
 * `usage` where neither apt nor dpkg has a folder for configuration, `exists` where another file has the place of ours.
 */
export async function installHooks(root: string, files: readonly HookFile[]): Promise<void> {
  await named('put the hooks in place', () => install(root, files))
}

async function install(root: string, files: readonly HookFile[]): Promise<void> {
  const wanted: HookLink[] = []
  for (const link of links) {
    if ((await kindOf(join(root, dirname(link.path)))) !== 'folder') continue
    if ((await ownerOf(root, link)) === 'other')
      throw new VmlError(
        'exists',
        `Cannot put a hook in place: "${link.path}" is a file of somebody else's`,
        {
          hint: `Move ${link.path} away, then repeat`,
        },
      )
    wanted.push(link)
  }
  if (wanted.length === 0)
    throw new VmlError('unsupported', 'Cannot put hooks in place: this machine has neither apt nor dpkg', {
      details: { looked: links.map(({ path }) => dirname(path)) },
    })
  for (const folder of folders) {
    await mkdir(join(root, folder), { recursive: true })
    await chmod(join(root, folder), 0o755)
  }
  for (const file of files)
    await writeHookFile(join(root, file.path), { ...file, temporary: join(root, temporaryName(file.path)) })
  for (const folder of folders) await syncFolder(join(root, folder))
  for (const link of wanted) {
    const path = join(root, link.path)
    if ((await ownerOf(root, link)) === 'link') continue
    await rm(path, { force: true })
    await symlink(link.target, path)
    await syncFolder(dirname(path))
  }
}

/**
 * Links first. Files of the hooks' own folder that are not ours stay, and are told. May be repeated, and finds nothing then.
 * The caller holds dpkg's lock: what a run of apt has begun in a stage it must not go on with outside.
 */
export async function removeHooks(root: string): Promise<{ readonly left: readonly string[] }> {
  return await named('take the hooks away', () => remove(root))
}

async function remove(root: string): Promise<{ readonly left: readonly string[] }> {
  const left: string[] = []
  for (const link of links.toReversed()) {
    const owner = await ownerOf(root, link)
    if (owner === 'other') left.push(link.path)
    if (owner !== 'link' && owner !== 'copy') continue
    await rm(join(root, link.path))
    await syncFolder(dirname(join(root, link.path)))
  }
  for (const name of fileNames.toReversed()) {
    await absent(rm(join(root, name)))
    await absent(rm(join(root, temporaryName(name))))
  }
  for (const folder of folders.toReversed()) if (!(await removeEmpty(join(root, folder)))) left.push(folder)
  return { left }
}

/** `part`: some of it is missing, or not what these files say. Records are complete with `all` only. */
export async function findHooks(root: string, files: readonly HookFile[]): Promise<'all' | 'part' | 'none'> {
  const right = (await rightHooks(root, files)).length
  if (right === files.length + (await hookLinks(root)).length) return 'all'
  if (right > 0) return 'part'
  for (const { path } of files) if ((await textOf(join(root, path))) !== undefined) return 'part'
  for (const link of links) if ((await ownerOf(root, link)) === 'copy') return 'part'
  return 'none'
}

/** The paths that are already what they would be after `installHooks`. */
export async function rightHooks(root: string, files: readonly HookFile[]): Promise<readonly string[]> {
  const right = await writtenAmong(root, files)
  for (const link of links) if ((await ownerOf(root, link)) === 'link') right.push(link.path)
  return right
}

async function named<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    const code = systemErrorCode(error)
    if (error instanceof VmlError || code === undefined) throw error
    const denied = explainDenied(error)
    if (denied !== undefined) throw denied
    throw new VmlError(
      code === 'ENOSPC' || code === 'EDQUOT' ? 'unavailable.space' : 'failed',
      `Cannot ${what}: ${messageOf(error)}`,
      {
        cause: error,
        hint: 'apt and dpkg work with any part of them; repeat when it can be done',
      },
    )
  }
}

/** A name of its own that is known beforehand: what a cut leaves is found by the next one. */
function temporaryName(path: string): string {
  return `${path}.new`
}

/** `copy`: our text where our link stood, as tools leave it that follow links. */
async function ownerOf(
  root: string,
  { path, target }: HookLink,
): Promise<'link' | 'copy' | 'none' | 'other'> {
  const kind = await kindOf(join(root, path))
  if (kind === 'none') return 'none'
  if (kind === 'link') return (await readlink(join(root, path))) === target ? 'link' : 'other'
  const text = kind === 'file' ? await textOf(join(root, path)) : undefined
  return text !== undefined && isHookText(text) ? 'copy' : 'other'
}

async function kindOf(path: string): Promise<'file' | 'folder' | 'link' | 'none' | 'other'> {
  const stat = await absent(lstat(path))
  if (stat === undefined) return 'none'
  if (stat.isSymbolicLink()) return 'link'
  return stat.isFile() ? 'file' : stat.isDirectory() ? 'folder' : 'other'
}

async function removeEmpty(folder: string): Promise<boolean> {
  try {
    await rmdir(folder)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return true
    if (['ENOTEMPTY', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return false
    throw error
  }
}
