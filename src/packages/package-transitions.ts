// What became of packages, in the short form that a record keeps.
import type { PackageOrigin, PackageRecord, PackageVersion } from '../model/package-record.ts'
import type { PackageTransition } from '../model/transaction-record.ts'

/** A line of the record takes no more. */
const originCharactersMax = 4096

/** Of a version without files nothing is told: it is not installed. */
export function transitionOf({
  name,
  architecture,
  fate,
  before,
  after,
  reasons,
}: PackageRecord): PackageTransition {
  const from = installed(before)
  const to = installed(after)
  const last = after ?? before
  const neededBy = to === undefined ? [] : [...new Set(reasons.map((reason) => reason.package))]
  const origin = last?.origin && describeOrigin(last.origin)
  return {
    name,
    architecture,
    fate,
    ...(from === undefined ? {} : { from: from.version }),
    ...(to === undefined ? {} : { to: to.version }),
    ...(last === undefined ? {} : { automatic: last.automatic }),
    ...(neededBy.length === 0 ? {} : { neededBy }),
    ...(origin === undefined ? {} : { origin }),
    ...(last?.section === undefined ? {} : { section: last.section }),
    ...(last === undefined ? {} : { source: `${last.source.name}=${last.source.version}` }),
  }
}

function installed(version: PackageVersion | undefined): PackageVersion | undefined {
  return version?.state === 'config-files' ? undefined : version
}

/** `Debian-Security oldstable-security/main (deb.debian.org)`, one after the other where several sources have it. */
function describeOrigin({ sources }: PackageOrigin): string | undefined {
  const texts = sources.map(({ address, label, archive, component, site }) =>
    [
      label ?? address,
      ...(archive === undefined ? [] : [component === undefined ? archive : `${archive}/${component}`]),
      ...(site === undefined ? [] : [`(${site})`]),
    ].join(' '),
  )
  return texts.length === 0 ? undefined : texts.join(', ').slice(0, originCharactersMax)
}
