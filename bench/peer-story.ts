// The story that each way of going back is tried on: T1 installs a program, T2 upgrades its library, edits and runs a script, T3 is later work. T2 is to go.
import type { Chroot } from '../test/chroot.ts'
import type { PackageArchive } from '../test/package-archive.ts'
import type { TinyPackage } from '../test/tiny-packages.ts'

/** Some hundred KB that zstd makes little of. */
function noise(seed: number): string {
  let state = seed
  const words: string[] = []
  for (let at = 0; at < 20_000; at++) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    words.push(state.toString(36))
  }
  return words.join('\n')
}

function library(version: string, seed: number): TinyPackage {
  return {
    name: 'libfit1',
    version,
    // As real versions have it: snapper takes what has the same time for the same.
    madeAtSeconds: 1_700_000_000 - 86_400 * (2 - seed),
    files: {
      '/usr/lib/libfit.so.1': noise(seed),
      [`/usr/lib/fit/tables-${version}`]: version,
      '/etc/fit.conf': `order=${version}\npoints=100\nseed=1\n`,
    },
    conffiles: ['/etc/fit.conf'],
  }
}

const first = library('1.4', 1)
const second: TinyPackage = {
  ...library('1.5', 2),
  fields: { Depends: 'libsolve2' },
  scripts: { postinst: 'mkdir -p /var/lib/fit && echo 1.5 >/var/lib/fit/state' },
}
const plot: TinyPackage = {
  name: 'plot',
  version: '1',
  fields: { Depends: 'libfit1' },
  files: {
    '/usr/bin/plot': { content: '#!/bin/sh\ncat /etc/plot.conf\n', mode: 0o755 },
    '/etc/plot.conf': 'colour=blue\nwidth=3\n',
  },
  conffiles: ['/etc/plot.conf'],
}
const solve: TinyPackage = { name: 'libsolve2', version: '2', files: { '/usr/lib/libsolve.so.2': noise(3) } }
const report: TinyPackage = {
  name: 'report',
  version: '1',
  files: { '/usr/bin/report': { content: '#!/bin/sh\n', mode: 0o755 } },
}

/** `forgets`: the archive drops the old library when it has the new one, as archives of distributions do. */
export async function publishFirst(archive: PackageArchive): Promise<void> {
  await archive.publish(first, plot, solve, report)
}

export async function publishSecond(
  archive: PackageArchive,
  { forgets }: { readonly forgets: boolean },
): Promise<void> {
  await archive.publish(second)
  if (forgets) await archive.withdraw('libfit1', '1.4')
}

export const install = 'apt-get -y install plot'

/** One shell line: an upgrade, an edit of configuration, a script. */
export const upgrade = `apt-get -y install libfit1
sed -i s/blue/red/ /etc/plot.conf
echo 10.0.0.8 lab8 >>/etc/hosts
mkdir -p /opt/model && echo table >/opt/model/table`

export const laterWork = `apt-get -y install report
sed -i '1i10.0.0.9 later' /etc/hosts
sed -i s/width=3/width=4/ /etc/plot.conf
useradd -r someone
echo mine >/etc/later.conf`

/** What is wrong with the packages, in words; empty where nothing is. */
export async function complaints(chroot: Chroot): Promise<string[]> {
  const says: string[] = []
  const ask = async (what: string, script: string) => {
    const { status, stdout } = await chroot.sh(script, { mayFail: true })
    if (status !== 0 || stdout.trim() !== '') says.push(what)
  }
  await ask('dpkg --audit', 'dpkg --audit')
  await ask('apt-get check', 'apt-get -qq check')
  // Configuration that was edited is no complaint.
  await ask('dpkg --verify', `dpkg --verify libfit1 plot report | grep -v ' c /etc/'; true`)
  await ask('report is unknown to dpkg', `dpkg -s report >/dev/null 2>&1`)
  await ask('the user of later is gone', `getent passwd someone >/dev/null`)
  return says
}
