// Makes rpm's database as an undo wants it, beside the one in use: a new file, which takes its place in the journalled commit like any other.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import type { Shell } from '../wire/shell.ts'
import { compareRpmDatabases, type RpmDatabaseChange, type RpmDatabasePlan } from './rpm-database-change.ts'
import { eraseRpmHeaders, exportRpmDatabase, importRpmHeaders } from './rpm-headers.ts'

interface Request {
  readonly signal?: AbortSignal | undefined
}

/**
 * What differs between two databases, such as that of a system and that in the upper layer of a stage, where rpm's folder is whole once it
 * was written to. Copies below `scratch` are asked, which need not be there: rpm writes into a folder that it reads, and a stage would take
 * that for a change of its own.
 */
export async function readRpmDatabaseChange(
  shell: Shell,
  {
    before,
    after,
    scratch,
    signal,
  }: { readonly before: string; readonly after: string; readonly scratch: string } & Request,
): Promise<RpmDatabaseChange> {
  const copies = { before: `${scratch}/before`, after: `${scratch}/after` }
  await copyRpmDatabase(shell, { from: before, to: copies.before, signal })
  await copyRpmDatabase(shell, { from: after, to: copies.after, signal })
  return await compareRpmDatabases(
    () => exportRpmDatabase(shell, copies.before, { signal }),
    () => exportRpmDatabase(shell, copies.after, { signal }),
  )
}

/**
 * For looking at it. SQLite's log is taken along: what a killed program left in it is of the database. The caller holds rpm's lock, or
 * nobody else is there.
 */
export async function copyRpmDatabase(
  shell: Shell,
  { from, to, signal }: { readonly from: string; readonly to: string } & Request,
): Promise<void> {
  const { status, stderr } = await shell.run({
    argv: ['sh', '-c', copyScript, 'sh', from, to, 'with-log'],
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    endsWhole: true,
    signal,
  })
  if (status !== 0)
    throw new VmlError('remote.command', `Cannot copy rpm's database to "${to}" on ${shell.label}`, {
      details: { status, stderr: printable(rawFromBytes(stderr.subarray(-2048))) },
    })
}

/**
 * Writes `from` with the plan's changes to `to`, a folder that is empty or not there, and reads it again: `proof` where it is not what was
 * planned. Headers are put in byte by byte, so that times of installation and states of files are what they were. A copy with some
 * packages less and some more takes a second; a database of 2000 packages made anew takes ten.
 */
export async function writeRpmDatabase(
  shell: Shell,
  {
    from,
    to,
    plan: { drop, put },
    signal,
  }: { readonly from: string; readonly to: string; readonly plan: RpmDatabasePlan } & Request,
): Promise<void> {
  const dropped = new Set(drop.map(({ id }) => id))
  const wanted: string[] = []
  for await (const { id } of exportRpmDatabase(shell, from, { signal }))
    if (!dropped.delete(id)) wanted.push(id)
  // The caller holds rpm's lock and has planned within it, or plans anew.
  if (dropped.size > 0)
    throw new VmlError('conflict', "Cannot write rpm's database: it has changed since this was planned", {
      hint: 'Repeat the command',
    })
  for (const { id } of put) wanted.push(id)
  const copied = await shell.run({ argv: ['sh', '-c', copyScript, 'sh', from, to, ''], signal })
  if (copied.status === inUseStatus) throw inUseFailure(from)
  if (copied.status !== 0)
    throw new VmlError(
      'exists',
      `Cannot write rpm's database to "${to}": there is something already, or no space`,
    )
  if (drop.length > 0) await eraseRpmHeaders(shell, to, { entries: drop, signal })
  if (put.length > 0) await importRpmHeaders(shell, to, { entries: put, signal })
  let index = 0
  for await (const { id } of exportRpmDatabase(shell, to, { signal })) {
    if (id !== wanted[index]) throw notAsPlanned(to)
    index++
  }
  if (index !== wanted.length || wanted.length === 0) throw notAsPlanned(to)
}

/** Of our scripts, where SQLite's log of a database holds what its file does not. */
const inUseStatus = 4

/** Modes and owners are those of the database in use. Its lock and SQLite's own files stay behind. */
const copyScript = `
[ "$3" = with-log ] || [ ! -s "$1/rpmdb.sqlite-wal" ] || exit ${inUseStatus}
mkdir -p "$2" && [ -z "$(ls -A "$2")" ] || exit 1
cd "$1" || exit 1
for file in * .[!.]*; do
  case $file in .rpm.lock|*-shm) continue ;; esac
  case $3$file in with-log*) ;; *-wal) continue ;; esac
  [ ! -f "$file" ] || cp -p "$file" "$2/$file" || exit 1
done`

function notAsPlanned(folder: string): VmlError {
  return new VmlError(
    'proof',
    `Cannot write rpm's database to "${folder}": it does not hold what was planned`,
  )
}

/** Names below the two folders. */
export interface RpmDatabaseFiles {
  /** To be put in the place of those in use. */
  readonly put: readonly string[]
  /** To be removed there, and before the others come: SQLite would take the old log for one of the new file. */
  readonly remove: readonly string[]
}

/**
 * After the last look into either: names what a commit has to do. `conflict` where a log of SQLite in use holds what its file does not:
 * a program was killed at it, or is at it.
 */
export async function sealRpmDatabase(
  shell: Shell,
  { planned, inUse, signal }: { readonly planned: string; readonly inUse: string } & Request,
): Promise<RpmDatabaseFiles> {
  const { status, stdout } = await shell.run({
    argv: ['sh', '-c', sealScript, 'sh', planned, inUse],
    endsWhole: true,
    signal,
  })
  if (status !== 0) throw inUseFailure(inUse)
  const lines = stdout.toString('latin1').split('\n')
  const named = (word: string) =>
    lines.filter((line) => line.startsWith(word)).map((line) => line.slice(word.length))
  return { put: named('put '), remove: named('remove ') }
}

/** The lock file stays: whoever has it open has it locked. */
const sealScript = `
for folder in "$1" "$2"; do
  [ ! -s "$folder/rpmdb.sqlite-wal" ] || exit ${inUseStatus}
done
cd "$1" || exit 1
rm -f .rpm.lock rpmdb.sqlite-wal rpmdb.sqlite-shm || exit 1
for file in * .[!.]*; do [ ! -f "$file" ] || echo "put $file"; done
cd "$2" || exit 1
for file in * .[!.]*; do
  case $file in .rpm.lock) continue ;; esac
  [ ! -f "$file" ] || [ -f "$1/$file" ] || echo "remove $file"
done`

function inUseFailure(folder: string): VmlError {
  return new VmlError(
    'conflict',
    `Cannot replace rpm's database "${folder}": another program is at work on it`,
    {
      hint: 'Wait until no rpm and no dnf runs, run "rpm -qa" as root, then repeat the command',
    },
  )
}
