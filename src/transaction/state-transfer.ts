// Hands the data of a service from one version to another, in both directions (C05, C06): exported by the one that goes, imported by the one that comes, all in a stage.
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs'
import { syncFolder, writeFileDurable } from '../base/files.ts'
import { messageOf, VmlError } from '../base/failure.ts'
import { printable, type RawText, rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { isWithin, nearestIn, type RawPath, rootPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import type { Validation } from '../model/transaction-record.ts'
import { fillStage, type StageFill } from '../stage/fill-stage.ts'
import { sha256Of } from '../stage/fingerprint.ts'
import { type MountPlan, viewOf } from '../stage/mount-plan.ts'
import { processesInStage, runInStage } from '../stage/run-in-stage.ts'
import { scanRoot } from '../stage/scan-root.ts'
import { makeStage, removeStage, type StageFolder } from '../stage/stage-folder.ts'
import { usersOf } from './data-users.ts'
import { lookAtStage } from './end-stage.ts'
import { planMountsNow } from './open-stage.ts'
import type { StageNote } from './stage-note.ts'
import type { StateTransfer } from './state-transfer-plan.ts'
import { inRoot, pathIn, type Workplace } from './workplace.ts'

export interface TransferWork {
  readonly note: StageNote
  readonly mounts: MountPlan
  readonly kind: 'undo' | 'redo'
  stopServices(): Promise<void>
  /** Puts all that changes besides the data into the stage. */
  fill(fill: StageFill): Promise<void>
}

export interface Transferred {
  /** All that the stage changes, sealed: it is to be committed as it is. */
  readonly changes: readonly PathChange[]
  prepared(path: RawPath): RawText
  readonly folderTimes?: undefined
  /** What each hook did, for the record. */
  readonly validations: readonly Validation[]
}

/**
 * The mounts that it needs; undefined where nothing is transferred. `unsupported` where data would be written past the stage: what is emptied
 * there would be lost.
 */
export function planTransferStage(
  place: Workplace,
  transfers: readonly StateTransfer[],
): MountPlan | undefined {
  const [first] = transfers
  if (first === undefined) return undefined
  const planned = planMountsNow(place)
  const refuse = (name: string, reason: string) =>
    new VmlError('unsupported', `Cannot transfer the state of ${name}: ${reason}`, {
      hint: 'Nothing was changed. --leave-data takes the rest back and leaves the data as it is',
    })
  if (planned.kind === 'unsupported') throw refuse(first.package, planned.reason)
  const { plan } = planned
  const kinds = new Map(plan.mounts.map(({ path, kind }) => [path, kind]))
  for (const { package: name, data } of transfers)
    for (const folder of data) {
      const at = nearestIn(folder, kinds)
      if (at === undefined || kinds.get(at) !== 'overlay')
        throw refuse(name, `"${printable(folder)}" lies on a mount that is no part of a stage`)
      const inner = plan.mounts.find(({ path }) => path !== folder && isWithin(path, folder))
      if (inner) throw refuse(name, `"${printable(inner.path)}", in its data, is a mount of its own`)
    }
  return plan
}

/**
 * Order: `running` exports; services stop; the root's index is taken, by which anything that is written past us from now on is found; `stopped` exports. Each is
 * durable, with its checksum, before anything else is done. The stage is made anew, so that nothing of what an export wrote is in it; the old version is put in;
 * the data folders are emptied there, and the imports fill them. Nothing of the machine is changed by any of it, however it ends: what follows is one journalled
 * commit of packages and data. An export that fails goes; one that is whole stays, whatever happens later, until somebody removes it.
 */
export async function transferStates(
  place: Workplace,
  transfers: readonly StateTransfer[],
  work: TransferWork,
): Promise<Transferred> {
  const { note, mounts } = work
  const kept: KeptState[] = []
  try {
    sweep(place)
    const make = () => makeStage(mounts, { token: note.token }, place.libc)
    let folder = make()
    const exportAll = async (service: StateTransfer['hook']['service']) => {
      for (const transfer of transfers)
        if (transfer.hook.service === service) kept.push(await exportState(place, folder, transfer, work))
    }
    await exportAll('running')
    await work.stopServices()
    for (const transfer of transfers) requireUnused(place, transfer)
    const { index } = scanRoot(viewOf(mounts), place)
    await exportAll('stopped')
    requireNobody(note)
    removeStage(mounts)
    folder = make()
    await work.fill(fillStage(mounts, place.libc))
    for (const state of kept) await importState(place, folder, state, work)
    requireNobody(note)
    const { changeSet } = await lookAtStage(place, { note, plan: mounts, index, folder })
    return {
      changes: changeSet.seal(),
      prepared: changeSet.prepared,
      validations: kept.map(({ transfer: { hook, package: name, from, to }, bytes, file }) => ({
        name: `state of ${name}`,
        outcome: 'passed',
        message: `exported with ${from}, imported with ${to} by hook ${hook.name}; ${bytes} bytes, kept in ${file}`,
      })),
    }
  } catch (error) {
    // A failed import names its own.
    const told = error instanceof VmlError ? error.details['state'] : undefined
    for (const { file, transfer } of kept.filter((state) => state.file !== told))
      place.reporter.warn({
        warning: `The state of ${transfer.package}, as it was exported, is kept in ${file}`,
      })
    throw error
  }
}

function keptFolder(place: Workplace): RawPath {
  return pathIn(place.state, 'state', 'transferred')
}

const aboutName = 'about.json'

/** An export that was cut off is not whole, and the data that it was of is untouched. */
function sweep(place: Workplace): void {
  const all = rawToBytes(keptFolder(place)).toString('latin1')
  if (!existsSync(all)) return
  for (const name of readdirSync(all))
    if (!existsSync(`${all}/${name}/${aboutName}`)) rmSync(`${all}/${name}`, { recursive: true })
}

interface KeptState {
  readonly transfer: StateTransfer
  readonly file: RawPath
  readonly bytes: number
}

async function exportState(
  place: Workplace,
  stage: StageFolder,
  transfer: StateTransfer,
  work: TransferWork,
): Promise<KeptState> {
  const { hook, package: name, from, to } = transfer
  place.reporter.progress({ phase: `exporting the state of ${name}` })
  const all = keptFolder(place)
  const moment = work.note.startedAt.replaceAll(/[^0-9TZ]/g, '').slice(0, 15)
  const folder = pathIn(all, `${moment}-${name}-${work.note.token.slice(0, 8)}`)
  const file = pathIn(folder, 'state')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  try {
    const output = openSync(
      rawToBytes(file),
      constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY,
      0o600,
    )
    let end: HookEnd
    try {
      end = await runHook(place, stage, transfer, { ...work, what: 'export', files: ['ignore', output] })
      fsyncSync(output)
    } finally {
      closeSync(output)
    }
    const { size: bytes } = statSync(rawToBytes(file))
    const reason = end.problem ?? (bytes === 0 ? 'it wrote nothing' : undefined)
    if (reason !== undefined)
      throw new VmlError(
        'remote.command',
        `Cannot ${work.kind} it: the export of the state of ${name} ${from} failed: ${reason}`,
        {
          details: { hook: hook.name, package: name },
          hint: 'Nothing was changed. --leave-data leaves the data as it is; --data puts back the data of before',
        },
      )
    const about = {
      schema: 1,
      hook: hook.name,
      package: name,
      from,
      to,
      data: transfer.data,
      bytes,
      sha256: await sha256Of(file, () => place.signal?.throwIfAborted()),
      exported_at: new Date(place.clock.now()).toISOString(),
      [work.kind]: work.note.title,
    }
    // Whoever finds it knows that the state beside it is whole.
    await writeFileDurable(pathIn(folder, aboutName), `${JSON.stringify(about, undefined, 2)}\n`)
    for (const each of [all, pathIn(place.state, 'state'), place.state]) await syncFolder(each)
    return { transfer, file, bytes }
  } catch (error) {
    rmSync(rawToBytes(folder), { recursive: true, force: true })
    throw error
  }
}

async function importState(
  place: Workplace,
  stage: StageFolder,
  { transfer, file }: KeptState,
  work: TransferWork,
): Promise<void> {
  const { hook, package: name, to } = transfer
  place.reporter.progress({ phase: `importing the state of ${name}` })
  const failed = (reason: string) =>
    new VmlError(
      'remote.command',
      `Cannot ${work.kind} it: the import of the state by ${name} ${to} failed: ${reason}`,
      {
        details: { hook: hook.name, package: name, state: file },
        hint: `Nothing was changed. The exported state is kept in ${file}; --leave-data leaves the data as it is`,
      },
    )
  const emptied = await runIn(place, stage, {
    command: ['/bin/sh', '-c', emptying, 'vml', ...transfer.data],
    files: ['ignore', 'ignore'],
    environment: {},
  })
  if (emptied.problem !== undefined) throw failed(emptied.problem)
  const input = openSync(rawToBytes(file), 'r')
  try {
    const end = await runHook(place, stage, transfer, { ...work, what: 'import', files: [input, 'ignore'] })
    if (end.problem !== undefined) throw failed(end.problem)
  } finally {
    closeSync(input)
  }
}

/** The folders stay, with their rights. */
const emptying = 'for vml_data; do find "$vml_data" -xdev -mindepth 1 -delete || exit; done'

interface HookEnd {
  /** Undefined where it ended well. */
  readonly problem?: string
}
type HookFiles = readonly [input: 'ignore' | number, output: 'ignore' | number]

/** All that the command leaves running ends with it: the kernel ends what is left of its namespace of processes. */
async function runHook(
  place: Workplace,
  stage: StageFolder,
  { hook, package: name, from, to, data }: StateTransfer,
  {
    what,
    files,
    kind,
  }: { readonly what: 'export' | 'import'; readonly files: HookFiles; readonly kind: string },
): Promise<HookEnd> {
  const seconds = what === 'export' ? hook.exportSeconds : hook.importSeconds
  // It ends with this process, too: what is left of a stage can then be taken away at once.
  const alone = [
    'setpriv',
    '--pdeathsig',
    'SIGKILL',
    'unshare',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
  ]
  const limited = ['timeout', `--kill-after=${killAfterSeconds}`, String(seconds)]
  const end = await runIn(place, stage, {
    command: [...alone, ...limited, '/bin/sh', '-e', '-c', hook[what], 'vml', ...data],
    files,
    environment: {
      VML_PACKAGE: name,
      VML_FROM: from,
      VML_TO: to,
      VML_DIRECTION: kind,
    },
  })
  return end.status !== undefined && timedOut.has(end.status)
    ? { problem: `it did not end within ${seconds} s` }
    : end
}

const killAfterSeconds = 10
/** As timeout(1) says it. */
const timedOut: ReadonlySet<number> = new Set([124, 137])
/** What a person reads of what went wrong. */
const outputBytesMax = 4096

async function runIn(
  place: Workplace,
  folder: StageFolder,
  {
    command,
    files: [input, output],
    environment,
  }: {
    readonly command: readonly string[]
    readonly files: HookFiles
    readonly environment: Readonly<Record<string, string>>
  },
): Promise<HookEnd & { readonly status?: number }> {
  const said: Buffer[] = []
  let bytes = 0
  try {
    const { status } = await runInStage({
      folder,
      command,
      environment: {
        LC_ALL: 'C.UTF-8',
        HOME: '/root',
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        ...environment,
      },
      workingFolder: rootPath,
      stdio: [input, output, 'pipe'],
      signal: place.signal,
      onStart(child) {
        child.stderr?.on('data', (chunk: Buffer) => {
          // Its end says what went wrong.
          said.push(chunk)
          bytes += chunk.length
          while (bytes - (said[0]?.length ?? 0) > outputBytesMax) bytes -= said.shift()?.length ?? 0
        })
      },
    })
    if (status === 0) return { status }
    const text = printable(rawFromBytes(Buffer.concat(said).subarray(-outputBytesMax)))
    const words = text.replaceAll('\\n', ' ').trim()
    return {
      status,
      problem: words === '' ? `it ended with status ${status}` : `${words} (status ${status})`,
    }
  } catch (error) {
    place.signal?.throwIfAborted()
    return { problem: messageOf(error) }
  }
}

/** What no unit of systemd is would go on writing to data that is replaced. */
function requireUnused(place: Workplace, { package: name, data }: StateTransfer): void {
  const users = usersOf(data.map((folder) => inRoot(place, folder)))
  if (users.length === 0) return
  throw new VmlError(
    'conflict',
    `Cannot transfer the state of ${name}: process ${users.join(', ')} works with its data`,
    {
      details: { processes: users },
      hint: 'Nothing was changed. Stop the service, and repeat; units in its hook are stopped by themselves',
    },
  )
}

/** A process that still has the stage would write where a commit takes things from. */
function requireNobody({ token }: StageNote): void {
  const busy = processesInStage(token)
  if (busy.length === 0) return
  throw new VmlError(
    'conflict',
    `Cannot transfer a state: process ${busy.join(', ')} still works in the stage`,
    {
      details: { processes: busy },
      hint: 'Nothing was changed. End it, and repeat',
    },
  )
}
