// Opens the one stage of a machine over ssh, and takes away what is left of it. The lock is the folder; a process there that ends with the connection says whose it is.
import { randomBytes } from 'node:crypto'
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, rawToBytes, type RawText } from '../base/raw-text.ts'
import { requireTag } from '../engine/edit.ts'
import { nulTerminated } from '../source/guest-script.ts'
import { listBelow } from '../source/list-below.ts'
import { entryPathsMax, rootPath, type RawPath } from '../model/raw-path.ts'
import { enterScript } from '../stage/enter-script.ts'
import { readListedIndex } from '../stage/listed-index.ts'
import { type MountPlan, type MountRequest, planMounts, viewOf } from '../stage/mount-plan.ts'
import { policyScript } from '../stage/policy-rc.ts'
import type { RootIndex } from '../stage/root-index.ts'
import {
  beginScript,
  dropScript,
  endProcessesScript,
  makeStageScript,
  stageBusyStatus,
} from '../stage/remote-stage-script.ts'
import { requireOwnNames } from './misnamed-part.ts'
import {
  readRemoteFile,
  type RemoteMachine,
  remoteOpen,
  tryWork,
  work,
  writeRemoteFile,
} from './remote-machine.ts'
import { encodeStageNote, noteBytesMax, noteFile, parseStageNote, type StageNote } from './stage-note.ts'

export type RemoteRequest = Pick<StageNote, 'source' | 'title' | 'note' | 'tags' | 'command' | 'user'>

/** The lock on a machine: held as long as the connection is. */
export interface RemoteLock extends AsyncDisposable {
  readonly note: StageNote
}

export interface RemoteStage {
  readonly note: StageNote
  readonly plan: MountPlan
  readonly mountInfo: RawText
  /** Of the root when it was opened. */
  readonly index: RootIndex
}

const mountInfoBytesMax = 32 * 1024 * 1024
/** A host of containers has some hundreds. A stage is planned by comparing each with each. */
const mountsMax = 4000
/** Questions that a plan asks come from the table of mounts. */
const planTurnsMax = 10

/** Takes the lock. Fails with `store.locked` where somebody has it, or where something was left. */
export async function lockRemote(
  machine: RemoteMachine,
  request: RemoteRequest,
  plan?: MountPlan,
): Promise<RemoteLock> {
  const { status, stderr } = await tryWork(machine, { script: beginScript, words: [machine.state] })
  if (status === stageBusyStatus) throw await busy(machine)
  if (status !== 0)
    throw new VmlError(
      'remote.command',
      `Cannot begin a transaction on ${machine.name}: ${lastWords(stderr)}`,
      {
        hint: 'Nothing was changed. VML keeps what it needs there in /var/lib/vml, on a disk that can be written',
      },
    )
  await using resources = new AsyncDisposableStack()
  try {
    const holder = resources.use(await holdProcess(machine))
    const note: StageNote = {
      schema: 1,
      token: randomBytes(16).toString('hex'),
      ...request,
      startedAt: new Date(machine.clock.now()).toISOString(),
      process: holder.process,
      ...(plan ? { plan } : {}),
    }
    await writeRemoteFile(machine, remoteOpen(machine, noteFile), encodeStageNote(note))
    // As the hooks of a VML there would read it.
    await writeRemoteFile(
      machine,
      remoteOpen(machine, 'frontend'),
      `${holder.process.id} ${holder.process.started} ${holder.boot}\n`,
    )
    const owned = resources.move()
    return { note, [Symbol.asyncDispose]: async () => await owned.disposeAsync() }
  } catch (error) {
    await dropRemote(machine, plan).catch(() => {})
    throw error
  }
}

