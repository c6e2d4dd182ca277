// The middle act: three changes of a Debian system, of which the second one is taken back alone. It needs root, for mounts of its own.
import { type Chroot, openChroot } from '../../test/chroot.ts'
import { openPackageArchive } from '../../test/package-archive.ts'
import type { TinyPackage } from '../../test/tiny-packages.ts'
import { messageOf } from '../../src/base/failure.ts'
import type { Check } from './checks.ts'
import { orAbort, type Stage } from './computer.ts'

/** Undefined where nothing may be mounted: it is said in one line, and the other acts go on. */
export async function openUndoAct(
  stage: Stage,
  resources: AsyncDisposableStack,
): Promise<(() => Promise<Check[]>) | undefined> {
  if (process.getuid?.() !== 0) {
    stage.print(leftOut('it mounts, which only root may: sudo ./vml demo'))
    return undefined
  }
  const opened = openChroot().catch((error: unknown) => {
    stage.print(leftOut(messageOf(error).split('\n')[0] ?? ''))
    return undefined
  })
  const chroot = await orAbort(stage, opened)
  if (chroot === undefined) return undefined
  resources.use(chroot)
  const archive = await openPackageArchive(chroot)
  await archive.publish(libfit('1.0', leastSquares), program('plot'), program('report'))
  await chroot.sh(prepare)
  await archive.publish(libfit('2.0', throughOrigin))
  return async () => await play(stage, chroot)
}

function leftOut(why: string): string {
  return `Left out here is how an upgrade is undone, in a Debian of its own: ${why}`
}

async function play(stage: Stage, chroot: Chroot): Promise<Check[]> {
  const type = async (line: string) => {
    stage.signal.throwIfAborted()
    stage.print(`\n  debian# ${line}`)
    const { stdout, stderr } = await chroot.sh(line)
    for (const said of (stdout + stderr).split('\n'))
      if (said !== '' && !chatter.test(said)) stage.print(`    ${said}`)
    return stdout
  }
  await type('vml tx enable')
  await type('apt-get install -qq plot')
  const before = await type(`fit ${points}`)
  await chroot.sh(`${files} >/run/files; xargs -d '\\n' sha256sum </run/files >/run/sums`)

  stage.print(
    '\n  The second one: a library is upgraded, a setting is changed, a script writes a calibration',
  )
  await type(`cat ${upgradeScript}`)
  await type(`vml tx run -m "new library for fits" -- sh ${upgradeScript}`)
  await type(`fit ${points}`)

  stage.print('\n  Later work: another program, a line in the same file of settings, notes')
  await type('apt-get install -qq report')
  await type(`echo 'title="run 7"' >>${settings}; echo 'ask Ada' >/home/lab/notes.txt`)

  stage.print('\n  Why is the result another one?')
  await type('vml tx list')
  await type('vml tx show 2 --paths')

  stage.print('\n  Take back the second one, and nothing else')
  await type('vml tx undo 2')
  const after = await type(`fit ${points}`)
  await type(`cat ${settings}`)
  return [
    { name: 'old result', passed: after === before, detail: after.trim() },
    await compareFiles(chroot),
    await checkPackages(chroot),
  ]
}

/** Every file is what it was before the second change, but for those that later work has touched; and only that work's are new. */
async function compareFiles(chroot: Chroot): Promise<Check> {
  const { stdout } = await chroot.sh(
    `sha256sum -c --quiet /run/sums 2>/dev/null; ${files} | comm -13 /run/files - | sed 's/$/: new/'; wc -l </run/sums`,
    { mayFail: true },
  )
  const lines = stdout.trim().split('\n')
  const count = Number(lines.pop())
  const passed = lines.toSorted().join('\n') === laterWork.toSorted().join('\n')
  return {
    name: 'sha256sum -c, find',
    passed,
    detail: passed
      ? `${count} files of the system: as if it had never been; only later work differs`
      : lines.slice(0, 5).join('; '),
  }
}

async function checkPackages(chroot: Chroot): Promise<Check> {
  const all = await chroot.sh('dpkg --audit; dpkg --verify; apt-get -qq check', { mayFail: true })
  const said = (all.stdout + all.stderr).trim()
  const versions = await chroot.sh("dpkg-query -W -f '${Package} ${Version}, ' libfit1 plot report")
  return {
    name: 'dpkg, apt-get check',
    passed: all.status === 0 && said === '' && versions.stdout === 'libfit1 1.0, plot 1.0, report 1.0, ',
    detail: said === '' ? `nothing to say; ${versions.stdout.replace(/, $/, '')}` : said,
  }
}

const chatter = /^(?:\(Reading|Selecting|Preparing|Unpacking)/
const points = '/home/lab/points.txt'
const settings = '/etc/fit.conf'
const upgradeScript = '/home/lab/upgrade.sh'
// What nobody writes but transactions and people; dpkg's own books have a check of their own.
const files = 'find /usr /etc /opt /home /boot /srv -xdev -type f | LC_ALL=C sort'
const laterWork = [`${settings}: FAILED`, '/home/lab/notes.txt: new', '/usr/bin/report: new']

const leastSquares =
  '{ n++; x += $1; y += $2; xx += $1 * $1; xy += $1 * $2 } END { printf "slope %.*f", digits, (n * xy - x * y) / (n * xx - x * x) }'
const throughOrigin = '{ xx += $1 * $1; xy += $1 * $2 } END { printf "slope %.*f", digits, xy / xx }'

function libfit(version: string, method: string): TinyPackage {
  return {
    name: 'libfit1',
    version,
    files: { '/usr/lib/fit/method': `${method}\n`, '/usr/lib/fit/version': `${version}\n` },
  }
}

function program(name: string): TinyPackage {
  return {
    name,
    version: '1.0',
    fields: { Depends: 'libfit1' },
    files: { [`/usr/bin/${name}`]: { content: '#!/bin/sh\n', mode: 0o755 } },
  }
}

const prepare = `set -e
apt-get install -qq libfit1
mkdir -p /home/lab
awk 'BEGIN { for (i = 1; i <= 300; i++) printf "%d %.4f\\n", i, 2 * i + 1 + (i * 7919) % 41 - 20 }' >${points}
printf '# how a result is shown\\ndigits=6\\n\\n# for the report\\n' >${settings}
cat >/usr/local/bin/fit <<'END'
#!/bin/sh
. ${settings}
awk -v digits="$digits" -f /usr/lib/fit/method "$1"
echo " (libfit $(cat /usr/lib/fit/version)$([ ! -e /opt/calibration ] || echo ', calibrated'))"
END
chmod 755 /usr/local/bin/fit
cat >${upgradeScript} <<'END'
set -e
apt-get install -qq libfit1=2.0
sed -i 's/^digits=.*/digits=3/' ${settings}
echo "factor 1.02" >/opt/calibration
END`
