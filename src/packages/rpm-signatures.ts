// Whether an rpm package is whole and signed by a key that this machine trusts, as rpm itself judges it.
import { VmlError } from '../base/failure.ts'
import { asRaw, printable } from '../base/raw-text.ts'
import type { Shell } from '../wire/shell.ts'
import { lines } from './package-records.ts'

export interface RpmSignatureCheck {
  readonly digests: 'good' | 'bad'
  readonly signatures: readonly {
    readonly covers: 'header' | 'header and payload'
    /** The end of the key's id, as many digits as rpm shows. */
    readonly keyId: string
    /** `unknown`: no key of that id is among rpm's. */
    readonly verdict: 'good' | 'bad' | 'unknown'
  }[]
}

/** A dozen lines for each package. */
const outputBytesMax = 1024 * 1024

/** `path` is one of the machine, byte for byte. */
export async function checkRpmSignatures(
  shell: Shell,
  path: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<RpmSignatureCheck> {
  const { status, stdout } = await shell.run({
    argv: ['rpmkeys', '--checksig', '--verbose', '--', path],
    outputBytesMax,
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    endsWhole: true,
    signal,
  })
  const found = parseChecked(stdout.toString('latin1'))
  const allGood = found.digests === 'good' && found.signatures.every(({ verdict }) => verdict === 'good')
  if ((status === 0) !== allGood)
    throw new VmlError(
      'remote.protocol',
      `Cannot check "${printable(asRaw(path))}": rpm ended with ${status}`,
    )
  return found
}

/** Lines such as `    Header V4 RSA/SHA256 Signature, key ID 1f3a…: NOKEY` and `    Payload SHA256 digest: OK`, behind the file's name. */
export function parseChecked(text: string): RpmSignatureCheck {
  const signatures: RpmSignatureCheck['signatures'][number][] = []
  const digests: boolean[] = []
  for (const line of lines(text)) {
    const said = /^ {4}(Header )?V\d [\w/-]+ Signature, key ID ([0-9a-f]{8,40}): ([A-Z]+)/.exec(line)
    if (said === null) {
      const digest = /^ {4}(?:Header |Payload )?\w+ (?:ALT )?digest: ([A-Z]+)/.exec(line)
      if (digest !== null) digests.push(digest[1] === 'OK')
      continue
    }
    const [, header, keyId = '', word = ''] = said
    signatures.push({
      covers: header === undefined ? 'header and payload' : 'header',
      keyId,
      verdict: word === 'OK' ? 'good' : ['NOKEY', 'NOTTRUSTED'].includes(word) ? 'unknown' : 'bad',
    })
  }
  return { digests: digests.length > 0 && digests.every(Boolean) ? 'good' : 'bad', signatures }
}
