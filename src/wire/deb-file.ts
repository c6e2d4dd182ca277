// Reads a .deb as it comes: what it says of itself first, then its files (deb(5), deb-control(5), deb-conffiles(5)).
import { VmlError } from '../base/failure.ts'
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { controlParagraph, type ControlParagraph } from '../model/control-paragraph.ts'
import { parseMd5sums } from '../model/md5sums.ts'
import { entryPathsMax, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Attributes, Segment } from '../model/tree.ts'
import { readAr, type ArMember } from './ar.ts'
import { openTarMember } from './deb-decompress.ts'
import type { Shell } from './shell.ts'
import { readTar } from './tar-read.ts'

/** A path of the package, where it is to lie. Attributes as in `wire/tar-read.ts`. */
export interface DebEntry {
  readonly path: RawPath
  readonly attributes: Attributes
  /** Another name of an earlier file of the package; it has no content of its own. */
  readonly hardLinkTo?: RawPath
  /** To be read before the next entry is asked for. Once only. */
  segments(): AsyncIterable<Segment>
}

export interface DebControl {
  readonly paragraph: ControlParagraph
  /** Everything of the control archive by name: `control`, `md5sums`, `postinst`, `triggers`, … */
  readonly files: ReadonlyMap<string, Buffer>
  /** Those of the files that dpkg runs, or debconf. */
  readonly scripts: ReadonlyMap<ScriptName, Buffer>
  readonly conffiles: readonly Conffile[]
  /** Of the regular files that are no conffiles; empty where the package says none. */
  readonly md5sums: ReadonlyMap<RawPath, string>
}

export type ScriptName = 'preinst' | 'postinst' | 'prerm' | 'postrm' | 'config'
const scriptNames: readonly ScriptName[] = ['preinst', 'postinst', 'prerm', 'postrm', 'config']

export interface Conffile {
  readonly path: RawPath
  /** No longer shipped, and to be removed where it is unchanged. */
  readonly removeOnUpgrade: boolean
}

/** A .deb that is open; its files can be read once, and not after it was disposed of. */
export interface DebFile extends AsyncDisposable {
  readonly control: DebControl
  /** In the order of the archive. What the reader does not want of them is passed over. */
  entries(): AsyncGenerator<DebEntry, void, undefined>
}

/** Debian's largest control archives have some 10 MB, nearly all of it md5sums. */
const controlBytesMax = 64 * 1024 * 1024
const controlFilesMax = 1000
const formatBytesMax = 1024

/**
 * `what` is for messages. Fails with `integrity.format` or `integrity.truncated` for what is no whole .deb, `unsupported` where it
 * needs a program that the machine does not have.
 */
export async function openDeb(
  stream: AsyncIterable<Uint8Array>,
  {
    shell,
    what = 'a .deb',
    signal,
  }: { readonly shell: Shell; readonly what?: string; readonly signal?: AbortSignal | undefined },
): Promise<DebFile> {
  const bad = (why: string) => new VmlError('integrity.format', `Cannot read ${what}: ${why}`)
  const members = readAr(stream, what)
  // Members whose names begin with an underscore are to be passed over; others have their places (deb(5), "FORMAT").
  const next = async (stem: string): Promise<ArMember> => {
    for (;;) {
      const { done, value } = await members.next()
      if (done === true) throw bad(`it has no "${stem}"`)
      if (value.name === stem || value.name.startsWith(`${stem}.`)) return value
      if (!value.name.startsWith('_')) throw bad(`"${value.name}" stands where "${stem}" must`)
    }
  }
  try {
    await checkFormat(await next('debian-binary'), bad)
    const control = await readControl(await next('control.tar'), { shell, what, signal, bad })
    return {
      control,
      async *entries() {
        const data = await next('data.tar')
        let paths = 0
        for await (const { name, attributes, hardLinkTo, segments } of readTar(
          openTarMember(data, { shell, what, signal }),
        )) {
          if (++paths > entryPathsMax) throw bad(`it has more than ${entryPathsMax} paths`)
          yield {
            path: placeOf(name, bad),
            attributes,
            ...(hardLinkTo === undefined ? {} : { hardLinkTo: placeOf(hardLinkTo, bad) }),
            segments,
          }
        }
      },
      async [Symbol.asyncDispose]() {
        await members.return()
      },
    }
  } catch (error) {
    await members.return()
    throw error
  }
}

type Bad = (why: string) => VmlError

async function checkFormat({ sizeBytes, content }: ArMember, bad: Bad): Promise<void> {
  if (sizeBytes > formatBytesMax) throw bad('its format is not told in a line')
  const text = (await Array.fromAsync(content())).map((bytes) => bytes.toString('latin1')).join('')
  // Other minor numbers are to be read as well.
  if (!/^2\.\d{1,9}\n/.test(text)) throw bad('it is of an unknown format')
}

/** `./usr/bin/x`, and whatever else programs write, as a path from the root. */
function placeOf(name: RawText, bad: Bad): RawPath {
  const path = parseRawPath(`/${name}` as RawText)
  if (path === undefined) throw bad('a path leads out of the package')
  return path
}

async function readControl(
  member: ArMember,
  { shell, what, signal, bad }: { shell: Shell; what: string; signal: AbortSignal | undefined; bad: Bad },
): Promise<DebControl> {
  const files = new Map<string, Buffer>()
  let bytesLeft = controlBytesMax
  for await (const { name, attributes, segments } of readTar(
    openTarMember(member, { shell, what, signal }),
  )) {
    if (attributes.type !== 'file') continue
    bytesLeft -= attributes.size ?? 0
    if (bytesLeft < 0 || files.size === controlFilesMax) throw bad('its control files are too large')
    files.set(name.replace(/^\.\//, ''), await contentOf(segments()))
  }
  const text = files.get('control')
  if (text === undefined) throw bad('it has no control file')
  const paragraph = controlParagraph(text.toString('latin1'), `the control file of ${what}`)
  for (const key of ['package', 'version', 'architecture'])
    if (!/^[!-~]{1,256}$/.test(paragraph.get(key) ?? '')) throw bad(`its control file has no ${key}`)
  return {
    paragraph,
    files,
    scripts: new Map(
      scriptNames.flatMap((name) => {
        const script = files.get(name)
        return script === undefined ? [] : [[name, script]]
      }),
    ),
    conffiles: parseConffiles(files.get('conffiles') ?? Buffer.alloc(0), bad),
    md5sums: parseMd5sums(rawFromBytes(files.get('md5sums') ?? Buffer.alloc(0))),
  }
}

async function contentOf(segments: AsyncIterable<Segment>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const segment of segments)
    pieces.push(segment.kind === 'data' ? segment.bytes : Buffer.alloc(segment.length))
  return Buffer.concat(pieces)
}

function parseConffiles(bytes: Buffer, bad: Bad): Conffile[] {
  return rawFromBytes(bytes)
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, flag, path = ''] = /^(?:(remove-on-upgrade)\s+)?(\/.*?)\s*$/.exec(line) ?? []
      const place = parseRawPath(path as RawText)
      if (place === undefined) throw bad('a line of its conffiles is no path')
      return { path: place, removeOnUpgrade: flag !== undefined }
    })
}
