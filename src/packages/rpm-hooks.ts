// What `vml tx enable` puts on an rpm machine and `disable` takes away again: the hooks of dnf and rpm.
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { VmlError, systemErrorCode } from '../base/failure.ts'
import { syncFolder } from '../base/files.ts'
import { absent, textOf, writeHookFile, writtenAmong } from './hook-file.ts'
import { programScript } from './hook-scripts.ts'
import type { Shell } from '../wire/shell.ts'
import {
  dnfPlugin,
  isRpmHookText,
  programFile,
  hookMacro,
  rpmHookFile,
  rpmHookFolder,
  rpmHookScript,
  rpmMacros,
  servicesFolder,
} from './rpm-hook-scripts.ts'
import { systemctlScript } from './systemctl-queue.ts'

export interface RpmHookFile {
  /** From the root of the machine. */
  readonly path: string
  readonly mode: number
  readonly text: string
}

export interface RpmHooks {
  /** In the order in which they are written: what is called before what calls it. */
  readonly files: readonly RpmHookFile[]
  /** What of the machine's changes these hooks do not see, as sentences. */
  readonly unseen: readonly string[]
}

/** rpm reads all of both. The first is the administrator's, and not there on every machine; the second is rpm's own. */
const macroFolders = ['/etc/rpm', '/usr/lib/rpm/macros.d'] as const
const macroName = 'macros.vml'
const pluginName = 'vml.py'
const systemctlFile = `${servicesFolder}/systemctl`
/** The words of one answer about dnf's folders. */
const answerBytesMax = 64 * 1024

/** Asks the machine what it has: rpm alone, or dnf as well. `unsupported` without rpm. */
export async function planRpmHooks(
  shell: Shell,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<RpmHooks> {
  const { stdout } = await shell.run({
    argv: ['sh', '-c', askScript],
    outputBytesMax: answerBytesMax,
    endsWhole: true,
    signal,
  })
  const said = new Map(
    stdout
      .toString('utf8')
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)] as const),
  )
  if (!said.has('rpm'))
    throw new VmlError('unsupported', 'Cannot put hooks in place: this machine has no rpm')
  const plugins = said.get('plugins')
  const shared = said.get('shared') ?? ''
  const files = [{ path: rpmHookFile, mode: 0o755, text: rpmHookScript }]
  if (plugins !== undefined && /^\/[^\0]*\/dnf-plugins$/.test(plugins))
    files.push(
      { path: systemctlFile, mode: 0o755, text: systemctlScript() },
      { path: `${plugins}/${pluginName}`, mode: 0o644, text: dnfPlugin },
    )
  // Ours is empty when it is expanded: an administrator's list of shared folders would be lost.
  const isFree = shared === '' || said.has('ours')
  const macroFolder = said.has('etc') ? macroFolders[0] : macroFolders[1]
  if (isFree) files.push({ path: `${macroFolder}/${macroName}`, mode: 0o644, text: rpmMacros })
  return {
    files,
    unseen: [
      ...(isFree
        ? []
        : [`rpm itself and dnf5: the macro %${hookMacro} is in use here, and is the only place for a hook`]),
      ...(said.has('packagekit') ? ['PackageKit: it uses the library of dnf, which has no hooks'] : []),
    ],
  }
}

/** How VML is started, where no other hooks bring it. */
export function programHookOf(program: readonly string[]): RpmHookFile {
  return { path: programFile, mode: 0o755, text: programScript(program) }
}

/** dnf's own Python tells where its plugins lie: it differs by distribution and by version. */
const askScript = `
command -v rpm >/dev/null 2>&1 || exit 0
echo "rpm yes"
echo "shared $(rpm --eval '%{?${hookMacro}}' 2>/dev/null)"
[ ! -d ${macroFolders[0]} ] || echo "etc yes"
[ ! -f ${macroFolders[0]}/${macroName} ] && [ ! -f ${macroFolders[1]}/${macroName} ] || echo "ours yes"
[ ! -x /usr/libexec/packagekitd ] || echo "packagekit yes"
dnf=$(command -v dnf-3 || command -v dnf) || exit 0
IFS= read -r first <"$dnf" || exit 0
case $first in '#!'*python*) ;; *) exit 0 ;; esac
echo "plugins $(\${first#??} -c 'import dnf.const; print(dnf.const.PLUGINPATH)' 2>/dev/null)"
exit 0`

