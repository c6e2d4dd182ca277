// The tar stream within a member of a .deb: what Node can open by itself, the rest by programs of the machine.
import { pipeline, Readable, type Transform } from 'node:stream'
import { constants, createGunzip, createZstdDecompress } from 'node:zlib'
import { messageOf, VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import { arHeader, arMagic, type ArMember } from './ar.ts'
import type { Shell } from './shell.ts'

/** dpkg-deb writes levels up to 22 (`-Zzstd -z22`), whose window is 128 MiB. */
const windowLogMax = 27

/** Programs by the ending of the member's name; dpkg-deb opens all of them, and stands last since not every machine is Debian's. */
const programs: Readonly<Record<string, readonly (readonly string[])[]>> = {
  xz: [['xz', '-dc', '-T1'], ['dpkg-deb']],
  lzma: [['xz', '-dc', '--format=lzma'], ['dpkg-deb']],
  bz2: [['bzip2', '-dc'], ['dpkg-deb']],
}

/**
 * `unsupported` where a program is needed that the machine does not have, or the kind of compression is unknown; `integrity.format`
 * where the content is damaged, at the latest with the end of the stream.
 */
export async function* openTarMember(
  member: ArMember,
  {
    shell,
    what,
    signal,
  }: { readonly shell: Shell; readonly what: string; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Buffer, void, undefined> {
  const ending = /\.tar(?:\.(\w+))?$/.exec(member.name)?.[1] ?? ''
  if (ending === '') yield* member.content()
  else if (ending === 'gz') yield* through(createGunzip(), member, what)
  else if (ending === 'zst')
    yield* through(
      createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: windowLogMax } }),
      member,
      what,
    )
  else {
    const argv = await chooseProgram(shell, ending, { what, signal })
    yield* byProgram(shell, { argv, member, what, signal })
  }
}

async function* through(
  transform: Transform,
  member: ArMember,
  what: string,
): AsyncGenerator<Buffer, void, undefined> {
  let cause: unknown
  // The content's own failure, such as a file that ends early, comes before what the decoder makes of it.
  async function* source() {
    try {
      yield* member.content()
    } catch (error) {
      cause = error
      throw error
    }
  }
  pipeline(Readable.from(source(), { objectMode: false }), transform, () => {})
  try {
    yield* transform as AsyncIterable<Buffer>
  } catch (error) {
    if (cause !== undefined) throw cause
    throw damaged(what, member, messageOf(error), error)
  } finally {
    transform.destroy()
  }
}

function damaged(what: string, { name }: ArMember, why: string, cause?: unknown): VmlError {
  return new VmlError('integrity.format', `Cannot read ${what}: "${name}" is damaged (${why})`, { cause })
}

interface Asked {
  readonly what: string
  readonly signal: AbortSignal | undefined
}

async function chooseProgram(
  shell: Shell,
  ending: string,
  { what, signal }: Asked,
): Promise<readonly string[]> {
  const candidates = programs[ending]
  if (candidates === undefined)
    throw new VmlError('unsupported', `Cannot read ${what}: compression "${ending}" is unknown`)
  const names = candidates.map(([name = '']) => name)
  const { stdout } = await shell.run({
    argv: [
      'sh',
      '-c',
      'for name; do command -v "$name" >/dev/null 2>&1 && echo "$name"; done; :',
      'sh',
      ...names,
    ],
    signal,
  })
  const there = new Set(stdout.toString('latin1').split('\n'))
  const chosen = candidates.find(([name = '']) => there.has(name))
  if (chosen !== undefined) return chosen
  throw new VmlError(
    'unsupported',
    `Cannot read ${what}: ${shell.label} has neither ${names.join(' nor ')}`,
    {
      hint: `Install ${names[0]}`,
    },
  )
}

async function* byProgram(
  shell: Shell,
  { argv, member, what, signal }: Asked & { readonly argv: readonly string[]; readonly member: ArMember },
): AsyncGenerator<Buffer, void, undefined> {
  const isDpkg = argv[0] === 'dpkg-deb'
  await using running = await shell.start({
    argv: isDpkg ? ['dpkg-deb', '--fsys-tarfile', '-'] : argv,
    stdin: isDpkg ? packageAround(member) : member.content(),
    signal,
  })
  yield* running.stdout
  const { status, stderr } = await running.outcome
  if (status !== 0)
    throw damaged(what, member, `${argv[0]} says "${printable(rawFromBytes(stderr.subarray(-512))).trim()}"`)
}

/** dpkg-deb opens whole packages alone, and of those the data: a package with the member as its data, and nothing else. */
async function* packageAround(member: ArMember): AsyncGenerator<Buffer, void, undefined> {
  const ending = member.name.slice(member.name.indexOf('.tar'))
  const version = Buffer.from('2.0\n')
  const noControl = Buffer.alloc(1024)
  yield Buffer.concat([
    Buffer.from(arMagic),
    arHeader('debian-binary', version.length),
    version,
    arHeader('control.tar', noControl.length),
    noControl,
    arHeader(`data${ending}`, member.sizeBytes),
  ])
  yield* member.content()
  if (member.sizeBytes % 2 === 1) yield Buffer.from('\n')
}
