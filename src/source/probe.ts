// Finds out, in one round trip, which tools a machine has and what they can tell and keep.
import { isFailure, VmlError } from '../base/failure.ts'
import type { Fidelity } from '../model/entry.ts'
import type { Shell } from '../wire/shell.ts'
import type { GuestPart, PartOutcome } from './guest-parts.ts'
import { plainScript, protocolFailure, runScript } from './guest-script.ts'

export interface Tools {
  readonly isRoot: boolean
  /** GNU find prints every attribute itself; any other lists names for `stat -c`. */
  readonly find: 'gnu' | 'plain'
  /** busybox prints link targets unquoted with `%N`. */
  readonly stat: 'busybox' | 'other' | 'none'
  readonly tar: 'gnu' | 'busybox'
  readonly tarXattrs: boolean
  readonly tarAcls: boolean
  /** coreutils' `sha256sum -z`; `plain` reads standard input only. */
  readonly digest: 'zero' | 'plain' | 'none'
  readonly dateNs: boolean
  readonly statNs: boolean
  /** `timeout SECONDS PROGRAM` is there. */
  readonly timeout: boolean
}

const nsPerSecond = 1_000_000_000

const probeTimeoutMs = 30_000
const probeBytesMax = 64 * 1024

/** Of shells whose machines were asked for their tools among other things: for as long as the shell lives. */
const told = new WeakMap<Shell, Tools>()

/** Fails with `unsupported` when the machine cannot list or pack files. */
export async function probeTools(shell: Shell, signal?: AbortSignal): Promise<Tools> {
  const known = told.get(shell)
  if (known) return known
  const stdout = await runScript(shell, {
    script: probeScript,
    doing: 'ask for the tools',
    idleTimeoutMs: probeTimeoutMs,
    outputBytesMax: probeBytesMax,
    signal,
  })
  return parseTools(shell, stdout)
}

/** The same question among others; `takeTools` takes the answer. */
export function toolsPart(): GuestPart {
  return { script: plainScript(probeScript), timeoutMs: probeTimeoutMs, outputBytesMax: probeBytesMax }
}

/** `probeTools` gives this answer from now on. One that does not serve is passed over, and asked for again when it is needed. */
export function takeTools(shell: Shell, { status, stdout }: PartOutcome): void {
  if (status !== 0) return
  try {
    told.set(shell, parseTools(shell, stdout))
  } catch (error) {
    if (!isFailure(error, 'unsupported', 'remote.protocol')) throw error
  }
}

function parseTools(shell: Shell, stdout: Buffer): Tools {
  const answers = new Map<string, string>()
  for (const line of stdout.toString('latin1').split('\n')) {
    const match = /^vml-([a-z]+)=(.*)$/.exec(line)
    if (match?.[1] !== undefined) answers.set(match[1], match[2] ?? '')
  }
  if (answers.get('end') !== 'yes') throw protocolFailure(shell, 'it did not answer which tools it has')
  const find = answers.get('find') === 'gnu' ? 'gnu' : answers.get('find') === 'plain' ? 'plain' : undefined
  const tar = /GNU tar/.test(answers.get('tar') ?? '')
    ? 'gnu'
    : /busybox/i.test(answers.get('tar') ?? '')
      ? 'busybox'
      : undefined
  const stat =
    answers.get('stat') === 'busybox' ? 'busybox' : answers.get('stat') === 'other' ? 'other' : 'none'
  const missing = [
    ...(find === undefined || (find === 'plain' && stat === 'none') ? ['find'] : []),
    ...(tar === undefined ? ['tar'] : []),
    ...(answers.get('xargs') === 'yes' ? [] : ['xargs']),
  ]
  if (find === undefined || tar === undefined || missing.length > 0) {
    throw new VmlError(
      'unsupported',
      `Cannot work with the files of ${shell.label}: it has no usable ${missing.join(' and no usable ')}`,
      {
        details: { missing },
        hint: `Install GNU ${missing.join(', ')} there (Debian: apt-get install findutils tar), or busybox with them`,
      },
    )
  }
  return {
    isRoot: answers.get('uid') === '0',
    find,
    stat,
    tar,
    tarXattrs: tar === 'gnu' && answers.get('xattrs') === 'yes',
    tarAcls: tar === 'gnu' && answers.get('acls') === 'yes',
    digest: answers.get('digest') === 'zero' ? 'zero' : answers.get('digest') === 'plain' ? 'plain' : 'none',
    dateNs: /^\d{19}$/.test(answers.get('date') ?? ''),
    statNs: answers.get('statns') === 'yes',
    timeout: answers.get('timeout') === 'yes',
  }
}

