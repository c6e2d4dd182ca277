// SHA-256 of files, computed on the machine.
import type { RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { DelimiterError, readDelimited } from './delimited.ts'
import { commandFailure, nulTerminated, protocolFailure, startScript } from './guest-script.ts'
import type { Tools } from './probe.ts'
import { fieldBytesMax } from './scan-records.ts'
import type { Digest } from './source.ts'

/** One digest is all that is heard of a file: at 100 MB/s this is 180 GB. */
const digestSilenceMs = 1_800_000

/** Only regular files are opened; for anything else the digest is undefined. Sparse or not makes no difference. */
export async function* digestFiles(
  shell: Shell,
  tools: Tools,
  paths: readonly RawPath[],
  signal?: AbortSignal,
): AsyncIterable<Digest> {
  if (paths.length === 0) return
  const zero = tools.digest === 'zero' && tools.find === 'gnu'
  await using process = await startScript(shell, {
    script: zero ? byName : inOrder,
    stdin: nulTerminated(paths),
    idleTimeoutMs: digestSilenceMs,
    signal,
  })
  const reader = readDelimited(process.stdout)
  const take = async (): Promise<RawText | undefined> => {
    try {
      return await reader.until('\0', fieldBytesMax)
    } catch (error) {
      throw error instanceof DelimiterError ? protocolFailure(shell, error.message) : error
    }
  }
  const missing = new Set<string>(paths)
  let position = 0
  for (let line = await take(); line !== undefined; line = await take()) {
    const path = zero ? (line.slice(66) as RawPath) : paths[position++]
    const sha256 = line.slice(0, 64)
    if (path === undefined || !missing.has(path)) {
      if (zero || path === undefined)
        throw protocolFailure(shell, 'it gives the digest of a file that was not asked for')
      continue
    }
    missing.delete(path)
    if (line !== '' && !/^[0-9a-f]{64}$/.test(sha256))
      throw protocolFailure(shell, 'it gives a digest that is none')
    yield { path, sha256: line === '' ? undefined : sha256 }
  }
  const outcome = await process.outcome
  if (outcome.status !== 0 || (!zero && position !== paths.length))
    throw commandFailure(shell, 'compute the digests of files', outcome)
  for (const path of missing) yield { path: path as RawPath, sha256: undefined }
}

// find tests the type, so that no FIFO is opened; both tools fail for single files without it meaning anything here.
const byName = `xargs -0 sh -c 'find "$@" -maxdepth 0 -type f -exec sha256sum -z {} +; [ $? -le 1 ]' sh`

// From standard input nothing but the digest is printed, so that no name has to be read back.
const inOrder = `xargs -0 -n 100 sh -c '
  for path; do
    if [ -f "$path" ] && [ ! -L "$path" ] && sum=$(sha256sum 2>/dev/null <"$path"); then
      printf "%s\\000" "\${sum%% *}"
    else
      printf "\\000"
    fi
  done' sh 2>/dev/null`
