// What dpkg and apt of a machine over ssh say of all packages: their files, read there and kept in memory here.
import { VmlError } from '../base/failure.ts'
import { asRaw, rawFromBytes, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { dpkgDatabaseOf } from '../packages/dpkg-database.ts'
import { dpkgFilesOf } from '../packages/dpkg-files.ts'
import { checkStatus } from '../packages/dpkg-oracle.ts'
import type { DpkgState } from '../packages/dpkg-records.ts'
import {
  type DpkgPackages,
  dpkgPackagesOf,
  dpkgSystem,
  extendedStatesPath,
  planDpkgUndo,
  statusPath,
} from '../packages/dpkg-system.ts'
import { aliasesAmong, aliasPaths } from '../packages/merged-folders.ts'
import type { PackageSystem } from '../packages/package-system.ts'
import { readRemoteContents } from './remote-contents.ts'
import {
  makeRemoteFolder,
  readRemoteFile,
  type RemoteMachine,
  statusesOf,
  tryWork,
  work,
  writeRemoteFile,
} from './remote-machine.ts'
import { pathIn } from './workplace.ts'

const infoFolder = pathIn(rootPath, '/var/lib/dpkg/info')
const diversionsPath = pathIn(rootPath, '/var/lib/dpkg/diversions')
/** A full desktop has 60 MB of them; the largest package some 10. */
const fileBytesMax = 256 * 1024 * 1024
const allBytesMax = 1024 * 1024 * 1024
const listsMax = 200_000

/** What is kept of a machine's packages before a change lies in its own stage. */
export function remoteDpkg(machine: RemoteMachine): PackageSystem<DpkgPackages> {
  return {
    ...dpkgSystem,
    read: async () => await readDpkgThere(machine),
    async keep(_host, state, folder) {
      await work(machine, {
        script: `umask 077
mkdir "$1" && cp /var/lib/dpkg/status "$1/status" || exit
[ ! -f /var/lib/apt/extended_states ] || cp /var/lib/apt/extended_states "$1/extended_states"`,
        words: [folder],
        doing: 'keep the list of its packages',
      })
      return state
    },
    async readKept(_host, folder) {
      const now = await readDpkgThere(machine)
      const text = async (name: string) => {
        const bytes = await readRemoteFile(machine, pathIn(folder, name), fileBytesMax)
        return bytes && rawFromBytes(bytes)
      }
      const status = await text('status')
      if (now === undefined || status === undefined) return now
      // Whose a path was is asked of the packages as they are: those lists are changed already.
      return { ...now, state: { status, extendedStates: (await text('extended_states')) ?? '' } }
    },
    planUndo: async (host, now, undo) =>
      await planDpkgUndo(host, now, undo, async (target) => await checkThere(machine, target)),
  }
}

/** apt there is shown files of ours, and changes nothing. */
async function checkThere(machine: RemoteMachine, target: DpkgState) {
  const folder = await makeRemoteFolder(machine, 'plan')
  try {
    const [status, extendedStates] = [pathIn(folder, 'status'), pathIn(folder, 'extended_states')]
    await writeRemoteFile(machine, status, Buffer.from(target.status, 'latin1'))
    await writeRemoteFile(machine, extendedStates, Buffer.from(target.extendedStates, 'latin1'))
    return await checkStatus(machine.shell, { status, extendedStates, signal: machine.signal })
  } finally {
    await tryWork(machine, { script: 'rm -rf --one-file-system "$1"', words: [folder] })
  }
}

/** Undefined where the machine has no dpkg. */
async function readDpkgThere(machine: RemoteMachine): Promise<DpkgPackages | undefined> {
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
  const files = dpkgFilesOf(
    database,
    aliasesAmong((path) => folders.get(path)?.linkTarget),
  )
  return dpkgPackagesOf(files, { status, extendedStates: text(extendedStatesPath) ?? '' })
}
