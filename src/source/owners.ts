// Who the owners of listed files are: a few, each named by a look at one path of theirs.
import type { RawText } from '../base/raw-text.ts'
import { joinPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import type { Tools } from './probe.ts'
import type { ListedSink, OwnerNames, ScanRecord } from './source.ts'
import { statFiles } from './stat.ts'

/** The sink, with an eye on the owners of what goes there. */
export function watchedSink(sink: ListedSink, owners: Owners): ListedSink {
  let folder = rootPath
  let uid = -1
  let gid = -1
  return {
    enter(path) {
      folder = path
      sink.enter(path)
    },
    add(path) {
      if (path.uid !== uid || path.gid !== gid) {
        ;({ uid, gid } = path)
        const name = path.names.toString('latin1', path.nameStart, path.nameEnd) as RawName
        owners.note(path, joinPath(folder, name))
      }
      sink.add(path)
    },
  }
}

type Owners = ReturnType<typeof openOwners>

export function openOwners() {
  const users = new Map<number, RawPath>()
  const groups = new Map<number, RawPath>()
  const note = ({ uid, gid }: { readonly uid: number; readonly gid: number }, path: RawPath): void => {
    if (!users.has(uid) && users.size < ownersMax) users.set(uid, path)
    if (!groups.has(gid) && groups.size < ownersMax) groups.set(gid, path)
  }
  return {
    note,
    async *watch(records: AsyncIterable<ScanRecord>): AsyncIterable<ScanRecord> {
      for await (const record of records) {
        if (record.kind === 'item') note(record.attributes, record.path)
        yield record
      }
    },
    async name(shell: Shell, tools: Tools, signal: AbortSignal | undefined): Promise<OwnerNames> {
      const found = { users: new Map<number, RawText>(), groups: new Map<number, RawText>() }
      const samples = [...new Set([...users.values(), ...groups.values()])]
      for await (const record of statFiles(shell, tools, samples, signal)) {
        if (record.kind !== 'item') continue
        const { uid, gid, user, group } = record.attributes
        if (user !== undefined) found.users.set(uid, user)
        if (group !== undefined) found.groups.set(gid, group)
      }
      return found
    },
  }
}

/** More are numbers only: a machine of so many users has them elsewhere. */
const ownersMax = 10_000
