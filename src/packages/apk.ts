// apk: what is installed on Alpine and its kin, from apk's own database file.
import { compareVersions } from '../model/version-order.ts'
import type { InstalledPackage } from '../model/packages.ts'
import { askedBy, inquiryLimits } from './ask.ts'
import { packageSet, paragraphs } from './package-records.ts'
import type { PackageManager } from './package-manager.ts'

// The file holds a line per file of each package: only name (P), version (V), architecture (A) and the empty line
// between packages come over (apk-package(5)).
const script = `
for file; do
  [ -f "$file" ] || continue
  echo records; grep -e '^[PVA]:' -e '^$' "$file" || [ $? = 1 ] || exit 1
  exit 0
done
exit 3`

/** `databases`: where the file may lie, first found first taken. */
export function openApk({
  databases = ['/lib/apk/db/installed', '/usr/lib/apk/db/installed'],
}: { databases?: readonly string[] } = {}): PackageManager {
  return askedBy({
    name: 'apk',
    inquiry: { script, words: databases, ...inquiryLimits },
    parse(answer, label) {
      return packageSet('apk', records(answer.text), label)
    },
    compareVersions: (left, right) => compareVersions('apk', left, right),
  })
}

const keys = new Set(['P', 'V', 'A'])

function* records(text: string): Iterable<InstalledPackage> {
  for (const fields of paragraphs(text, keys))
    yield {
      name: fields.get('P') ?? '',
      version: fields.get('V') ?? '',
      architecture: fields.get('A') ?? 'noarch',
    }
}
