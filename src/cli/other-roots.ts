// Whether a save is of other folders than the last entry of the machine: nothing of `--only` and its like is remembered.
import { printable } from '../base/raw-text.ts'
import { entryName } from '../engine/entries.ts'
import type { OpenMachine, SaveBase, SaveRequest } from '../engine/save.ts'
import { rawPathOf } from '../engine/protection.ts'
import { findRealPaths } from '../source/real-paths.ts'
import type { EntryDocument } from '../model/entry.ts'
import type { RawPath } from '../model/raw-path.ts'

interface Root {
  readonly path: RawPath
  readonly why: EntryDocument['roots'][number]['why']
}

const pathsShown = 3

/** `#4 was of /home/lab/proj only (--only); this one is of the home`; undefined where both are of the same. */
export async function describeOtherRoots(
  open: Pick<OpenMachine, 'facts' | 'shell'>,
  request: Pick<SaveRequest, 'only' | 'include' | 'caches'>,
  { entry, document }: SaveBase,
  signal: AbortSignal,
): Promise<string | undefined> {
  const before = document.roots.flatMap(({ raw, why }): Root[] => {
    const path = rawPathOf(raw)
    return path === undefined ? [] : [{ path, why }]
  })
  const typed: Root[] = [
    ...(request.only.length === 0 ? [{ path: open.facts.user.home, why: 'home' as const }] : []),
    ...request.only.map((path) => ({ path, why: 'only' as const })),
    ...request.include.map((path) => ({ path, why: 'include' as const })),
    ...request.caches.map(({ path }) => ({ path, why: 'cache' as const })),
  ]
  if (sameRoots(before, typed)) return undefined
  // The entry has the real names.
  const real = await findRealPaths(
    open.shell,
    typed.map(({ path }) => path),
    signal,
  )
  const asked = typed.map(({ path, why }, index) => ({ path: real[index] ?? path, why }))
  if (sameRoots(before, asked)) return undefined
  return `${entryName(entry)} was of ${describeRoots(before)}; this one is of ${describeRoots(asked)}`
}

function sameRoots(left: readonly Root[], right: readonly Root[]): boolean {
  const paths = new Set(left.map(({ path }) => path))
  const others = new Set(right.map(({ path }) => path))
  return paths.size === others.size && [...others].every((path) => paths.has(path))
}

function describeRoots(roots: readonly Root[]): string {
  const of = (why: Root['why']) => roots.filter((root) => root.why === why).map(({ path }) => path)
  const list = (paths: readonly RawPath[]) => {
    const more = paths.length > pathsShown ? ` and ${paths.length - pathsShown} more` : ''
    return `${paths.slice(0, pathsShown).map(printable).join(', ')}${more}`
  }
  const [only, include, cache] = [of('only'), of('include'), of('cache')]
  return [
    only.length > 0 ? `${list(only)} only (--only)` : '',
    of('home').length > 0 ? 'the home' : '',
    include.length > 0 ? `${list(include)} (--include)` : '',
    cache.length > 0 ? `${list(cache)} (--cache)` : '',
  ]
    .filter((part) => part !== '')
    .join(', ')
}
