// What a record costs on the disk: an upgrade of real packages in a chroot, with a source that does not forget and without any.
import { openChroot } from '../test/chroot.ts'
import { ruleServiceStarts } from '../test/chroot-services.ts'
import { mirrorPackages } from '../test/mirror-packages.ts'
import { openPackageArchive } from '../test/package-archive.ts'
import type { Case } from './case.ts'
import type { RecordRow, Result } from './report.ts'

/** In the order of the design: what the goal is a share of is what the system has in use. */
const goals = { pool: 0.1, none: 3 } as const

export const transactionsCase: Case = {
  title: 'what the record of a dist-upgrade of real packages takes on the disk; VML alone, as root',
  steps: ['pool', 'none'],
  // Its chroots lie in the temporary folder, and are gone afterwards.
  needs: () => ({ data: [], work: { bytes: 0, files: 0 } }),
  async run(_bench, steps) {
    const rows: RecordRow[] = []
    for (const source of ['pool', 'none'] as const) if (steps.has(source)) rows.push(await measure(source))
    const result: Result = {
      kind: 'records',
      name: 'transactions',
      rows,
      note: rows.map(describe).join(', '),
    }
    return [result]
  },
}

async function measure(source: 'pool' | 'none'): Promise<RecordRow> {
  await using chroot = await openChroot({ flavour: 'full' })
  const archive = await openPackageArchive(chroot)
  await ruleServiceStarts(chroot, 'forbidden')
  const words = ['dist-upgrade']
  await archive.publishFiles(await mirrorPackages(chroot, words, { installed: true }))
  if (source === 'pool')
    await chroot.sh('mkdir -p /etc/vml && cat >/etc/vml/config.toml', {
      input: '[transactions]\npools = ["/srv/archive"]\n',
    })
  await chroot.vml(['tx', 'enable'])
  const taken = async () =>
    Number(
      (
        await chroot.sh(
          `find /var/lib/vml/logbook -type f -printf '%s\\n' | awk '{ s += $1 } END { print s }'`,
        )
      ).stdout,
    )
  const usedBytes = Number((await chroot.sh('df -k --output=used / | tail -1')).stdout) * 1024
  const empty = await taken()
  await chroot.run(['apt-get', '-y', ...words])
  const storedBytes = (await taken()) - empty
  const pins = await chroot.sh(
    `find /var/lib/vml -path '*/pins/*' -links 1 -not -name notes -printf '%s\\n' | awk '{ s += $1 } END { print s + 0 }'`,
  )
  const { stdout } = await chroot.vml(['tx', 'show', '1', '--json'])
  const shown: unknown = JSON.parse(stdout)
  const packages = listAt(shown, 'packages')
  const paths = listAt(shown, 'paths')
  const kinds = new Map<string, number>()
  for (const path of paths) {
    const kind = String(fieldOf(path, 'pre_image'))
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  return {
    source,
    packages: packages.length,
    paths: paths.length,
    kinds: Object.fromEntries(kinds),
    storedBytes: storedBytes + Number(pins.stdout),
    usedBytes,
  }
}

function listAt(value: unknown, name: string): readonly unknown[] {
  const list = fieldOf(value, name)
  if (!Array.isArray(list)) throw new TypeError(`vml tx show tells no list of ${name}`)
  return list
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? (Object.getOwnPropertyDescriptor(value, name)?.value as unknown)
    : undefined
}

function describe({ source, storedBytes, usedBytes }: RecordRow): string {
  return `${source}: ${((100 * storedBytes) / usedBytes).toFixed(3)} % of the system, goal ${goals[source]} %`
}
