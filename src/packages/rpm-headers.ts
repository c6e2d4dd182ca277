// What rpm's database holds of each installed package, as `rpmdb --exportdb` writes it and `--importdb` takes it: one header after the other.
import { createHash } from 'node:crypto'
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import { openByteReader, type ByteReader } from '../wire/byte-reader.ts'
import { headerPreambleBytes, openRpmHeader, storeBytes } from '../wire/rpm-header.ts'
import { readRpmIdentity, rpmVersion, type RpmIdentity } from '../wire/rpm-package.ts'
import type { Shell, ShellProcess } from '../wire/shell.ts'

/** One installed package; two installations of one package differ, in their times at least. */
export interface RpmEntry extends RpmIdentity {
  /** SHA-256 of its header. */
  readonly id: string
  readonly header: Buffer
}

/** Ten times the largest distribution's. */
const entriesMax = 200_000
/** No output of rpmdb for so long means that another program holds the database and does not let go. */
const silenceMsMax = 120_000

/** Fails with `integrity.format` and `integrity.truncated`. */
export async function* readRpmHeaders(stream: AsyncIterable<Uint8Array>): AsyncGenerator<RpmEntry, void> {
  const reader = openByteReader(stream, 'a list of rpm headers')
  try {
    for (let count = 0; ; count++) {
      const header = await takeHeader(reader)
      if (header === undefined) return
      if (count === entriesMax)
        throw new VmlError(
          'integrity.format',
          `Cannot read a list of rpm headers: it has more than ${entriesMax}`,
        )
      const identity = readRpmIdentity(openRpmHeader(header, 'a header of the database'))
      yield { ...identity, id: createHash('sha256').update(header).digest('hex'), header }
    }
  } finally {
    await reader.close()
  }
}

async function takeHeader(reader: ByteReader): Promise<Buffer | undefined> {
  const preamble = await reader.takeOrEnd(headerPreambleBytes)
  if (preamble === undefined) return undefined
  const start = Buffer.from(preamble)
  const rest = await reader.take(storeBytes(start, 'a header of the database') - headerPreambleBytes)
  return Buffer.concat([start, rest])
}

/** Where rpm of a machine has its database; `unsupported` where there is no rpm that can export it (before 4.13). */
export async function rpmDatabaseFolder(
  shell: Shell,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<string> {
  const script =
    'command -v rpmdb >/dev/null && rpmdb --help | grep -q -e --importdb && exec rpm --eval %_dbpath'
  const { status, stdout } = await shell.run({ argv: ['sh', '-c', script], endsWhole: true, signal })
  const folder = stdout.toString('latin1').trimEnd()
  if (status !== 0 || !/^\/[^\0\n]+$/.test(folder))
    throw new VmlError(
      'unsupported',
      `Cannot read rpm's database on ${shell.label}: there is no rpmdb that can export and import it`,
      { hint: 'rpm 4.13 or later has one' },
    )
  return folder
}

/**
 * The entries of a database in its own order. rpm opens it as a writer may: the folder gets a lock file and SQLite's two files.
 * `rpmdb` says of a list that ends early that all went well: who writes a database has to read it again.
 */
export async function* exportRpmDatabase(
  shell: Shell,
  folder: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<RpmEntry, void> {
  await using running = await shell.start({
    argv: ['rpmdb', '--dbpath', folder, '--exportdb'],
    idleTimeoutMs: silenceMsMax,
    signal,
  })
  yield* readRpmHeaders(running.stdout)
  await rpmSucceeded(running, `Cannot read rpm's database on ${shell.label}`)
}

/** Adds packages to a database, byte by byte as `readRpmHeaders` gave them. */
export async function importRpmHeaders(
  shell: Shell,
  folder: string,
  { entries, signal }: { readonly entries: readonly RpmEntry[]; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  await using running = await shell.start({
    argv: ['rpmdb', '--dbpath', folder, '--importdb'],
    stdin: entries.map(({ header }) => header),
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    signal,
  })
  for await (const said of running.stdout) void said
  await rpmSucceeded(running, `Cannot write rpm's database on ${shell.label}`)
}

/** Names of one command; a start of rpm takes as long as a hundred of them. */
const namesInCommand = 200

/** Takes packages out of a database, which is all that is done: no script, no trigger, no plugin runs, no file goes. */
export async function eraseRpmHeaders(
  shell: Shell,
  folder: string,
  { entries, signal }: { readonly entries: readonly RpmEntry[]; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const options = ['--justdb', '--nodeps', '--noscripts', '--notriggers', '--noplugins']
  for (let from = 0; from < entries.length; from += namesInCommand) {
    const labels = entries.slice(from, from + namesInCommand).map(rpmLabel)
    await using running = await shell.start({
      argv: ['rpm', '--dbpath', folder, '-e', ...options, '--', ...labels],
      idleTimeoutMs: Number.POSITIVE_INFINITY,
      signal,
    })
    for await (const said of running.stdout) void said
    await rpmSucceeded(running, `Cannot write rpm's database on ${shell.label}`)
  }
}

/** Without the epoch, which not every rpm takes here; keys of signers have no architecture. */
function rpmLabel({ name, version, release, architecture }: RpmIdentity): string {
  return `${name}-${version}-${release}${architecture === '(none)' ? '' : `.${architecture}`}`
}

async function rpmSucceeded(running: ShellProcess, failure: string): Promise<void> {
  const { status, stderr } = await running.outcome
  if (status !== 0)
    throw new VmlError('remote.command', `${failure}: its program ended with ${status}`, {
      details: { status, stderr: printable(rawFromBytes(stderr.subarray(-2048))) },
    })
}

/** `name-[epoch:]version-release.architecture`, as rpm shows it. */
export function rpmName(identity: RpmIdentity): string {
  return `${identity.name}-${rpmVersion(identity)}.${identity.architecture}`
}
