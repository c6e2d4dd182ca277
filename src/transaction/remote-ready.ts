// Makes ready on a machine over ssh what its stage has: things without the marks of the overlay, in a folder beside the upper one, each at its own path.
import { VmlError } from '../base/failure.ts'
import { asRaw, printable } from '../base/raw-text.ts'
import { parentPath, type RawPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import { nulTerminated } from '../source/guest-script.ts'
import { upperOf } from '../stage/upper-walk.ts'
import type { MountPlan, StagedMount } from '../stage/mount-plan.ts'
import { packOptions, unpackOptions } from '../stage/remote-stage-script.ts'
import { inLayer, type ReadySource, type RemoteChanges } from './remote-changes.ts'
import { type RemoteMachine, work } from './remote-machine.ts'

/**
 * Where each path lies ready. Files come as further names of those in the upper folder, which costs no room; what has a mark is packed and unpacked by tar, since
 * nothing else on a plain machine takes an attribute off. Folders come last: what is put into one gives it another time.
 */
export async function makeReadyRemote(
  machine: RemoteMachine,
  plan: MountPlan,
  { changes, sources }: Pick<RemoteChanges, 'changes' | 'sources'>,
): Promise<Map<RawPath, RawPath>> {
  requirePlainCopies(sources, changes)
  const places = new Map<RawPath, RawPath>()
  for (const [overlay, some] of Map.groupBy(sources, (source) => source.overlay)) {
    for (const { path } of some) places.set(path, inLayer(overlay, 'ready', path))
    await makeLayerReady(machine, plan, { overlay, sources: some })
  }
  return places
}

async function makeLayerReady(
  machine: RemoteMachine,
  plan: MountPlan,
  { overlay, sources }: { readonly overlay: StagedMount; readonly sources: readonly ReadySource[] },
): Promise<void> {
  const upper = upperOf(plan, overlay)
  const ready = inLayer(overlay, 'ready', overlay.path)
  const named = (path: RawPath) => asRaw(inLayer(overlay, 'upper', path).slice(upper.length + 1))
  const isPacked = ({ kind }: ReadySource) => kind === 'pack'
  const packed = sources.filter(isPacked)
  const parents = new Set(sources.map(({ path }) => parentPath(path)))
  const pack = async (some: readonly ReadySource[]) => {
    const names = some.map(({ path }) => named(path)).filter((name) => name !== '')
    if (names.length === 0) return
    await work(machine, {
      script: `tar -c -f - --null --verbatim-files-from --no-unquote --no-recursion ${packOptions} -C "$1" -T - | tar -x -f - ${unpackOptions} -C "$2"`,
      words: [upper, ready],
      stdin: nulTerminated(names),
      doing: 'make the change ready',
    })
  }
  await pack(packed)
  // Names that are the same in both folders, some thousands, in one call.
  const own = sources.filter(
    ({ kind, path, from }) => kind === 'link' && from === inLayer(overlay, 'upper', path),
  )
  if (own.length > 0)
    await work(machine, {
      script: 'umask 022; cd "$1" && xargs -0 cp -P -l --parents -t "$2" --',
      words: [upper, ready],
      stdin: nulTerminated(own.map(({ path }) => named(path))),
      doing: 'make the change ready',
    })
  const others = sources.filter((source) => !isPacked(source) && !own.includes(source))
  if (others.length > 0)
    await work(machine, {
      script: `umask 022; xargs -0 -n 3 sh -c 'mkdir -p "\${3%/*}" || exit 255
if [ "$1" = link ]; then ln -P -T "$2" "$3"; else cp -P -T --preserve=mode,ownership,timestamps "$2" "$3"; fi || exit 255' sh`,
      stdin: nulTerminated(
        others.flatMap(({ kind, from, path }) => [asRaw(kind), from, inLayer(overlay, 'ready', path)]),
      ),
      doing: 'make the change ready',
    })
  // Once more: each has its time now.
  await pack(packed.filter(({ path }) => parents.has(path)))
}

/** A file that only the overlay's index has a name of is copied without its attributes: then it must have none. */
function requirePlainCopies(sources: readonly ReadySource[], changes: readonly PathChange[]): void {
  const copied = new Set(sources.flatMap(({ kind, path }) => (kind === 'copy' ? [path] : [])))
  const bad = changes.find(({ path, after }) => copied.has(path) && after?.xattrs !== undefined)
  if (bad === undefined) return
  throw new VmlError(
    'unsupported',
    `Cannot commit "${printable(bad.path)}": it has several names and attributes, and was written to by one of them`,
    { hint: 'Nothing was changed' },
  )
}
