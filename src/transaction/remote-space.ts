// Whether a machine over ssh has room for a commit or an undo, asked there before anything is changed (A4).
import { VmlError } from '../base/failure.ts'
import { parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { nulTerminated } from '../source/guest-script.ts'
import { withFoldersAbove } from '../stage/listed-disk.ts'
import type { RemoteChanges } from './remote-changes.ts'
import { type RemoteMachine, statusesOf, work } from './remote-machine.ts'
import { recordMarginBytes, type Room, type SpaceNeed, type Standing, undoRooms } from './space-need.ts'
import type { UndoPlan } from './undo.ts'

/** What is new lies on the right file system, and is moved; but what has a mark of the overlay's is copied before. The record lies here. */
export async function remoteCommitNeeds(
  machine: RemoteMachine,
  { changes, sources }: Pick<RemoteChanges, 'changes' | 'sources'>,
): Promise<SpaceNeed[]> {
  const sizes = new Map(changes.map(({ path, after }) => [path, after?.size ?? 0]))
  const rooms = new Map<string, Room>([
    [machine.state, { folder: machine.state, neededBytes: recordMarginBytes }],
  ])
  for (const { path, overlay, kind } of sources) {
    if (kind === 'link') continue
    const room = rooms.get(overlay.layer) ?? { folder: overlay.layer, neededBytes: 0 }
    rooms.set(overlay.layer, { ...room, neededBytes: room.neededBytes + (sizes.get(path) ?? 0) })
  }
  return await withFree(machine, [...rooms.values()])
}

export async function remoteUndoNeeds(machine: RemoteMachine, plan: UndoPlan): Promise<SpaceNeed[]> {
  const above = plan.paths.paths.flatMap(({ path, wanted }) =>
    wanted?.type === 'file' ? [...withFoldersAbove(parentPath(path))] : [],
  )
  const folders = await statusesOf(machine, [...new Set([...withFoldersAbove(machine.state), ...above])])
  const standing = (path: RawPath): Standing<bigint | undefined> => {
    for (const folder of withFoldersAbove(path)) {
      const found = folders.get(folder)
      if (found?.type === 'dir') return { folder, device: found.deviceId }
    }
    return { folder: rootPath, device: undefined }
  }
  const rooms = undoRooms(plan, {
    own: standing(machine.state),
    standing: (path) => standing(parentPath(path)),
  })
  return await withFree(machine, rooms)
}

/** As statfs(2) tells it to whoever is not root. */
async function withFree(machine: RemoteMachine, rooms: readonly Room[]): Promise<SpaceNeed[]> {
  const said = await work(machine, {
    script: `xargs -0 -n 1 stat -f -c '%a %S' --`,
    stdin: nulTerminated(rooms.map(({ folder }) => folder)),
    doing: 'ask for free space',
  })
  const lines = said.split('\n')
  return rooms.map((room, at) => {
    const [, blocks, size] = /^(\d{1,18}) (\d{1,10})$/.exec(lines[at] ?? '') ?? []
    if (blocks === undefined || size === undefined)
      throw new VmlError(
        'remote.protocol',
        `Cannot understand ${machine.name}: it does not say how much space is free`,
      )
    return { ...room, freeBytes: Number(BigInt(blocks) * BigInt(size)) }
  })
}