/** Where the machine's mounts allow a stage, planned; fails with `unsupported` where they do not. */
export async function planRemoteMounts(
  machine: RemoteMachine,
): Promise<{ readonly plan: MountPlan; readonly mountInfo: RawText }> {
  const mountInfo = await readMountInfo(machine)
  const devices = await work(machine, {
    script: `path=$1
while [ "$path" ]; do
  [ ! -L "$path" ] || exit 0
  path=\${path%/*}
done
mkdir -p -m 700 "$1" && stat -c %d / "$1"`,
    words: [machine.state],
    doing: 'make the folder of VML',
  })
  // Mounts of a stage would follow the link out of it.
  if (devices === '')
    throw new VmlError(
      'unsupported',
      `Cannot open a stage on ${machine.name}: "${printable(machine.state)}" lies behind a link`,
      {
        hint: 'Nothing was run. A mount of the folder that the link leads to serves instead of it',
      },
    )
  const [root, state] = devices.split('\n')
  const folders = new Map<RawPath, boolean>()
  const request: MountRequest = {
    mountInfo,
    root: rootPath,
    state: machine.state,
    stateOnMount: root === state,
    isFolder: () => false,
    dataFolders: [],
  }
  for (let turn = 0; turn < planTurnsMax; turn++) {
    const unknown: RawPath[] = []
    const planned = planMounts({
      ...request,
      isFolder(path) {
        const known = folders.get(path)
        if (known === undefined) unknown.push(path)
        return known ?? true
      },
    })
    if (unknown.length === 0) {
      if (planned.kind === 'stage') {
        requireOwnNames(planned.plan, machine.name)
        return { plan: planned.plan, mountInfo }
      }
      throw new VmlError('unsupported', `Cannot open a stage on ${machine.name}: ${planned.reason}`, {
        hint: 'Nothing was run',
      })
    }
    const answers = await work(machine, {
      script: `xargs -0 sh -c 'for path; do if [ -d "$path" ]; then echo y; else echo n; fi; done' sh`,
      stdin: nulTerminated(unknown),
      doing: 'look at mount points',
    })
    for (const [at, path] of unknown.entries()) folders.set(path, answers.split('\n')[at] === 'y')
  }
  throw new VmlError('remote.protocol', `Cannot understand ${machine.name}: its mounts change all the time`)
}

export async function readMountInfo(
  machine: Pick<RemoteMachine, 'name' | 'shell' | 'signal'>,
): Promise<RawText> {
  const text = await work(machine, {
    script: 'cat /proc/self/mountinfo',
    outputBytesMax: mountInfoBytesMax,
    doing: 'read the table of mounts',
  })
  if (text.split('\n', mountsMax + 1).length <= mountsMax) return text
  throw new VmlError(
    'unsupported',
    `Cannot make a transaction on ${machine.name}: it has more than ${mountsMax} mounts`,
    { hint: 'Nothing was changed' },
  )
}

/** Order: the layers, the script, the index of the root as it is then. The lock is held. Whoever calls drops it where this fails. */
export async function openRemoteStage(
  machine: RemoteMachine,
  { plan, mountInfo }: { readonly plan: MountPlan; readonly mountInfo: RawText },
  note: StageNote,
): Promise<RemoteStage> {
  const policy = remoteOpen(machine, 'policy-rc.d')
  await writeRemoteFile(machine, policy, policyScript())
  await work(machine, { script: 'chmod 755 "$1"', words: [policy], doing: 'make a stage' })
  await work(machine, {
    script: makeStageScript(plan),
    stdin: [rawToBytes(enterScript(plan, { token: note.token, policy }))],
    doing: 'make a stage',
  })
  const view = viewOf(plan)
  const index = await readListedIndex(
    listBelow(machine.shell, {
      starts: view.tops,
      closed: view.closed,
      // One more, so that a system that is too large is told as that.
      pathsMax: entryPathsMax + 1,
      signal: machine.signal,
    }),
  )
  return { note, plan, mountInfo, index }
}

/** Undefined where none is open; one without a note was cut off before it had begun. */
export async function readRemoteNote(
  machine: Pick<RemoteMachine, 'name' | 'shell' | 'state'>,
): Promise<StageNote | undefined> {
  const file = remoteOpen(machine, noteFile)
  const bytes = await readRemoteFile(machine, file, noteBytesMax)
  const note = bytes && parseStageNote(bytes, file)
  try {
    for (const tag of note?.tags ?? []) requireTag(tag)
  } catch (cause) {
    throw new VmlError(
      'remote.protocol',
      `Cannot understand ${machine.name}: the note of its open transaction has tags that nobody can have given`,
      { cause, hint: `Nothing was changed. See there who wrote to ${file}` },
    )
  }
  return note
}

