// A dependency that a set of packages does not keep, as the distribution's own checker names it.

export interface BrokenDependency {
  /** With `:architecture` where it is not the machine's own. */
  readonly package: string
  /** `Depends`, `PreDepends`, `Conflicts`, `Breaks`, … as the package manager writes it. */
  readonly relation: string
  /** Each of them would do, or, of a conflict, does harm. */
  readonly alternatives: readonly NeededPackage[]
}

export interface NeededPackage {
  readonly name: string
  /** `>= 1.2`, of the manager's own order. */
  readonly constraint?: string
  /** Packages that go and gave it, where it is none itself. */
  readonly providedBy?: readonly string[]
  /** The version that is, or would be, there. */
  readonly installed?: string
}

/** `vim : Depends: libgpm2 (>= 1.20.7) | libgpm3, which is not installed`. */
export function describeBroken({ package: name, relation, alternatives }: BrokenDependency): string {
  const needs = alternatives.map(
    ({ name: needed, constraint }) => `${needed}${constraint === undefined ? '' : ` (${constraint})`}`,
  )
  const installed = alternatives.flatMap(({ installed: version }) => (version === undefined ? [] : [version]))
  const state = installed.length === 0 ? 'is not installed' : `is installed as ${installed.join(', ')}`
  return `${name} : ${relation}: ${needs.join(' | ')}, which ${state}`
}
