// dpkg: what is installed on Debian and its kin, from dpkg-query or, where only the database is there, from its files.
import { compareVersions } from '../model/version-order.ts'
import type { InstalledPackage } from '../model/packages.ts'
import { askedBy, inquiryLimits } from './ask.ts'
import { lines, packageSet, paragraphs, parseTabbed } from './package-records.ts'
import type { PackageManager } from './package-manager.ts'

/**
 * A package counts as installed from when its files are unpacked to when they are removed, held or not: with
 * `half-configured` too, its files are those of the new version. (dpkg(1), "Package states".)
 */
const statesWithFiles = new Set([
  'installed',
  'triggers-pending',
  'triggers-awaited',
  'half-configured',
  'unpacked',
])

// Images without dpkg keep the same paragraphs, one file each and without a status, in status.d.
const script = `
if [ -f "$1/status" ] && command -v dpkg-query >/dev/null 2>&1; then
  echo query; exec dpkg-query --admindir="$1" -W -f "$2"
fi
found=
for file in "$1/status" "$1"/status.d/*; do
  case $file in *.md5sums) continue;; esac
  [ -f "$file" ] || continue
  [ "$found" ] || echo files
  found=1; cat "$file" || exit 1; echo; echo
done
[ "$found" ] || exit 3`

/** dpkg-query takes the escapes itself. */
const format = '${db:Status-Status}\\t${Package}\\t${Version}\\t${Architecture}\\n'

/** `database` is dpkg's `--admindir`. */
export function openDpkg({ database = '/var/lib/dpkg' }: { database?: string } = {}): PackageManager {
  return askedBy({
    name: 'dpkg',
    inquiry: { script, words: [database, format], ...inquiryLimits },
    parse(answer, label) {
      const found = answer.kind === 'query' ? fromQuery(answer.text, label) : fromFiles(answer.text)
      return packageSet('dpkg', found, label)
    },
    compareVersions: (left, right) => compareVersions('dpkg', left, right),
  })
}

function* fromQuery(text: string, label: string): Iterable<InstalledPackage> {
  for (const line of lines(text)) {
    const tab = line.indexOf('\t')
    // A package that is only known, such as one that another one recommends, has no version.
    if (tab === -1 || statesWithFiles.has(line.slice(0, tab)))
      yield parseTabbed(line.slice(tab + 1), { manager: 'dpkg', label })
  }
}

const keys = new Set(['Package', 'Status', 'Version', 'Architecture'])

function* fromFiles(text: string): Iterable<InstalledPackage> {
  for (const fields of paragraphs(text, keys)) {
    const state = fields.get('Status')?.split(/\s+/)[2]
    if (state !== undefined && !statesWithFiles.has(state)) continue
    yield {
      name: fields.get('Package') ?? '',
      version: fields.get('Version') ?? '',
      architecture: fields.get('Architecture') ?? 'all',
    }
  }
}
