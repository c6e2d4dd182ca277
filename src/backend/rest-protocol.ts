// A repository behind restic's REST protocol (restic, doc/REST_backend.rst), whatever carries the requests.
import { systemClock } from '../base/clock.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import type { Backend, CallOptions, FileKind, FileRef } from './backend.ts'
import { answerFailure, type HttpTask } from './http-failure.ts'
import { readOverHttp, sizeToldBy } from './http-read.ts'
import type { HttpAnswer, HttpClient, HttpRequest } from './http-request.ts'
import { lookForPut, otherContent } from './present-file.ts'
import { fileBytesMax, fileLabel, fileNamePattern, folderAndName, folderOf } from './repository-path.ts'
import { parseRestList } from './rest-list.ts'

export interface RestStorage {
  readonly client: HttpClient
  /** For messages; never a secret. */
  readonly location: string
  /** Path of the repository on the server, percent-encoded, with a slash at its end. */
  readonly root: string
  readonly connections: number
  /** Such as `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>
  /** How long after its config was written a repository must keep it to be ours. Default: a second. */
  readonly settleMs?: number
}

/** One put of a name at a time, of all backends of this thread: a server may mix up two. */
const puts = new Map<string, Promise<void>>()

export function openRestStorage(storage: RestStorage): Backend {
  const { client, location, root } = storage
  const send = async ({
    method,
    path,
    ...what
  }: Pick<HttpRequest, 'method' | 'path' | 'body' | 'answerBytesMax' | 'signal'> & {
    readonly headers?: Readonly<Record<string, string>>
  } & Omit<HttpTask, 'location'>): Promise<HttpAnswer> =>
    await client.send({
      ...what,
      method,
      path: `${root}${path}`,
      location,
      headers: { accept: versionTwo, ...storage.headers, ...what.headers },
    })
  const pathOf = (file: FileRef) => {
    const { folder, name } = folderAndName(file)
    return `${folder}${name}`
  }

  /** Of a 404: whether the file is really not there (see `claimsTooMuch`). Fails where that cannot be told. */
  const requireAbsent = async (task: HttpTask, answer: HttpAnswer, { signal }: CallOptions) => {
    if (!claimsTooMuch(answer)) return
    const listing = await send({ ...task, method: 'GET', path: `${folderOf.lock}/`, changes: false, signal })
    if (listing.status !== 200) throw answerFailure(task, { ...listing, status: 500 }, 'not even a listing')
  }

  const head = async (file: FileRef, { signal }: CallOptions, { sure } = { sure: true }) => {
    const task = { task: `look at ${fileLabel(file)}`, changes: false, location }
    const ask = async () => await send({ ...task, method: 'HEAD', path: pathOf(file), signal })
    let answer = await ask()
    if (answer.status === 404 && !sure) return undefined
    if (answer.status === 404) {
      await requireAbsent(task, answer, { signal })
      if (claimsTooMuch(answer)) answer = await ask()
      if (answer.status === 404) return undefined
    }
    if (answer.status !== 200) throw answerFailure(task, answer)
    return sizeToldBy(task, answer)
  }

  const get: Backend['get'] = async (file, range, { signal } = {}) => {
    signal?.throwIfAborted()
    const task = { task: `read ${fileLabel(file)}`, changes: false, location }
    const size = async () => await head(file, { signal })
    return await readOverHttp({
      task,
      range,
      size,
      ask: async (headers, answerBytesMax) =>
        await send({ ...task, method: 'GET', path: pathOf(file), headers, answerBytesMax, signal }),
      doubt: async (answer) =>
        claimsTooMuch(answer) && (await size()) !== undefined
          ? answerFailure(task, { ...answer, status: 500 }, 'it is there and is not given')
          : undefined,
      refused: (answer) => answerFailure(task, answer),
    })
  }

  const size: Backend['size'] = async (file, options = {}) => {
    options.signal?.throwIfAborted()
    return await head(file, options)
  }

  /** What bears the name of its content may be written over with that: there, "not there" need not be sure. */
  const beforePut = {
    location,
    get,
    size: async (file: FileRef, options: CallOptions = {}) =>
      await head(file, options, { sure: file.kind === 'config' }),
  }

  const post = async (file: FileRef, data: Uint8Array, { signal }: CallOptions) => {
    const task = { task: `write ${fileLabel(file)}`, changes: true, location }
    const answer = await send({
      ...task,
      method: 'POST',
      path: pathOf(file),
      headers: { 'content-type': 'application/octet-stream' },
      body: data,
      signal,
    })
    if (answer.status === 200 || answer.status === 201) return
    // restic's own server refuses so what is there already, and what may only be added to.
    if (answer.status === 403 && (await lookForPut(beforePut, file, data, { signal })) === 'same') return
    throw answerFailure(task, answer)
  }

  /** rclone remembers what it has seen, with its size of then, until it lists. */
  const haveForgotten = async ({ kind }: FileRef, { signal }: CallOptions) => {
    if (kind === 'config') return
    const asked = { task: `list every ${kind}`, changes: false, path: `${folderOf[kind]}/` }
    await send({ ...asked, method: 'GET', answerBytesMax: listBytesMax, signal })
  }

  const remove: Backend['remove'] = async (file, { signal } = {}) => {
    signal?.throwIfAborted()
    const task = { task: `remove ${fileLabel(file)}`, changes: true, location }
    const answer = await send({ ...task, method: 'DELETE', path: pathOf(file), signal })
    if (answer.status === 200 || answer.status === 204) return
    if (answer.status !== 404 && !(answer.status >= 500 && isRclone(answer)))
      throw answerFailure(task, answer)
    if (isRclone(answer)) await haveForgotten(file, { signal })
    if ((await head(file, { signal })) !== undefined) throw answerFailure(task, { ...answer, status: 500 })
  }

  async function* list(kind: FileKind, { signal }: CallOptions = {}) {
    signal?.throwIfAborted()
    if (kind === 'config') {
      const bytes = await head({ kind, name: '' }, { signal })
      if (bytes !== undefined) yield { name: '', size: bytes }
      return
    }
    // Nothing could ever put one.
    if (kind === 'parity') return
    const task = { task: `list every ${kind}`, changes: false, location }
    const path = `${folderOf[kind]}/`
    const answer = await send({ ...task, method: 'GET', path, answerBytesMax: listBytesMax, signal })
    if (answer.status === 404 && !isRclone(answer)) {
      // A folder that was never needed; but the repository itself must be there.
      if ((await head({ kind: 'config', name: '' }, { signal })) !== undefined) return
      throw new VmlError('not-found', `Cannot ${task.task} in "${location}": no repository is there`, {
        details: { location },
      })
    }
    // rclone lists what is not there as nothing, and says 404 when it cannot tell.
    if (answer.status !== 200)
      throw answerFailure(task, answer.status === 404 ? { ...answer, status: 500 } : answer)
    for (const item of parseRestList(answer, location)) {
      signal?.throwIfAborted()
      if (!fileNamePattern.test(item.name)) continue
      const bytes = item.size ?? (await head({ kind, name: item.name }, { signal }))
      if (bytes !== undefined) yield { name: item.name, size: bytes }
    }
  }

  /**
   * Order: what is there is looked at, then the file is sent; of config, what is there a moment later decides.
   * A part of the file that does not become the whole one is what an earlier try has left, and goes.
   */
  const putAlone = async (file: FileRef, data: Uint8Array, options: CallOptions) => {
    for (let looks = 1; ; looks++) {
      const found = await lookForPut(beforePut, file, data, options).catch(async (error: unknown) => {
        // Some servers show a file that grows, and break off a read of it.
        if (looks === looksMax || !isFailure(error, 'unavailable.network')) throw error
        if (looks % 4 === 0) await haveForgotten(file, options)
        return 'torso' as const
      })
      if (found === 'same') return
      if (found === 'torso' && looks < looksMax) {
        await pause(lookPauseMs, options)
        continue
      }
      if (found === 'torso') await remove(file, options)
      try {
        await post(file, data, options)
        break
      } catch (error) {
        // Somebody else may have sent the same one at this moment.
        if (looks >= looksMax || !isFailure(error, 'unavailable.network') || !('status' in error.details))
          throw error
        await pause(lookPauseMs, options)
        if ((await size(file, options)) === undefined) throw error
      }
    }
    if (file.kind === 'config') await requireSettled(data, options)
  }

  /**
   * The protocol has no "only if it is new". Of two programs that make a repository in one place at the same time
   * the later one writes over the config of the other; who finds another config than its own has not made it.
   */
  const requireSettled = async (data: Uint8Array, { signal }: CallOptions) => {
    await pause(storage.settleMs ?? settleMsDefault, { signal })
    const config: FileRef = { kind: 'config', name: '' }
    if (!(await get(config, undefined, { signal })).equals(data)) throw otherContent(location, config)
  }

  return {
    location,
    traits: { connections: storage.connections, readOnly: false },
    async create({ signal } = {}) {
      signal?.throwIfAborted()
      const task = { task: 'make a logbook', changes: true, location }
      if ((await head({ kind: 'config', name: '' }, { signal })) !== undefined)
        throw new VmlError('exists', `Cannot make a logbook in "${location}": one is there`)
      const answer = await send({ ...task, method: 'POST', path: '?create=true', signal })
      if (answer.status !== 200 && answer.status !== 201) throw answerFailure(task, answer)
    },
    async put(file, data, options = {}) {
      options.signal?.throwIfAborted()
      const label = fileLabel(file)
      // The protocol has restic's own kinds of files and no other.
      if (file.kind === 'parity')
        throw new VmlError(
          'unsupported',
          `Cannot keep recovery data in "${location}": the protocol has no place for it`,
        )
      if (data.length > fileBytesMax)
        throw new VmlError('unsupported', `Cannot write ${label} in "${location}": it is too large`)
      const key = `${location} ${pathOf(file)}`
      const before = puts.get(key) ?? Promise.resolve()
      const mine = before.then(async () => await putAlone(file, data, options))
      const settled = mine.catch(() => {})
      puts.set(key, settled)
      try {
        await mine
      } finally {
        if (puts.get(key) === settled) puts.delete(key)
      }
    },
    get,
    size,
    list,
    remove,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
    },
  }
}

const versionTwo = 'application/vnd.x.restic.rest.v2'
const settleMsDefault = 1000
// A part of a file that is another's put at work grows meanwhile, or is gone.
const looksMax = 20
const lookPauseMs = 100
// A million packs are 16 TiB and a listing of 90 MB.
const listBytesMax = 256 * 1024 * 1024

async function pause(ms: number, options: CallOptions): Promise<void> {
  await systemClock.sleep(ms, options)
}

function isRclone(answer: HttpAnswer): boolean {
  return serverOf(answer).startsWith('rclone/')
}

/** rclone before 1.66 says "404" of any trouble with what lies behind it (rclone, pull request 7550). */
function claimsTooMuch(answer: HttpAnswer): boolean {
  const match = /^rclone\/v1\.(\d+)\./.exec(serverOf(answer))
  return match !== null && Number(match[1]) < 66
}

function serverOf({ headers }: HttpAnswer): string {
  const { server } = headers
  return typeof server === 'string' ? server : ''
}
