// What a machine has of the shared libraries that an entry's programs need, and who its users are.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes, type RawText } from '../base/raw-text.ts'
import { libraryKey, type LibraryNeed, type MachineLibrary } from '../model/libraries.ts'
import type { PackageSet } from '../model/packages.ts'
import { isRawName, joinPath, parseRawPath, type RawPath } from '../model/raw-path.ts'
import { machineName } from '../model/elf.ts'
import type { Shell } from '../wire/shell.ts'

const needsMax = 2000
const candidatesMax = 20_000
/** Words of one start of a program; Linux takes 2 MiB in all. */
const wordsBytesMax = 256 * 1024
const usersMax = 100_000

export interface LibraryRequest {
  readonly needs: readonly LibraryNeed[]
  /** Gives the versions of the packages that own the libraries. */
  readonly packages?: PackageSet | undefined
  readonly signal?: AbortSignal | undefined
}

/** By `libraryKey`; what the machine does not have is not in it. Nothing is installed or changed on the machine. */
export async function readLibraryFacts(
  shell: Shell,
  { needs, packages, signal }: LibraryRequest,
): Promise<ReadonlyMap<string, MachineLibrary>> {
  const wanted = needs.slice(0, needsMax).filter(({ soname }) => isPlain(soname))
  if (wanted.length === 0) return new Map()
  const linker = await readLinker(shell, signal)
  const candidates = new Map<RawPath, LibraryNeed[]>()
  for (const need of wanted) {
    const { soname } = need
    if (!isRawName(soname)) continue
    const inFolders = (folders: readonly RawPath[]) => folders.map((folder) => joinPath(folder, soname))
    const paths = [
      ...inFolders(need.folders.filter(isPlain)),
      ...(linker.cache.get(soname) ?? []),
      ...inFolders(linker.folders),
    ]
    for (const path of new Set(paths)) {
      if (candidates.size >= candidatesMax) break
      const asked = candidates.get(path)
      if (asked) asked.push(need)
      else candidates.set(path, [need])
    }
  }
  const keys = new Set(wanted.map(libraryKey))
  const found = new Map<string, FoundFile & { soname: RawText }>()
  for (const file of await readFiles(shell, [...candidates.keys()], signal)) {
    for (const { soname } of candidates.get(file.path) ?? []) {
      const key = libraryKey({ ...file, soname })
      // The linker's own order: what was found first is what a program gets.
      if (keys.has(key) && !found.has(key)) found.set(key, { ...file, soname })
    }
  }
  const owners = await readOwners(shell, [...new Set([...found.values()].flatMap(namesOf))], signal)
  const versions = new Map(packages?.packages.map(({ name, version }) => [name, version]))
  return new Map(
    [...found].map(([key, file]) => {
      const owner = namesOf(file).flatMap((name) => owners.get(name) ?? [])[0]
      const version = owner === undefined ? undefined : versions.get(owner)
      const { sha256, ...library } = file
      return [
        key,
        {
          ...library,
          ...(owner === undefined ? {} : { package: owner }),
          ...(version === undefined ? {} : { packageVersion: version }),
          ...(sha256 === undefined ? {} : { sha256 }),
        },
      ]
    }),
  )
}