/** Whether the process there that the stage is for still runs. */
export async function isRemoteInUse(machine: RemoteMachine, { process }: StageNote): Promise<boolean> {
  const { status } = await tryWork(machine, {
    script: `read -r stat 2>/dev/null <"/proc/$1/stat" || exit 1
stat=\${stat##*) }
set -- "$2" $stat
[ "$2" != Z ] && [ "\${21}" = "$1" ]`,
    words: [String(process.id), process.started],
  })
  return status === 0
}

/** Ends what runs in it, and removes it. Nothing of the root changes. */
export async function dropRemote(
  machine: RemoteMachine,
  plan: MountPlan | undefined,
  token?: string,
): Promise<void> {
  if (token !== undefined) {
    const { status } = await tryWork(machine, { script: endProcessesScript, words: [token] })
    if (status !== 0)
      throw new VmlError(
        'conflict',
        `Cannot remove the stage on ${machine.name}: a process in it does not end`,
        {
          hint: `Nothing of it was committed. End it there, then vml tx recover --on ${machine.name}`,
        },
      )
  }
  const { status, stderr } = await tryWork(machine, { script: dropScript(machine.state, plan) })
  if (status !== 0)
    throw new VmlError('remote.command', `Cannot remove the stage on ${machine.name}: ${lastWords(stderr)}`, {
      hint: `Nothing of it was committed. vml tx recover --on ${machine.name} does it`,
    })
}

interface Holder extends AsyncDisposable {
  readonly process: StageNote['process']
  readonly boot: string
}

/** A shell there that waits for the end of its input, which comes with that of the connection. */
async function holdProcess({ shell, name }: RemoteMachine): Promise<Holder> {
  const end = Promise.withResolvers<undefined>()
  async function* untilTheEnd(): AsyncIterable<Uint8Array> {
    await end.promise
    yield* []
  }
  const child = await shell.start({
    argv: ['sh', '-c', holderScript],
    stdin: untilTheEnd(),
    idleTimeoutMs: holderSilenceMs,
  })
  child.outcome.catch(() => {})
  let said = ''
  const output = child.stdout[Symbol.asyncIterator]()
  while (!said.includes('\n') && said.length < holderLineMax) {
    const next = await output.next()
    if (next.done === true) break
    said += next.value.toString('latin1')
  }
  const [, id, started, boot] = /^(\d{1,10}) (\d{1,20}) ([0-9a-f-]{36})\n/.exec(said) ?? []
  if (id === undefined || started === undefined || boot === undefined) {
    end.resolve(undefined)
    await child[Symbol.asyncDispose]()
    throw new VmlError(
      'remote.protocol',
      `Cannot understand ${name}: a process of it does not say its number`,
    )
  }
  return {
    process: { id: Number(id), started },
    boot,
    async [Symbol.asyncDispose]() {
      end.resolve(undefined)
      await child[Symbol.asyncDispose]()
    },
  }
}

const holderScript = `read -r stat <"/proc/$$/stat"
set -- \${stat##*) }
shift 19
read -r boot </proc/sys/kernel/random/boot_id
echo "$$ $1 $boot"
exec cat >/dev/null`
const holderLineMax = 1024
/** As long as a timer of Node can wait: 24 days. */
const holderSilenceMs = 2_147_483_647

async function busy(machine: RemoteMachine): Promise<VmlError> {
  const note = await readRemoteNote(machine).catch(() => undefined)
  const inUse = note !== undefined && (await isRemoteInUse(machine, note))
  return new VmlError(
    'store.locked',
    inUse
      ? `Cannot begin a transaction on ${machine.name}: another one is open, of process ${note.process.id} there`
      : `Cannot begin a transaction on ${machine.name}: one that was cut off is left there`,
    {
      hint: inUse
        ? 'Nothing was changed. Wait for it to end'
        : `Nothing was changed. vml tx recover --on ${machine.name} mends it`,
    },
  )
}

export function lastWords(stderr: string): string {
  const text = asRaw(stderr.trim().split('\n').at(-1) ?? '')
  return text === '' ? 'it did not say why' : printable(text).slice(0, 300)
}
