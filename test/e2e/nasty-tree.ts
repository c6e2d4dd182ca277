// A tree of everything that Unix allows, and a full description of any tree to compare it with.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Runs bash in a folder. */
export function sh(folder: string, script: string, ...words: readonly string[]): string {
  return execFileSync('bash', ['--norc', '-euc', `cd "$0"; ${script}`, folder, ...words], {
    maxBuffer: 2 ** 28,
    env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'inherit'],
  }).toString('latin1')
}

/** Makes `folder/tree`. Needs root. */
export function makeNastyTree(folder: string): void {
  sh(
    folder,
    String.raw`
    mkdir tree; cd tree
    mkdir -p empty ./-rf shut/in d/e
    printf plain > plain; chmod 4751 plain; ln plain hard; ln plain d/hard2
    printf option > ./--checkpoint-action=exec=id; printf at > @list; printf dash > ./-rf/-x
    printf nl > $'new\nline\n'; printf q > "it's \"quoted\" \\n \\\\"; printf latin > $'caf\xe9'
    printf glob > '[a]*?'; printf esc > $'\x1b[31mred'; printf space > ' lead and trail '
    printf half > $'\xed\xa0\x80'; printf dot > ...; printf tilde > '~'; printf colon > 'host:file'
    long=$(printf 'x%.0s' $(seq 255)); printf long > "$long"
    part=$(printf 'p%.0s' $(seq 200)); deep=deep
    while [ $(( \${#PWD} + \${#deep} + 210 )) -lt 4090 ]; do deep=$deep/$part; done
    mkdir -p "$deep"; printf deep > "$deep/f"
    ln -s 'no where -> else' dangling; ln -s / rootlink; ln -s $'t\n\xff' rawlink; ln -s ../.. d/up; ln -s d dirlink
    ln dangling d/linked-link
    mkfifo -m 640 fifo; ln fifo d/fifo2
    truncate -s 100M sparse; printf middle | dd of=sparse bs=1 seek=50M conv=notrunc status=none
    head -c 5000000 /dev/urandom > big; head -c 300000 /dev/zero > zeros
    : > nothing; chmod 0 nothing
    mknod null c 1 3; mknod loop b 7 9
    chown 4294967294:4294967294 'host:file'; chown 1234:4321 @list; chown -h 12:34 dangling; chown daemon:daemon d/e
    setfattr -n user.vml -v $'a\nb' @list; setfattr -n user.empty d; setfattr -n trusted.t -v x d/e
    setfacl -m u:daemon:rw,g:4321:r plain; setfacl -d -m u:daemon:rx ./-rf
    printf none > ./-rf/unlisted; setfacl -b ./-rf/unlisted
    chmod 1777 empty; chmod 2755 d; printf s > shut/in/s
    touch -d '1965-05-05 05:05:05.123456789Z' @list; touch -d '2241-02-03 04:05:06.987654321Z' empty
    touch -h -d '1999-09-09 09:09:09.5Z' dangling; touch -d '1901-12-14 00:00:00Z' plain; touch -d @0 zeros
    chmod 555 shut/in; chmod 555 shut; touch -d '2001-02-03 04:05:06.5Z' ./-rf d/e .
  `.replaceAll('\\${', '${'),
  )
}

export interface Described {
  /** By path relative to the folder, one line of facts. */
  readonly facts: ReadonlyMap<string, string>
  /** Sets of names of one file, sorted. */
  readonly links: readonly string[]
  readonly xattrs: string
}

export interface DescribeOptions {
  readonly without?: readonly ('linkTime' | 'links' | 'xattrs' | 'ownTime')[]
  readonly resolutionNs?: bigint
}

/** Every byte and attribute of everything below a folder, and of the folder itself (`.`). */
export function describeTree(folder: string, options: DescribeOptions = {}): Described {
  const { without = [], resolutionNs = 1n } = options
  const facts = new Map<string, string>()
  const names = new Map<string, string[]>()
  const visit = (path: Buffer, relative: string): void => {
    const { mode, uid, gid, size, mtimeNs, rdev, ino, nlink } = lstatSync(path, { bigint: true })
    const kind = Number(mode) & 0o170000
    const isLink = kind === 0o120000
    const isFile = kind === 0o100000
    const isFolder = kind === 0o040000
    const timeless =
      (isLink && without.includes('linkTime')) || (relative === '.' && without.includes('ownTime'))
    facts.set(
      relative,
      [
        mode.toString(8),
        `${uid}:${gid}`,
        isFile ? size : '',
        timeless ? '' : floored(mtimeNs, resolutionNs),
        isLink ? readlinkSync(path, { encoding: 'buffer' }).toString('latin1') : '',
        kind === 0o020000 || kind === 0o060000 ? rdev : '',
        isFile ? createHash('sha256').update(readFileSync(path)).digest('hex') : '',
      ].join(' '),
    )
    if (!isFolder && nlink > 1n) names.set(String(ino), [...(names.get(String(ino)) ?? []), relative])
    if (!isFolder) return
    for (const name of readdirSync(path, { encoding: 'buffer' }))
      visit(Buffer.concat([path, Buffer.from('/'), name]), `${relative}/${name.toString('latin1')}`)
  }
  visit(Buffer.from(folder), '.')
  return {
    facts: new Map([...facts].sort(([left], [right]) => (left < right ? -1 : 1))),
    links: without.includes('links')
      ? []
      : [...names.values()].map((group) => group.sort().join(' = ')).sort(),
    xattrs: without.includes('xattrs') ? '' : xattrsOf(folder),
  }
}

function floored(timeNs: bigint, resolutionNs: bigint): bigint {
  const rest = timeNs % resolutionNs
  return rest < 0n ? timeNs - rest - resolutionNs : timeNs - rest
}

/** Folder by folder in order of names, as getfattr prints them. */
function xattrsOf(folder: string): string {
  const text = execFileSync('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 2 ** 26,
  }).toString('latin1')
  return text.split('\n\n').filter(Boolean).sort().join('\n\n')
}

/** Kilobytes that a file really takes. */
export function blocksOf(file: string): number {
  return lstatSync(file).blocks / 2
}

const differencesShownMax = 10
const shownCharactersMax = 300

/** Fails with the first few differences, in a length that can be read. */
export function assertSameTree(actual: Described, expected: Described): void {
  const differences: string[] = []
  for (const path of new Set([...expected.facts.keys(), ...actual.facts.keys()])) {
    const [found, wanted] = [actual.facts.get(path), expected.facts.get(path)]
    if (found !== wanted)
      differences.push(`${path.slice(-60)}: ${found ?? 'missing'} instead of ${wanted ?? 'nothing'}`)
  }
  for (const what of ['links', 'xattrs'] as const)
    if (String(actual[what]) !== String(expected[what]))
      differences.push(`${what}: ${String(actual[what])}\ninstead of ${String(expected[what])}`)
  if (differences.length === 0) return
  const shown = differences
    .slice(0, differencesShownMax)
    .map((text) => (text.startsWith('xattrs') ? text : text.slice(0, shownCharactersMax)))
  assert.fail(`${differences.length} differences\n${shown.join('\n')}`)
}
