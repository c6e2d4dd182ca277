// Where versions of packages can be downloaded, as apt tells it from its lists: sources, size, checksum.
import { isDeepStrictEqual } from 'node:util'
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import { controlParagraphs } from '../model/control-paragraph.ts'
import type { PackageOrigin, PackageSource } from '../model/package-record.ts'
import type { Shell } from '../wire/shell.ts'
import { versionKey } from './dpkg-records.ts'
import { lines } from './package-records.ts'

export interface WantedVersion {
  readonly name: string
  readonly architecture: string
  readonly version: string
}

/** A call takes half a second, whatever it is asked; a word has some 60 bytes, and Linux takes 128 KiB of each, 2 MiB of all. */
const wordsPerCallMax = 2000
/** All paragraphs of Debian's lists have 50 MB. */
const answerBytesMax = 256 * 1024 * 1024

/**
 * By `versionKey`; versions that no list of this machine has are left out. `words` are options of apt's own, such as `-o Dir=…` for
 * another root. `remote.command` where apt fails.
 */
export async function readAptOrigins(
  shell: Shell,
  wanted: readonly WantedVersion[],
  {
    words = [],
    signal,
  }: { readonly words?: readonly string[]; readonly signal?: AbortSignal | undefined } = {},
): Promise<ReadonlyMap<string, PackageOrigin>> {
  const origins = new Map<string, PackageOrigin>()
  if (wanted.length === 0) return origins
  const ask = async (command: 'policy' | 'show', names: readonly string[] = []): Promise<string> => {
    const { status, stdout, stderr } = await shell.run({
      argv: ['apt-cache', ...words, command, ...names],
      outputBytesMax: answerBytesMax,
      signal,
    })
    // Unknown names are nothing to `policy`, and what `show` fails for when it knows none of them.
    if (status === 0 || (status === 100 && command === 'show')) return stdout.toString('latin1')
    throw new VmlError('remote.command', `Cannot ask apt on ${shell.label} where packages come from`, {
      details: { status, stderr: printable(rawFromBytes(stderr.subarray(-2048))) },
    })
  }
  const releases = parseReleases(await ask('policy'))
  for (let at = 0; at < wanted.length; at += wordsPerCallMax) {
    const some = wanted.slice(at, at + wordsPerCallMax)
    const versions = parsePolicy(await ask('policy', [...new Set(some.map(wordOf))]), releases)
    const files = parseFiles(
      await ask(
        'show',
        some.map((one) => `${wordOf(one)}=${one.version}`),
      ),
    )
    for (const { name, architecture, version } of some) {
      const sources = (versions.get(`${name}:${architecture}`) ?? versions.get(name))?.get(version) ?? []
      const key = versionKey(name, architecture, version)
      if (sources.length > 0) origins.set(key, { sources, ...files.get(key) })
    }
  }
  return origins
}

function wordOf({ name, architecture }: WantedVersion): string {
  return architecture === 'all' ? name : `${name}:${architecture}`
}

/** By the line that stands for a source in every answer: ` 500 http://… bookworm/main amd64 Packages`, without the priority. */
function parseReleases(text: string): Map<string, PackageSource> {
  const found = new Map<string, PackageSource>()
  let current = ''
  for (const line of lines(text)) {
    const [, source] = /^ *-?\d+ (\S.*)$/.exec(line) ?? []
    if (line.startsWith('Pinned')) break
    if (source !== undefined) {
      current = source
      found.set(current, { address: addressOf(source) })
      continue
    }
    const [, key, value = ''] = /^ +(release|origin) (.*)$/.exec(line) ?? []
    const known = found.get(current)
    if (known === undefined || key === undefined) continue
    if (key === 'release') found.set(current, { ...known, ...parseRelease(value) })
    // Lists of this machine's own disk have none.
    else if (value !== '') found.set(current, { ...known, site: value })
  }
  return found
}

/** `http://deb.debian.org/debian bookworm/main amd64 Packages`: all before the last two words is the address and the part of it. */
function addressOf(source: string): string {
  return source.split(' ')[0] ?? ''
}

const releaseFields = { l: 'label', a: 'archive', n: 'suite', c: 'component' } as const

function parseRelease(value: string): Partial<PackageSource> {
  const fields = new Map(value.split(',').map((one) => [one.slice(0, 1), one.slice(2)]))
  return Object.fromEntries(
    Object.entries(releaseFields).flatMap(([letter, name]) => {
      const said = fields.get(letter)
      return said === undefined || said === '' ? [] : [[name, said]]
    }),
  )
}

/** The version tables, by package as apt calls it: with its architecture where that is not the machine's own. */
function parsePolicy(
  text: string,
  releases: ReadonlyMap<string, PackageSource>,
): Map<string, Map<string, PackageSource[]>> {
  const found = new Map<string, Map<string, PackageSource[]>>()
  let versions = new Map<string, PackageSource[]>()
  let sources: PackageSource[] = []
  for (const line of lines(text)) {
    const [, name] = /^(\S+):$/.exec(line) ?? []
    if (name !== undefined) {
      versions = new Map()
      found.set(name, versions)
      continue
    }
    // ` *** 1.2-3 500` or `     1.2-3 500`, then deeper in the sources that have it.
    const [, version] = /^ (?:\*\*\*| {3}) (\S+) -?\d+(?: \(phased \d+%\))?$/.exec(line) ?? []
    if (version !== undefined) {
      sources = []
      versions.set(version, sources)
      continue
    }
    const [, source] = /^ {8} *-?\d+ (\S.*)$/.exec(line) ?? []
    // What is installed is no source.
    if (source === undefined || source.startsWith('/')) continue
    const known = releases.get(source) ?? { address: addressOf(source) }
    // A package for all architectures is in the list of each.
    if (!sources.some((one) => isDeepStrictEqual(one, known))) sources.push(known)
  }
  return found
}

const fileKeys = new Set(['package', 'version', 'architecture', 'filename', 'size', 'sha256'])

function parseFiles(text: string): Map<string, Omit<PackageOrigin, 'sources'>> {
  const found = new Map<string, Omit<PackageOrigin, 'sources'>>()
  for (const fields of controlParagraphs(text, { keys: fileKeys, what: 'the lists of apt' })) {
    const [file, size, sha256] = ['filename', 'size', 'sha256'].map((key) => fields.get(key))
    if (file === undefined) continue
    const [name = '', architecture = '', version = ''] = ['package', 'architecture', 'version'].map((key) =>
      fields.get(key),
    )
    found.set(versionKey(name, architecture, version), {
      file,
      ...(size !== undefined && /^\d{1,15}$/.test(size) ? { sizeBytes: Number(size) } : {}),
      ...(sha256 !== undefined && /^[0-9a-f]{64}$/.test(sha256) ? { sha256 } : {}),
    })
  }
  return found
}
