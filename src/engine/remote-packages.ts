// What dpkg and apt of a machine over ssh say of all packages: their files, read there and kept in memory here.
import { VmlError } from '../base/failure.ts'
import { asRaw, rawFromBytes, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { dpkgDatabaseOf } from '../packages/dpkg-database.ts'
import { dpkgFilesOf } from '../packages/dpkg-files.ts'
import { aliasesAmong, aliasPaths } from '../packages/merged-folders.ts'
import { extendedStatesPath, type PackagesNow, statusPath } from './dpkg-state.ts'
import { readRemoteContents } from './remote-contents.ts'
import { type RemoteMachine, statusesOf, work } from './remote-machine.ts'
import { pathIn } from './workplace.ts'

const infoFolder = pathIn(rootPath, '/var/lib/dpkg/info')
const diversionsPath = pathIn(rootPath, '/var/lib/dpkg/diversions')
/** A full desktop has 60 MB of them; the largest package some 10. */
const fileBytesMax = 256 * 1024 * 1024
const allBytesMax = 1024 * 1024 * 1024
const listsMax = 200_000

/** Undefined where the machine has no dpkg. */
export async function readRemotePackages(machine: RemoteMachine): Promise<PackagesNow | undefined> {
  const names = await work(machine, {
    script: `[ -f /var/lib/dpkg/status ] || exit 0
find /var/lib/dpkg/info -mindepth 1 -maxdepth 1 -type f -name '*.list' -printf '%f\\0'`,
    doing: 'list its packages',
  })
  const lists = names.split('\0').filter((name) => /^[a-z0-9][a-z0-9+.:-]*\.list$/i.test(name))
  if (lists.length > listsMax)
    throw new VmlError(
      'remote.protocol',
      `Cannot understand ${machine.name}: it has more than ${listsMax} packages`,
    )
  const placeOf = (name: string): RawPath => parseRawPath(asRaw(`${infoFolder}/${name}`)) ?? infoFolder
  const contents = await readRemoteContents(
    machine,
    [statusPath, diversionsPath, extendedStatesPath, ...lists.map(placeOf)],
    { fileBytesMax, allBytesMax },
  )
  const text = (path: RawPath): RawText | undefined => {
    const bytes = contents.get(path)
    return bytes && rawFromBytes(bytes)
  }
  const status = text(statusPath)
  if (status === undefined) return undefined
  const database = dpkgDatabaseOf({
    status,
    diversions: text(diversionsPath),
    infoNames: new Set(lists),
    readInfo: (name) => text(placeOf(name)),
  })
  const folders = await statusesOf(machine, aliasPaths)
  return {
    state: { status, extendedStates: text(extendedStatesPath) ?? '' },
    files: dpkgFilesOf(
      database,
      aliasesAmong((path) => folders.get(path)?.linkTarget),
    ),
  }
}