/** What an entry made with these tools holds. Times are as exact as the coarser of listing and packing. */
export function fidelityOf(tools: Tools): Fidelity {
  const gnuTar = tools.tar === 'gnu'
  const finePrecision = gnuTar && (tools.find === 'gnu' || tools.statNs)
  return {
    timeResolutionNs: finePrecision ? 1 : nsPerSecond,
    ctime: true,
    inode: true,
    ownerNames: true,
    xattrs: tools.tarXattrs,
    acls: tools.tarXattrs,
    sparse: gnuTar,
    notes: [
      ...(finePrecision ? [] : ['Times are kept to the second: the machine has no GNU tar']),
      ...(tools.tarXattrs
        ? []
        : [
            'Extended attributes and access control lists are not kept: the tar of the machine cannot pack them',
          ]),
      ...(gnuTar ? [] : ['Holes of sparse files are read as zeros: the machine has no GNU tar']),
      ...(tools.isRoot || !gnuTar
        ? []
        : ['Only what the login user may read was read, and files go back as that user']),
    ],
  }
}

// Each tool is asked to do what it will be asked for later; version texts are only trusted for tar, whose options
// cannot be tried one by one. `xattrs` packs a file with tar's option, which a tar built without it refuses.
const probeScript = `
echo "vml-uid=$(id -u 2>/dev/null)"
case "$(find / -maxdepth 0 -printf '%y' 2>/dev/null)" in
  d) echo vml-find=gnu ;;
  *) [ "$(find / -xdev -path / -prune -print0 2>/dev/null | tr '\\000' x)" = /x ] && echo vml-find=plain ;;
esac
case "$(stat -c '%N' / 2>/dev/null)" in
  /) if stat --help 2>&1 | grep -q BusyBox; then echo vml-stat=busybox; else echo vml-stat=other; fi ;;
  ?*) echo vml-stat=other ;;
esac
stat -c '%y %y' / /etc /tmp /proc /dev 2>/dev/null | grep -q '\\.[0-9]*[1-9][0-9]* ' && echo vml-statns=yes
echo "vml-tar=$(tar --version 2>&1 | head -n 1)"
tar -c --xattrs '--xattrs-include=*' --null --no-unquote --verbatim-files-from -f - -T /dev/null >/dev/null 2>&1 &&
  [ -z "$(tar -c --xattrs -f - -T /dev/null 2>&1 >/dev/null)" ] && echo vml-xattrs=yes
tar -c --acls -f - -T /dev/null >/dev/null 2>&1 &&
  [ -z "$(tar -c --acls -f - -T /dev/null 2>&1 >/dev/null)" ] && echo vml-acls=yes
[ "$(printf 'a b\\000' | xargs -0 -x -n 9 -s 1000 printf '%s.')" = 'a b.' ] && echo vml-xargs=yes
if sha256sum -z /dev/null >/dev/null 2>&1; then echo vml-digest=zero
elif sha256sum </dev/null >/dev/null 2>&1; then echo vml-digest=plain; fi
echo "vml-date=$(date +%s%N 2>/dev/null)"
timeout 5 true 2>/dev/null && echo vml-timeout=yes
echo vml-end=yes`
