// Twelve changes of a machine's software, one after the other, as tx.md 2 has them: upgrades, programs that come and go, a downgrade, work by hand.
import type { Chroot } from '../test/chroot.ts'
import { mirrorPackages } from '../test/mirror-packages.ts'

export type SoftwareChange = {
  readonly title: string
} & ({ readonly apt: readonly string[] } | { readonly script: string })

const configuration = `echo 'MaxAuthTries 3' >>/etc/ssh/sshd_config
echo '10.0.0.7 lab7' >>/etc/hosts
echo 'de_DE.UTF-8 UTF-8' >>/etc/locale.gen && locale-gen
adduser --disabled-password --gecos '' someone`

export const twelveChanges: readonly SoftwareChange[] = [
  { title: 'dist-upgrade', apt: ['dist-upgrade'] },
  { title: 'nginx', apt: ['install', 'nginx'] },
  { title: 'vim, flask', apt: ['install', 'vim', 'python3-flask'] },
  {
    title: 'three older versions',
    apt: ['install', 'OLD:openssl', 'OLD:libssl3', 'OLD:libexpat1', 'OLD:libexpat1-dev', 'OLD:perl-doc'],
  },
  { title: 'upgraded again', apt: ['dist-upgrade'] },
  { title: 'postgresql', apt: ['install', 'postgresql-15'] },
  { title: 'configuration, locale, user', script: configuration },
  { title: 'ruby, php', apt: ['install', 'ruby', 'php-cli'] },
  { title: 'emacs', apt: ['install', 'emacs-nox'] },
  { title: 'nginx removed', apt: ['remove', 'nginx'] },
  { title: 'emacs purged', apt: ['purge', '--auto-remove', 'emacs-nox'] },
  { title: 'postgresql purged', apt: ['purge', '--auto-remove', 'postgresql-15'] },
]

/** Files for the archive of a chroot that is as it was built: all that the twelve take, and what they replace. */
export async function packagesOfTwelve(chroot: Chroot): Promise<string[]> {
  const files = new Set<string>()
  for (const change of twelveChanges) {
    if (!('apt' in change) || !['install', 'dist-upgrade'].includes(change.apt[0] ?? '')) continue
    if (change.apt.some((word) => word.startsWith(oldMark))) continue
    for (const file of await mirrorPackages(chroot, change.apt, { installed: true })) files.add(file)
  }
  return [...files]
}

const oldMark = 'OLD:'

/** Of the packages that one of the twelve takes back to what they were, by name. */
export async function versionsNow(chroot: Chroot): Promise<ReadonlyMap<string, string>> {
  const { stdout } = await chroot.run(['dpkg-query', '-W', '-f', '${Package} ${Version}\\n'])
  return new Map(
    stdout
      .trim()
      .split('\n')
      .map((line) => [line.split(' ')[0] ?? '', line.split(' ')[1] ?? '']),
  )
}

/** What to run, with the versions that there were at first. */
export function commandOf(change: SoftwareChange, atFirst: ReadonlyMap<string, string>): string[] {
  if ('script' in change) return ['sh', '-ec', change.script]
  const words = change.apt.map((word) => {
    if (!word.startsWith(oldMark)) return word
    const name = word.slice(oldMark.length)
    return `${name}=${atFirst.get(name) ?? ''}`
  })
  return ['apt-get', '-y', '-o', 'Dpkg::Options::=--force-confold', '--allow-downgrades', ...words]
}
