// The attributes of exactly the paths asked for, and why a path gives none.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import type { Shell } from '../wire/shell.ts'
import { DelimiterError, readDelimited, type DelimitedReader } from './delimited.ts'
import {
  commandFailure,
  freshNonce,
  nulTerminated,
  protocolFailure,
  safeMessage,
  startScript,
} from './guest-script.ts'
import type { Tools } from './probe.ts'
import {
  endMark,
  fieldBytesMax,
  findFieldCount,
  findFormat,
  parseFindRecord,
  parseStatRecord,
  statFormat,
  type FoundRecord,
  type Verdict,
} from './scan-records.ts'
import type { ScanProblem, ScanRecord } from './source.ts'

/** Paths per run of `stat`: their names and attributes stay well below `batchBytesMax`. */
const statBatchPaths = 200
const batchBytesMax = 32 * 1024 * 1024

/** Items and problems for exactly these paths, in any order. */
export async function* statFiles(
  shell: Shell,
  tools: Tools,
  paths: readonly RawPath[],
  signal?: AbortSignal,
): AsyncIterable<ScanRecord> {
  if (paths.length === 0) return
  const missing = new Set<string>(paths)
  const found =
    tools.find === 'gnu' ? statByFind(shell, paths, signal) : statByStat(shell, tools, paths, signal)
  for await (const { path, attributes } of found) {
    if (!missing.delete(path)) continue
    yield { kind: 'item', path, attributes }
  }
  yield* explainMissing(shell, [...missing] as RawPath[], signal)
}

/** Why each path could not be had: it is gone, or it cannot be reached; `exists` tells what to say when it is there. */
export async function* explainMissing(
  shell: Shell,
  paths: readonly RawPath[],
  signal?: AbortSignal,
  exists = 'It could not be read',
): AsyncIterable<ScanProblem> {
  if (paths.length === 0) return
  await using process = await startScript(shell, {
    script: `xargs -0 -n 100 sh -c '
      for path; do said=$(ls -d -- "$path" 2>&1 >/dev/null); printf "%s\\000%s\\000" "$?" "$said"; done' sh`,
    stdin: nulTerminated(paths),
    signal,
  })
  const reader = readDelimited(process.stdout)
  for (const path of paths) {
    const status = await take(shell, reader, 16)
    const said = await take(shell, reader, 4 * fieldBytesMax)
    if (status === undefined || said === undefined) break
    const reason = (said.split(': ').at(-1) ?? '').trim() as RawText
    if (status === '0') yield { kind: 'problem', path, problem: 'unreadable', message: exists }
    else if (/No such file or directory$|Not a directory$/.test(said))
      yield { kind: 'problem', path, problem: 'vanished', message: 'There is no such file or folder' }
    else yield { kind: 'problem', path, problem: 'unreadable', message: safeMessage(reason) }
  }
  await reader.until('\0', 1).catch(() => undefined)
  const outcome = await process.outcome
  if (outcome.status !== 0) throw commandFailure(shell, 'look at files', outcome)
}

async function* statByFind(
  shell: Shell,
  paths: readonly RawPath[],
  signal: AbortSignal | undefined,
): AsyncIterable<FoundRecord> {
  await using process = await startScript(shell, {
    // A missing path is an error of find's, which stands for itself here; other failures end xargs.
    script: `xargs -0 sh -c 'find "$@" -maxdepth 0 -printf "$0"; [ $? -le 1 ]' "$1"`,
    words: [`i${findFormat}`],
    stdin: nulTerminated(paths),
    signal,
  })
  yield* readFindRecords(shell, process.stdout)
  const outcome = await process.outcome
  if (outcome.status !== 0) throw commandFailure(shell, 'look at files', outcome)
}

/** Records of GNU find, as they come. */
async function* readFindRecords(shell: Shell, stream: AsyncIterable<Uint8Array>): AsyncIterable<FoundRecord> {
  let text = ''
  let fields: string[] = []
  for await (const chunk of stream) {
    const parts = (text + rawFromBytes(chunk)).split('\0')
    text = parts.pop() ?? ''
    for (const part of parts) {
      if (part.length > fieldBytesMax) throw protocolFailure(shell, 'a file name is longer than any real one')
      fields.push(part)
      if (fields.length < findFieldCount) continue
      const record = parseFindRecord(fields)
      if (record === undefined) throw protocolFailure(shell, 'its find prints other things than asked for')
      fields = []
      yield record
    }
    if (text.length > fieldBytesMax) throw protocolFailure(shell, 'a file name is longer than any real one')
  }
  if (text !== '' || fields.length > 0) throw protocolFailure(shell, 'the list of its files was cut off')
}

