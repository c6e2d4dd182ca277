// Whether a machine over ssh would work as its stage leaves it, asked there before anything is committed: by the same programs as on this host.
import { rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import type { PathChange } from '../model/transaction.ts'
import type { Validation } from '../model/transaction-record.ts'
import { statusPath } from '../packages/dpkg-system.ts'
import { checkScript } from '../stage/check-script.ts'
import { notEnteredStatus } from '../stage/enter-script.ts'
import type { RemoteChanges } from './remote-changes.ts'
import { readRemoteContents } from './remote-contents.ts'
import { type RemoteMachine, remoteOpen, tryWork } from './remote-machine.ts'
import type { RemoteStage } from './remote-stage.ts'
import { stageChecks } from './stage-check-table.ts'
import {
  checkOutputBytesMax,
  checkSecondsMax,
  dueArgv,
  judgeCheck,
  judgeOffers,
  unlessOld,
} from './stage-checks.ts'

/** No program of a check ends with it. */
const noProgramStatus = 98
/** dpkg's list of all packages. */
const statusBytesMax = 256 * 1024 * 1024

/**
 * As `checkStage`, but for shared libraries, of which many files would have to come here, and for the programs of `/etc/vml/checks.d`, which are for a VML that
 * is there. Nobody may be in the stage.
 */
export async function checkRemoteStage(
  machine: RemoteMachine,
  { plan }: Pick<RemoteStage, 'plan'>,
  { changes, sources }: Pick<RemoteChanges, 'changes' | 'sources'>,
): Promise<Validation[]> {
  const script = rawToBytes(checkScript(plan, { timeoutSeconds: checkSecondsMax }))
  const ask: Ask = async ({ name, program, argv, silent = false }) => {
    machine.reporter.progress({ phase: 'checking', item: name })
    const { status, stdout } = await tryWork(machine, {
      script: askScript,
      words: [remoteOpen(machine), program, ...argv],
      stdin: [script],
      outputBytesMax: checkOutputBytesMax,
    })
    if (status === noProgramStatus) return undefined
    const said = Buffer.from(stdout, 'latin1')
    if (status === notEnteredStatus)
      return { ...judgeCheck({ name, silent, status, said }), outcome: 'not run' }
    return judgeCheck({ name, silent, status, said })
  }
  const asked: (Validation | undefined)[] = []
  const status = changes.find(({ path }) => path === statusPath)
  if (status) {
    asked.push(await auditPackages(machine, ask))
    asked.push(await checkOffers(machine, status, sources))
  }
  for (const check of stageChecks) {
    const argv = dueArgv(check, changes)
    if (argv !== undefined) asked.push(await ask({ ...check, argv }))
  }
  return asked.filter((validation) => validation !== undefined)
}

/** Undefined where its program is not there. `silent`: what it says is a complaint, whatever its status. */
type Ask = (check: {
  readonly name: string
  readonly program: string
  readonly argv: readonly string[]
  readonly silent?: boolean
}) => Promise<Validation | undefined>

/** The stage is entered with an environment of its own; what is printed goes through a file, since the status of a pipe is that of its end. */
const askScript = `open=$1
shift
env -i LC_ALL=C HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin unshare -m --propagation private /bin/sh "$open/enter" \\
  /bin/sh -c 'eval "$(cat)"' vml /bin/sh -c '[ -x "$1" ] || exit ${noProgramStatus}; shift; exec "$@"' sh "$@" >"$open/check.out" 2>&1
status=$?
head -c ${checkOutputBytesMax} "$open/check.out"
rm -f "$open/check.out" "$open/refusal"
exit $status`

/** dpkg(1), --audit: what it complained of before is not this transaction's. */
async function auditPackages(machine: RemoteMachine, ask: Ask): Promise<Validation | undefined> {
  const argv = ['dpkg', '--audit']
  const staged = await ask({ name: argv.join(' '), argv, program: '/usr/bin/dpkg', silent: true })
  if (staged?.outcome !== 'failed' || staged.message === undefined) return staged
  const { stdout } = await tryWork(machine, { script: 'dpkg --audit' })
  return unlessOld(staged, Buffer.from(stdout, 'latin1'))
}

async function checkOffers(
  machine: RemoteMachine,
  { before, after }: PathChange,
  sources: RemoteChanges['sources'],
): Promise<Validation | undefined> {
  const from = sources.find(({ path }) => path === statusPath)?.from
  if (!before || !after || from === undefined) return undefined
  const limits = { fileBytesMax: statusBytesMax, allBytesMax: 2 * statusBytesMax }
  const contents = await readRemoteContents(machine, [statusPath, from], limits)
  const [was, is] = [contents.get(statusPath), contents.get(from)]
  return was && is && judgeOffers(rawFromBytes(was), rawFromBytes(is))
}
