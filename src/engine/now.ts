// The machine as it is now, as one side of a comparison: files that did not change since an entry carry its content.
import type { Reporter } from '../base/progress.ts'
import type { PackageSet } from '../model/packages.ts'
import type { RawPath } from '../model/raw-path.ts'
import { baseName, parentPath, rootPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { readMachinePackages } from '../packages/machine-packages.ts'
import type { Repository } from '../store/store.ts'
import type { Survey } from './capture.ts'
import type { CapturedFile } from './captured-files.ts'
import type { Side } from './compare-side.ts'
import { baseFactsOf, variablesOf } from './entry-documents.ts'
import { rawPathOf } from './protection.ts'
import { type OpenMachine, type SaveBase, type SaveRequest, surveyMachine } from './save.ts'

export interface NowRequest {
  readonly open: OpenMachine
  readonly repository: Repository
  /** What it is compared with: its roots and rules are looked at again. */
  readonly base: SaveBase
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

export interface Now {
  readonly side: Side
  readonly survey: Survey
}

/** Looks at the machine; files that may have changed are not read here: a comparison asks for their digests. */
export async function lookAtNow(request: NowRequest): Promise<Now> {
  const { open, base, signal } = request
  const survey = await surveyMachine(request, requestOf(base))
  const packages = await readMachinePackages(open.packageManagers, open.shell, { signal })
  return { side: sideNow({ open, base, survey, packages }), survey }
}

/** Of what was found when the machine was looked at. */
export function sideNow({
  open,
  base,
  survey,
  packages,
}: Pick<NowRequest, 'open' | 'base'> & {
  readonly survey: Survey
  readonly packages: PackageSet | undefined
}): Side {
  return {
    label: 'now',
    tree: { children: foldersOf(survey.files) },
    facts: baseFactsOf(open.facts),
    fidelity: open.source.fidelity,
    environment: variablesOf(open.facts),
    ...(packages ? { packages } : {}),
    scope: scopeNow(base, survey),
  }
}

/** The question that the entry answered, asked again. */
export function requestOf({
  document,
}: SaveBase): Pick<SaveRequest, 'mode' | 'include' | 'exclude' | 'only' | 'caches'> {
  const of = (why: string) =>
    document.roots.filter((root) => root.why === why).flatMap(({ raw }) => rawPathOf(raw) ?? [])
  return {
    mode: 'incremental',
    include: of('include'),
    exclude: document.rules.exclude,
    only: of('only'),
    caches: document.caches.flatMap(({ name, raw }) => {
      const path = rawPathOf(raw)
      return path === undefined ? [] : [{ name, path }]
    }),
  }
}

function foldersOf(
  files: ReadonlyMap<RawPath, CapturedFile>,
): (path: RawPath) => Promise<readonly TreeNode[]> {
  const folders = new Map<RawPath, TreeNode[]>()
  for (const [path, { attributes, content }] of files) {
    if (path === rootPath) continue
    const node: TreeNode = {
      ...attributes,
      name: baseName(path),
      ...(content === undefined ? {} : { content }),
    }
    const siblings = folders.get(parentPath(path))
    if (siblings) siblings.push(node)
    else folders.set(parentPath(path), [node])
  }
  for (const nodes of folders.values()) nodes.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  return (path) => Promise.resolve(folders.get(path) ?? [])
}

function scopeNow({ document }: SaveBase, found: Survey): NonNullable<Side['scope']> {
  const unread = found.problems.filter(
    ({ problem }) => problem !== 'vanished' && problem !== 'changed-while-read',
  )
  return {
    roots: document.roots.flatMap(({ raw }) => rawPathOf(raw) ?? []),
    excluded: new Set(found.excluded.map(({ path }) => path)),
    unreadable: new Set(unread.flatMap(({ raw }) => rawPathOf(raw) ?? [])),
    mounts: new Set(found.mounts.map(({ path }) => path)),
    gaps: new Set(
      unread
        .filter(({ problem }) => problem === 'unreadable' || problem === 'dead-mount')
        .flatMap(({ raw }) => rawPathOf(raw) ?? []),
    ),
  }
}
