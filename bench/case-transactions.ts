// What undoing twelve real changes of a machine's software takes on the disk: with a source that does not forget, without any, and as snapshots of btrfs.
import { type Chroot, openChroot } from '../test/chroot.ts'
import { ruleServiceStarts } from '../test/chroot-services.ts'
import { openPackageArchive } from '../test/package-archive.ts'
import type { Bench, Case } from './case.ts'
import type { TableResult } from './report.ts'
import { installSnapper, pinnedBytes } from './snapper.ts'
import { commandOf, packagesOfTwelve, twelveChanges, versionsNow } from './twelve-transactions.ts'

/** Of what the system has in use, for the first one, an upgrade of some forty packages: architecture, "Speed". */
const goals = { pool: 0.1, none: 3 } as const
/** That all of them together keep to by default. */
const budgetPercent = 8
const ways = ['pool', 'none', 'snapper'] as const
type Way = (typeof ways)[number]

export const transactionsCase: Case = {
  title: 'what it takes on the disk to undo twelve changes of real packages; as root',
  steps: ways,
  // Its chroots lie in the temporary folder, and are gone afterwards.
  needs: () => ({ data: [], work: { bytes: 0, files: 0 } }),
  async run(bench, steps) {
    const columns = new Map<Way, Column>()
    for (const way of ways) if (steps.has(way)) columns.set(way, await measure(bench, way))
    const chosen = [...columns.keys()]
    const rows = twelveChanges.map(({ title }, at) => [
      String(at + 1),
      title,
      ...chosen.map((way) => megabytes(columns.get(way)?.bytes[at] ?? Number.NaN)),
    ])
    const sums = chosen.map((way) => megabytes(columns.get(way)?.totalBytes ?? Number.NaN))
    const result: TableResult = {
      kind: 'table',
      name: 'transactions',
      head: ['#', 'change', ...chosen.map((way) => `${titles[way]}, MB`)],
      rows: [...rows, ['', 'all of them', ...sums]],
      note: chosen.map((way) => `${way}: ${columns.get(way)?.says ?? ''}`).join('; '),
    }
    return [result]
  },
}

const titles: Readonly<Record<Way, string>> = {
  pool: 'VML with a pool',
  none: 'VML without',
  snapper: 'snapper, btrfs',
}

interface Column {
  /** By how much each change made it grow. */
  readonly bytes: readonly number[]
  readonly totalBytes: number
  readonly says: string
}

async function measure(bench: Bench, way: Way): Promise<Column> {
  await using chroot = await openChroot({ flavour: 'full', fileSystem: way === 'snapper' ? 'btrfs' : 'ext4' })
  const archive = await openPackageArchive(chroot)
  await ruleServiceStarts(chroot, 'forbidden')
  await archive.publishFiles(await packagesOfTwelve(chroot))
  const atFirst = await versionsNow(chroot)
  if (way === 'snapper') await installSnapper(chroot, archive)
  else await prepareVml(chroot, way)
  const taken = way === 'snapper' ? pinnedBytes : recordBytes
  const usedBytes = await systemBytes(chroot)
  const empty = await taken(chroot)
  const bytes: number[] = []
  let before = empty
  for (const [at, change] of twelveChanges.entries()) {
    bench.signal.throwIfAborted()
    const argv = commandOf(change, atFirst)
    if ('apt' in change) await chroot.run(argv)
    else if (way === 'snapper')
      await chroot.sh(
        'number=$(snapper create -t pre -p) && "$@" && snapper create -t post --pre-number "$number"'.replace(
          '"$@"',
          change.script.replaceAll('\n', ' && '),
        ),
      )
    else await chroot.vml(['tx', 'run', '-m', change.title, '--', ...argv])
    const now = await taken(chroot)
    bytes.push(now - before)
    console.error(`transactions-${way}  ${at + 1} ${change.title}: ${megabytes(now - before)} MB`)
    before = now
  }
  const percent = (part: number) => `${((100 * part) / usedBytes).toFixed(3)} %`
  const shares = `of a system of ${megabytes(usedBytes)} MB`
  if (way === 'snapper') {
    const totalBytes = await freedBySnapper(chroot)
    return {
      bytes,
      totalBytes,
      says: `the first ${percent(bytes[0] ?? 0)}, all ${percent(totalBytes)} ${shares}; all: what came back when all snapshots were deleted`,
    }
  }
  const totalBytes = before - empty
  const { stdout: list } = await chroot.vml(['tx', 'list'])
  const dropped = list.split('\n').filter((line) => line.includes('dropped')).length
  const { stdout: besides } = await chroot.sh(
    'du -cb /var/lib/vml/index /var/lib/vml/baseline /var/lib/vml/cache | tail -1',
  )
  const says = `the first ${percent(bytes[0] ?? 0)} (goal ${goals[way]} %), all ${percent(totalBytes)} ${shares} (budget ${budgetPercent} %, ${dropped} lost pre-images to it), and ${megabytes(Number.parseInt(besides, 10))} MB that VML knows of the system`
  return { bytes, totalBytes, says }
}

async function prepareVml(chroot: Chroot, way: 'pool' | 'none'): Promise<void> {
  if (way === 'pool')
    await chroot.sh('mkdir -p /etc/vml && cat >/etc/vml/config.toml', {
      input: '[transactions]\npools = ["/srv/archive"]\n',
    })
  await chroot.vml(['tx', 'enable'])
}

/** The logbook, and files that are held by nothing but a pin. */
async function recordBytes(chroot: Chroot): Promise<number> {
  const { stdout } = await chroot.sh(
    `{ find /var/lib/vml/logbook -type f -printf '%s\\n'; find /var/lib/vml -path '*/pins/*' -links 1 -not -name notes -printf '%s\\n'; } | awk '{ s += $1 } END { printf "%.0f", s }'`,
  )
  return Number(stdout)
}

async function systemBytes(chroot: Chroot): Promise<number> {
  return Number((await chroot.sh('sync; df -k --output=used / | tail -1')).stdout) * 1024
}

async function freedBySnapper(chroot: Chroot): Promise<number> {
  const before = await systemBytes(chroot)
  await chroot.sh(
    `snapper --csvout list --columns number | sed 1d | grep -v '^0$' | xargs snapper delete && btrfs subvolume sync / && btrfs filesystem sync /`,
  )
  return before - (await systemBytes(chroot))
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(Math.abs(bytes) < 1e7 ? 2 : 1)
}