/** User names by number; undefined where the machine does not tell. */
export async function readUserNames(
  shell: Shell,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ReadonlyMap<number, RawText> | undefined> {
  const { status, stdout } = await shell.run({
    argv: ['sh', '-c', 'getent passwd 2>/dev/null || cat /etc/passwd'],
    signal,
  })
  if (status !== 0) return undefined
  const users = new Map<number, RawText>()
  for (const line of stdout.toString('latin1').split('\n')) {
    const [name, , uid] = line.split(':', 3)
    if (name === undefined || uid === undefined || !/^\d{1,10}$/.test(uid) || users.size >= usersMax) continue
    // Of two names of one number the first is the one that the system shows.
    if (!users.has(Number(uid))) users.set(Number(uid), rawFromBytes(Buffer.from(name, 'latin1')))
  }
  return users
}

/** A name that survives the lines in which the scripts answer. */
function isPlain(text: RawText): boolean {
  // oxlint-disable-next-line no-control-regex -- these are what is looked for
  return !/[\x00-\x1f\x7f]/.test(text)
}

// ld.so(8): its cache first, then the standard folders. musl and busybox systems have no cache.
const linkerScript = `
PATH=$PATH:/sbin:/usr/sbin
ldconfig -p 2>/dev/null || true
echo
cat /etc/ld-musl-*.path 2>/dev/null | tr ':' '\\n'
for folder in /usr/local/lib /lib/*-linux-* /usr/lib/*-linux-* /lib64 /usr/lib64 /lib /usr/lib; do
  [ -d "$folder" ] && echo "$folder"
done
exit 0`

interface Linker {
  readonly cache: ReadonlyMap<RawText, RawPath[]>
  readonly folders: readonly RawPath[]
}

async function readLinker(shell: Shell, signal: AbortSignal | undefined): Promise<Linker> {
  const text = await runScript(shell, linkerScript, [], signal)
  const cache = new Map<RawText, RawPath[]>()
  const folders: RawPath[] = []
  for (const line of text.split('\n')) {
    const match = /^\t(\S+) \(.*\) => (\/.+)$/.exec(line)
    const path = parseRawPath(rawOf(match?.[2] ?? line))
    if (path === undefined) continue
    if (match?.[1] === undefined) folders.push(path)
    else {
      const soname = rawOf(match[1])
      const paths = cache.get(soname)
      if (paths) paths.push(path)
      else cache.set(soname, [path])
    }
  }
  return { cache, folders }
}

// Four lines for each that is there: path, real path, first bytes in hex, sum. busybox has all of these.
const filesScript = `
for path; do
  [ -f "$path" ] || continue
  real=$(readlink -f "$path") || continue
  head=$(od -An -tx1 -N20 "$real" 2>/dev/null | tr -d ' \\n')
  case $head in 7f454c46*) ;; *) continue;; esac
  sum=$(sha256sum <"$real" 2>/dev/null)
  printf '%s\\n%s\\n%s\\n%s\\n' "$path" "$real" "$head" "\${sum%% *}"
done
exit 0`

interface FoundFile {
  readonly path: RawPath
  readonly target: RawPath
  readonly bits: 32 | 64
  readonly machine: string
  readonly sha256: string | undefined
}

async function readFiles(
  shell: Shell,
  paths: readonly RawPath[],
  signal: AbortSignal | undefined,
): Promise<FoundFile[]> {
  const files: FoundFile[] = []
  for (const words of batches(paths)) {
    const lines = (await runScript(shell, filesScript, words, signal)).split('\n')
    for (let at = 0; at + 3 < lines.length; at += 4) {
      const file = parseFile(lines.slice(at, at + 4))
      if (file === undefined)
        throw new VmlError(
          'remote.protocol',
          `Cannot read the libraries of ${shell.label}: its answer is out of step`,
        )
      files.push(file)
    }
  }
  return files
}

// All names at once: dpkg reads all of its lists for each question.
const ownersScript = `
if command -v dpkg-query >/dev/null 2>&1; then echo dpkg; dpkg-query -S "$@" 2>/dev/null
elif [ -d /var/lib/dpkg/info ]; then
  echo lists
  for name; do set -- "$@" -e "$name"; shift; done
  grep -xF "$@" /dev/null /var/lib/dpkg/info/*.list 2>/dev/null
elif command -v rpm >/dev/null 2>&1; then
  echo rpm; for name; do printf '%s: ' "$name"; rpm -qf --qf '%{NAME}\\n' "$name" 2>/dev/null || echo; done
elif command -v apk >/dev/null 2>&1; then echo apk; apk info -W "$@" 2>/dev/null
else echo none; fi
exit 0`

/** The package that owns each path, where one does. */
async function readOwners(
  shell: Shell,
  paths: readonly RawPath[],
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, string>> {
  const owners = new Map<string, string>()
  for (const words of batches(paths)) {
    const [kind = '', ...lines] = (await runScript(shell, ownersScript, words, signal)).split('\n')
    for (const line of lines) {
      const [, first = '', second = ''] = ownerPatterns[kind]?.exec(line) ?? []
      const [path, name] = first.startsWith('/') ? [first, second] : [second, first]
      if (/^[\x21-\x7e]{1,256}$/.test(name) && !owners.has(path)) owners.set(path, name)
    }
  }
  return owners
}

/** Path and name, in whichever order the program gives them; an architecture behind the name is left out. */
const ownerPatterns: Readonly<Record<string, RegExp>> = {
  dpkg: /^([^\s:,]+)[^/]*: (\/.*)$/,
  lists: /^\/var\/lib\/dpkg\/info\/([^/:]+)(?::[^/:]+)?\.list:(\/.*)$/,
  rpm: /^(\/.*): (\S+)$/,
  apk: /^(\/.*) is owned by (\S+?)-[^-]+-r\d+$/,
}

/** A merged /usr has two names for a file, and a package's list one of them. */
function namesOf({ path, target }: FoundFile): RawPath[] {
  const names = [target, path, ...[target, path].map((name) => name.replace(/^\/usr\//, '/')), `/usr${path}`]
  return [...new Set(names)].flatMap((name) => parseRawPath(rawOf(name)) ?? [])
}

function* batches(paths: readonly RawPath[]): Iterable<RawPath[]> {
  let batch: RawPath[] = []
  let bytes = 0
  for (const path of paths) {
    if (bytes + path.length > wordsBytesMax) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(path)
    bytes += path.length + 1
  }
  if (batch.length > 0) yield batch
}

function parseFile([path = '', target = '', head = '', sum = '']: readonly string[]): FoundFile | undefined {
  const [from, to] = [parseRawPath(rawOf(path)), parseRawPath(rawOf(target))]
  const machine = machineName(Buffer.from(head, 'hex'))
  if (from === undefined || to === undefined || machine === undefined) return undefined
  return {
    path: from,
    target: to,
    ...machine,
    sha256: /^[0-9a-f]{64}$/.test(sum) ? sum : undefined,
  }
}

async function runScript(
  shell: Shell,
  script: string,
  words: readonly string[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const { status, stdout, stderr } = await shell.run({
    argv: ['sh', '-c', script, 'sh', ...words],
    endsWhole: true,
    signal,
  })
  if (status !== 0)
    throw new VmlError('remote.command', `Cannot read the libraries of ${shell.label}`, {
      details: { status, stderr: printable(rawFromBytes(stderr.subarray(-2048))) },
    })
  return stdout.toString('latin1')
}

function rawOf(latin1: string): RawText {
  return rawFromBytes(Buffer.from(latin1, 'latin1'))
}
