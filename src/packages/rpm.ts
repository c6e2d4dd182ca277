// rpm: what is installed on Fedora, Red Hat, SUSE and their kin.
import { compareVersions } from '../model/version-order.ts'
import type { InstalledPackage } from '../model/packages.ts'
import { askedBy, inquiryLimits } from './ask.ts'
import { lines, packageSet, parseTabbed } from './package-records.ts'
import type { PackageManager } from './package-manager.ts'

// rpm makes an empty database where it finds none, and where Debian has rpm there is none: look before asking.
const script = `
command -v rpm >/dev/null 2>&1 || exit 3
format=$1; shift
for folder; do
  for file in "$folder"/rpmdb.sqlite "$folder"/Packages "$folder"/Packages.db; do
    if [ -f "$file" ]; then echo query; exec rpm --dbpath "$folder" -qa --qf "$format"; fi
  done
done
exit 3`

/** An absent epoch is left out, as rpm shows it. */
const format = '%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\n'

/** `databases`: where the database may lie, first found first taken. */
export function openRpm({
  databases = ['/usr/lib/sysimage/rpm', '/var/lib/rpm'],
}: { databases?: readonly string[] } = {}): PackageManager {
  return askedBy({
    name: 'rpm',
    inquiry: { script, words: [format, ...databases], ...inquiryLimits },
    parse(answer, label) {
      return packageSet('rpm', records(answer.text, label), label)
    },
    compareVersions: (left, right) => compareVersions('rpm', left, right),
  })
}

function* records(text: string, label: string): Iterable<InstalledPackage> {
  for (const line of lines(text)) yield parseTabbed(line, { manager: 'rpm', label })
}