type Listed = Omit<StatResult, 'attributes'>

/** A path that was listed, with what it is when it was still there. */
export interface StatResult {
  readonly path: RawPath
  readonly verdict: Verdict
  readonly isEnd: boolean
  readonly attributes: Attributes | undefined
}

async function* statByStat(
  shell: Shell,
  tools: Tools,
  paths: readonly RawPath[],
  signal: AbortSignal | undefined,
): AsyncIterable<FoundRecord> {
  const nonce = freshNonce()
  await using process = await startScript(shell, {
    script: attributeScript,
    words: [nonce, statFormat(nonce)],
    stdin: nulTerminated(paths),
    signal,
  })
  for await (const { attributes, ...name } of readAttributeBatches(shell, tools, process.stdout, nonce))
    if (attributes) yield { ...name, attributes }
  const outcome = await process.outcome
  if (outcome.status !== 0) throw commandFailure(shell, 'look at files', outcome)
}

/**
 * For machines whose find cannot print attributes: NUL-ended names come in; for each batch, the names go out with a
 * verdict before each, then an empty name, then `stat` records for those that are still there, then `NONCE.end`.
 */
export const attributeScript = `xargs -0 -n ${statBatchPaths} sh -c '
nonce=$1; format=$2; shift 2
for path; do
  verdict=i
  if [ ! -L "$path" ] && [ -d "$path" ]; then [ -r "$path" ] && [ -x "$path" ] || verdict=u; fi
  printf "%s%s\\000" $verdict "$path"
done
printf "\\000"
stat -c "$format" -- "$@" 2>/dev/null
printf "%s.end\\000" "$nonce"' sh "$1" "$2"`

/** What `attributeScript` prints, in its order. */
export async function* readAttributeBatches(
  shell: Shell,
  tools: Tools,
  stream: AsyncIterable<Uint8Array>,
  nonce: string,
): AsyncIterable<StatResult> {
  const reader = readDelimited(stream)
  for (;;) {
    const listed: Listed[] = []
    for (;;) {
      const name = await take(shell, reader, fieldBytesMax)
      if (name === undefined && listed.length === 0) return
      if (name === undefined || listed.length > statBatchPaths)
        throw protocolFailure(shell, 'the list of its files was cut off')
      if (name === '') break
      const path = parseRawPath(name.slice(1) as RawText)
      if (path === undefined) throw protocolFailure(shell, 'it lists a name that is none')
      listed.push({
        path,
        verdict: name.startsWith('u') ? 'unreadable' : 'item',
        isEnd: name === `i${endMark}`,
      })
    }
    const text = await take(shell, reader, batchBytesMax)
    if (text === undefined || !text.endsWith(`${nonce}.end`))
      throw protocolFailure(shell, 'the attributes of its files were cut off')
    yield* matchRecords(shell, listed, text.slice(0, -`${nonce}.end`.length), {
      nonce,
      linkTargets: tools.stat === 'busybox',
    })
  }
}

function* matchRecords(
  shell: Shell,
  listed: readonly Listed[],
  text: string,
  options: { readonly nonce: string; readonly linkTargets: boolean },
): Iterable<StatResult> {
  const known = new Map<string, Attributes>()
  const [before, ...records] = text.split(`${options.nonce}/`)
  if (before !== '') throw protocolFailure(shell, 'its stat prints other things than asked for')
  for (const written of records) {
    const record = parseStatRecord(written.replace(/\n$/, ''), options)
    if (record === undefined) throw protocolFailure(shell, 'its stat prints other things than asked for')
    known.set(record.path, record.attributes)
  }
  for (const name of listed) yield { ...name, attributes: known.get(name.path) }
}

async function take(shell: Shell, reader: DelimitedReader, bytesMax: number): Promise<RawText | undefined> {
  try {
    return await reader.until('\0', bytesMax)
  } catch (error) {
    if (error instanceof DelimiterError) throw protocolFailure(shell, error.message)
    throw error
  }
}
