// Finds what folders are really called on a machine: the names that the kernel has for them, links resolved.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { baseName, joinPath, parentPath, parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { endedPart, type GuestPart, type PartOutcome } from './guest-parts.ts'
import { nulTerminated, plainScript, protocolFailure, runScript } from './guest-script.ts'

/**
 * A folder, or a link to one, by the folder's real path; anything else by that of the folder it lies in. What cannot be
 * entered keeps its name. In the order of the question.
 */
export async function findRealPaths(
  shell: Shell,
  paths: readonly RawPath[],
  signal?: AbortSignal,
): Promise<RawPath[]> {
  if (paths.length === 0) return []
  const stdout = await runScript(shell, {
    script: `xargs -0 -n 2 sh -c '${folderScript}' sh`,
    stdin: nulTerminated(withParents(paths)),
    doing: askingWhat,
    signal,
  })
  return parseRealPaths(shell, paths, stdout)
}

const askTimeoutMs = 60_000
const answerBytesMax = 16 * 1024 * 1024

/** The same question among others; `takeRealPaths` takes the answer. */
export function realPathsPart(paths: readonly RawPath[]): GuestPart {
  return {
    script: plainScript(folderScript),
    words: withParents(paths),
    timeoutMs: askTimeoutMs,
    outputBytesMax: answerBytesMax,
  }
}

export function takeRealPaths(shell: Shell, paths: readonly RawPath[], outcome: PartOutcome): RawPath[] {
  return parseRealPaths(shell, paths, endedPart(shell, askingWhat, outcome))
}

const askingWhat = 'find the real names of folders'

const withParents = (paths: readonly RawPath[]): RawPath[] =>
  paths.flatMap((path) => [path, parentPath(path)])

const folderScript = `for folder; do
  if cd -P -- "$folder" 2>/dev/null; then printf "%s\\000" "$(pwd -P; echo x)"; cd /
  else printf "\\000"; fi
done`

function parseRealPaths(shell: Shell, paths: readonly RawPath[], stdout: Buffer): RawPath[] {
  const answers = rawFromBytes(stdout).split('\0')
  if (answers.length !== 2 * paths.length + 1)
    throw protocolFailure(shell, 'it did not say what its folders are really called')
  const real = (answer: string | undefined) =>
    answer === undefined || answer === '' ? undefined : parseRawPath(answer.replace(/\nx$/, '') as RawText)
  return paths.map((path, index) => {
    const itself = real(answers[2 * index])
    const parent = real(answers[2 * index + 1])
    if (itself !== undefined) return itself
    return parent === undefined || path === rootPath ? path : joinPath(parent, baseName(path))
  })
}
