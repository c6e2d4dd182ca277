// What rpm says of the files of packages: which differ from what the package brought (`rpm -V`), and whose a path is (`rpm -qf`).
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, rawFromBytes } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { lines } from './package-records.ts'

export type RpmDifference =
  | 'missing'
  | 'size'
  | 'mode'
  | 'digest'
  | 'device'
  | 'link'
  | 'user'
  | 'group'
  | 'mtime'
  | 'capabilities'

export interface RpmVerifiedFile {
  readonly path: RawPath
  readonly differs: readonly RpmDifference[]
  /** rpm could not look: `?` in its place. */
  readonly unread: boolean
  readonly isConfiguration: boolean
}

/** A package with every file changed says 100 bytes of each. */
const outputBytesMax = 256 * 1024 * 1024
/** Words of one command; a page of names is enough for a start of rpm. */
const packagesInCommand = 200

/**
 * All files of these packages that are not as their package brought them; relations and scripts are not looked at. A package is named as
 * `rpmName` names it. `not-found` where one is not installed.
 */
export async function verifyRpmFiles(
  shell: Shell,
  { packages, signal }: { readonly packages: readonly string[]; readonly signal?: AbortSignal | undefined },
): Promise<readonly RpmVerifiedFile[]> {
  const found: RpmVerifiedFile[] = []
  for (let from = 0; from < packages.length; from += packagesInCommand) {
    const { stdout, stderr } = await shell.run({
      argv: ['rpm', '-V', '--nodeps', '--noscripts', '--', ...packages.slice(from, from + packagesInCommand)],
      outputBytesMax,
      idleTimeoutMs: Number.POSITIVE_INFINITY,
      endsWhole: true,
      signal,
    })
    found.push(...parseVerified(stdout.toString('latin1'), printable(rawFromBytes(stderr.subarray(-2048)))))
  }
  return found
}

const letters: readonly (readonly [string, RpmDifference])[] = [
  ['S', 'size'],
  ['M', 'mode'],
  ['5', 'digest'],
  ['D', 'device'],
  ['L', 'link'],
  ['U', 'user'],
  ['G', 'group'],
  ['T', 'mtime'],
  ['P', 'capabilities'],
]

/** rpm(8), "Verify options": nine letters or dots, or `missing`; the kind of file; its path, to the end of the line. */
export function parseVerified(text: string, stderr = ''): readonly RpmVerifiedFile[] {
  const found: RpmVerifiedFile[] = []
  for (const line of lines(text)) {
    if (/^package .* is not installed$/.test(line))
      throw new VmlError('not-found', `Cannot verify: ${printable(asRaw(line))}`)
    const parts = /^(?:(missing) |([A-Z0-9.?]{9}))  ([a-z ]) (\/.*)$/.exec(line)
    const path = parts === null ? undefined : parseRawPath(asRaw(pathText(parts[4], parts[1])))
    if (parts === null || path === undefined)
      throw new VmlError(
        'remote.protocol',
        `Cannot verify: rpm said "${printable(asRaw(line.slice(0, 200)))}"`,
        {
          details: { stderr },
        },
      )
    const flags = parts[2] ?? ''
    found.push({
      path,
      differs:
        parts[1] !== undefined
          ? ['missing']
          : letters.filter(([letter]) => flags.includes(letter)).map(([, name]) => name),
      unread: flags.includes('?'),
      isConfiguration: parts[3] === 'c',
    })
  }
  return found
}

/** Why a file is missing may stand behind its path, as the C library words it. */
function pathText(path: string | undefined, missing: string | undefined): string {
  return missing === undefined ? (path ?? '') : (path ?? '').replace(/ \([A-Z][a-z ]+\)$/, '')
}