/**
 * Each of them does without the others, so that it may be cut off anywhere and repeated. `exists` where another file has the place of ours.
 */
export async function installRpmHooks(root: string, { files }: RpmHooks): Promise<void> {
  for (const { path } of files) {
    const there = await textOf(join(root, path))
    if (there !== undefined && !isRpmHookText(there))
      throw new VmlError('exists', `Cannot put a hook in place: "${path}" is a file of somebody else's`, {
        hint: `Move ${path} away, then repeat`,
      })
  }
  for (const { path, mode, text } of files) {
    const place = join(root, path)
    await mkdir(dirname(place), { recursive: true, mode: 0o755 })
    await writeHookFile(place, { temporary: temporaryName(place), mode, text })
    await syncFolder(dirname(place))
  }
}

/**
 * What calls goes before what is called; it is found wherever an earlier version of Python or of this machine had it. Files that are not ours
 * stay, and are told. May be repeated, and finds nothing then. Python's compiled form of the plugin goes with it.
 */
export async function removeRpmHooks(root: string): Promise<{ readonly left: readonly string[] }> {
  const left: string[] = []
  const plugins = await pluginFolders(root)
  const files = [
    ...macroFolders.map((folder) => `${folder}/${macroName}`),
    ...plugins.map((folder) => `${folder}/${pluginName}`),
    systemctlFile,
    rpmHookFile,
    programFile,
  ]
  for (const path of files) {
    const place = join(root, path)
    const there = await textOf(place)
    await rm(temporaryName(place), { force: true })
    if (there === undefined) continue
    if (isRpmHookText(there)) await rm(place)
    // The program is another's, too.
    else if (path !== programFile) left.push(path)
  }
  for (const folder of plugins) await removeCompiled(join(root, folder))
  for (const folder of [servicesFolder, rpmHookFolder]) await removeEmpty(join(root, folder))
  return { left }
}

/** Of every Python that this machine has or had. */
async function pluginFolders(root: string): Promise<string[]> {
  const found: string[] = []
  for (const library of ['/usr/lib', '/usr/lib64', '/usr/local/lib'])
    for (const python of await namesIn(join(root, library)))
      if (/^python3(?:\.\d+)?$/.test(python))
        for (const packages of ['site-packages', 'dist-packages'])
          found.push(`${library}/${python}/${packages}/dnf-plugins`)
  return found
}

/** `part`: some of it is missing, or not what these files say. */
export async function findRpmHooks(root: string, { files }: RpmHooks): Promise<'all' | 'part' | 'none'> {
  const right = (await writtenAmong(root, files)).length
  if (right > 0) return right === files.length ? 'all' : 'part'
  for (const { path } of files) if ((await textOf(join(root, path))) !== undefined) return 'part'
  return 'none'
}

/** A name that is known beforehand: what a cut leaves is found by the next one. dnf and rpm read neither (`*.py`, `macros.*` without `.new`). */
function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.new`)
}

/** A folder for compiled files that held nothing but ours was made for it. */
async function removeCompiled(plugins: string): Promise<void> {
  const folder = join(plugins, '__pycache__')
  const ours = (await namesIn(folder)).filter((name) => /^vml\.[\w.-]+\.pyc$/.test(name))
  for (const name of ours) await rm(join(folder, name), { force: true })
  if (ours.length > 0) await removeEmpty(folder)
}

async function namesIn(folder: string): Promise<string[]> {
  return (await absent(readdir(folder))) ?? []
}

async function removeEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch((error: unknown) => {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(systemErrorCode(error) ?? '')) throw error
  })
}
