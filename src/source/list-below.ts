// Lists everything below some folders of a machine with all that find tells of it, whatever file systems it lies on.
import { entryPathsMax, nearestIn, type RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import type { Shell } from '../wire/shell.ts'
import { VmlError } from '../base/failure.ts'
import { gnuFindWords } from './find-plan.ts'
import {
  commandFailure,
  nulTerminated,
  protocolFailure,
  startScript,
  wordsAtOnceBytesMax,
  xargsAtOnce,
} from './guest-script.ts'
import { walkFormat } from './scan-records.ts'
import { readWalk } from './walk-reader.ts'

export interface Listed {
  readonly path: RawPath
  readonly attributes: Attributes
}

/** Between two paths that find prints: a folder with millions of names is read without a word. */
const listSilenceMs = 300_000

/**
 * The starts, and all below them but what is closed. One that is not there gives nothing. Needs GNU find, and root: what cannot be read is
 * not told. Fails where the list did not come to its end, with `remote.protocol` where it has other paths or more than `pathsMax`: a machine may
 * name the same ones for ever.
 */
export async function* listBelow(
  shell: Shell,
  request: {
    readonly starts: readonly RawPath[]
    readonly closed?: Iterable<RawPath>
    /** Default: as many as an entry has. */
    readonly pathsMax?: number
    readonly signal?: AbortSignal | undefined
  },
): AsyncIterable<Listed> {
  const { starts, closed = [], pathsMax = entryPathsMax, signal } = request
  if (starts.length === 0) return
  const words = gnuFindWords({ starts, prune: [...closed], across: true })
  if (words.reduce((bytes, word) => bytes + word.length + 1, 0) > wordsAtOnceBytesMax)
    throw new VmlError('unsupported', `Cannot list the files of ${shell.label}: it has too many mounts`)
  await using process = await startScript(shell, {
    script: `${xargsAtOnce} find`,
    stdin: nulTerminated(words),
    idleTimeoutMs: listSilenceMs,
    signal,
  })
  const tops = new Set(starts)
  let ended = false
  let paths = 0
  for await (const { verdict, isEnd, path, attributes } of readWalk(shell, process.stdout, undefined)) {
    if (ended) throw protocolFailure(shell, 'its list of files does not end where it should')
    if (isEnd) {
      ended = true
      continue
    }
    if (++paths > pathsMax) throw protocolFailure(shell, `it lists more than ${pathsMax} files`)
    if (nearestIn(path, tops) === undefined)
      throw protocolFailure(shell, 'it lists a file that was not asked for')
    if (verdict !== 'pruned') yield { path, attributes }
  }
  const outcome = await process.outcome
  if (!ended) throw commandFailure(shell, 'list files', outcome)
}

/** Exactly these paths, those that are there. Links are not followed. */
export async function* listExactly(
  shell: Shell,
  paths: readonly RawPath[],
  signal?: AbortSignal,
): AsyncIterable<Listed> {
  if (paths.length === 0) return
  await using process = await startScript(shell, {
    // A missing path is an error of find's, which stands for itself here; other failures end xargs.
    script: `xargs -0 sh -c 'find "$@" -maxdepth 0 -printf "$0" 2>/dev/null; [ $? -le 1 ]' "$1"`,
    words: [`i${walkFormat}`],
    stdin: nulTerminated(paths),
    idleTimeoutMs: listSilenceMs,
    signal,
  })
  const asked = new Set<RawPath>(paths)
  for await (const { path, attributes } of readWalk(shell, process.stdout, undefined)) {
    if (!asked.delete(path)) throw protocolFailure(shell, 'it lists a file that was not asked for')
    yield { path, attributes }
  }
  const outcome = await process.outcome
  if (outcome.status !== 0) throw commandFailure(shell, 'look at files', outcome)
}
