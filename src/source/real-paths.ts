// Finds what folders are really called on a machine: the names that the kernel has for them, links resolved.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { baseName, joinPath, parentPath, parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { nulTerminated, protocolFailure, runScript } from './guest-script.ts'

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
    script: `xargs -0 -n 2 sh -c '
      for folder; do
        if cd -P -- "$folder" 2>/dev/null; then printf "%s\\000" "$(pwd -P; echo x)"; cd /
        else printf "\\000"; fi
      done' sh`,
    stdin: nulTerminated(paths.flatMap((path) => [path, parentPath(path)])),
    doing: 'find the real names of folders',
    signal,
  })
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
