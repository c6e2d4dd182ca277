// A repository in a bucket of S3 (Ceph RGW, Amazon, MinIO), laid out as restic does. A put is one request: files end at 512 MiB, far below the 5 GiB of one PUT.
import { randomBytes } from 'node:crypto'
import { systemClock, type Clock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'
import { readAwsCredentials } from './aws-credentials.ts'
import { type AwsCredentials, encodeAws, signAws } from './aws-signature.ts'
import type { Backend, CallOptions, FileKind, FileRef } from './backend.ts'
import { answerFailure, wayFailure, type HttpTask } from './http-failure.ts'
import { readOverHttp, sizeToldBy } from './http-read.ts'
import { openHttpClient, type HttpAnswer, type HttpRequest, type HttpTimes } from './http-request.ts'
import { lookForPut, otherContent } from './present-file.ts'
import { fileBytesMax, fileLabel, fileNamePattern, folderOf, pathInRepository } from './repository-path.ts'
import { parseS3Error, parseS3Listing } from './s3-answers.ts'
import { regionOf, s3LocationText, type S3Location } from './s3-location.ts'

export interface S3Options extends HttpTimes {
  /** `AWS_ACCESS_KEY_ID` and so on (see readAwsCredentials), `AWS_REGION`; a proxy and certificates, see openHttpClient. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  readonly clock?: Clock
  /** Where the server has no conditional writes: how long after its config was written a repository must keep it. */
  readonly settleMs?: number
}

type Asked = Pick<HttpRequest, 'method' | 'body' | 'answerBytesMax' | 'signal'> &
  HttpTask & {
    /** In the bucket; undefined is the bucket itself. */
    readonly key?: string
    readonly query?: Readonly<Record<string, string>>
    readonly headers?: Readonly<Record<string, string>>
  }

// As restic does.
const connections = 5
const settleMsDefault = 1000
const pageBytesMax = 16 * 1024 * 1024
// A thousand names each: ten million files.
const pagesMax = 10_000
/** Files are named for their content: a second damaged one of a name is rare, and a hundredth is a mistake. */
const asideCopiesMax = 100

/** Nothing is asked of the server, and no keys are read, before the first call. */
export function openS3Backend(place: S3Location, options: S3Options = {}): Backend {
  const { environment = {}, clock = systemClock, settleMs = settleMsDefault, ...times } = options
  const { origin, bucket, prefix } = place
  const location = s3LocationText(place)
  const client = openHttpClient(origin, { ...times, connections, environment })
  let region = environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION'] || regionOf(place)
  let credentials: Promise<AwsCredentials> | undefined
  const root = prefix === '' ? '' : `${prefix}/`
  const keyOf = (file: FileRef) => `${root}${pathInRepository(file)}`

  const send = async ({ key, query = {}, headers = {}, ...asked }: Asked): Promise<HttpAnswer> => {
    asked.signal?.throwIfAborted()
    credentials ??= readAwsCredentials(environment)
    const known = await credentials
    const path = `/${[bucket, ...(key ?? '').split('/')].map(encodeAws).join('/')}`
    const once = async () => {
      const { body, method } = asked
      const signed = signAws(
        { method, host: origin.host, path, query, headers, ...(body === undefined ? {} : { body }) },
        { credentials: known, region, service: 's3', now: clock.now() },
      )
      return await client.send({
        ...asked,
        path: signed.query === '' ? path : `${path}?${signed.query}`,
        headers: signed.headers,
      })
    }
    const answer = await once()
    const told = regionTold(answer)
    if (told === undefined || told === region) return answer
    // The bucket lies in another region than was thought: signed for that one, once.
    region = told
    return await once()
  }
  const taskOf = (task: string, changes = false): HttpTask => ({ task, changes, location })

  const head = async (file: FileRef, { signal }: CallOptions) =>
    await headKey(keyOf(file), taskOf(`look at ${fileLabel(file)}`), signal)
  const headKey = async (key: string, task: HttpTask, signal: AbortSignal | undefined) => {
    const answer = await send({ ...task, method: 'HEAD', key, signal })
    if (answer.status === 404) return undefined
    if (answer.status !== 200) throw refused(task, answer)
    return sizeToldBy(task, answer)
  }

  const get: Backend['get'] = async (file, range, { signal } = {}) => {
    signal?.throwIfAborted()
    const task = taskOf(`read ${fileLabel(file)}`)
    return await readOverHttp({
      task,
      range,
      size: async () => await head(file, { signal }),
      ask: async (headers, answerBytesMax) =>
        await send({ ...task, method: 'GET', key: keyOf(file), headers, answerBytesMax, signal }),
      refused: (answer) => refused(task, answer),
    })
  }

  const size: Backend['size'] = async (file, callOptions = {}) => {
    callOptions.signal?.throwIfAborted()
    return await head(file, callOptions)
  }

  /** Whether the object was made; false where one is there already and the server has looked for that. */
  const putNew = async (task: HttpTask, key: string, data: Uint8Array, { signal }: CallOptions) => {
    const headers = { 'content-type': 'application/octet-stream' }
    const asked = { ...task, method: 'PUT' as const, key, body: data, signal }
    let answer = await send({ ...asked, headers: { ...headers, 'if-none-match': '*' } })
    // Some servers refuse what they do not know.
    if (answer.status === 501) answer = await send({ ...asked, headers })
    if (answer.status === 200) return true
    if (answer.status === 412) return false
    if (answer.status === 409)
      throw wayFailure(task, 'unavailable.network', 'another request for it was at work (409)')
    throw refused(task, answer)
  }

  const remove: Backend['remove'] = async (file, { signal } = {}) => {
    signal?.throwIfAborted()
    await removeKey(keyOf(file), taskOf(`remove ${fileLabel(file)}`, true), signal)
  }
  const removeKey = async (key: string, task: HttpTask, signal: AbortSignal | undefined) => {
    const answer = await send({ ...task, method: 'DELETE', key, signal })
    if (answer.status !== 204 && answer.status !== 200 && answer.status !== 404) throw refused(task, answer)
  }

  /** The server copies, then the old name goes: cut off between the two, both are there, and doing it again makes one more copy. */
  const setAside: Backend['setAside'] = async (file, { signal } = {}) => {
    signal?.throwIfAborted()
    const task = taskOf(`move ${fileLabel(file)} aside`, true)
    const from = keyOf(file)
    const bytes = await headKey(from, task, signal)
    if (bytes === undefined)
      throw new VmlError('not-found', `Cannot ${task.task} in "${location}": it is not there`)
    for (let copy = 0; copy < asideCopiesMax; copy++) {
      const to = `${root}damaged/${pathInRepository(file)}${copy === 0 ? '' : `.${copy}`}`
      if ((await headKey(to, task, signal)) !== undefined) continue
      const source = `/${[bucket, ...from.split('/')].map(encodeAws).join('/')}`
      const headers = { 'x-amz-copy-source': source }
      const answer = await send({ ...task, method: 'PUT', key: to, headers, signal })
      // What goes wrong while it copies is told in the body of an answer that has begun as 200.
      if (answer.status !== 200 || parseS3Error(answer.body).code !== undefined) throw refused(task, answer)
      if ((await headKey(to, task, signal)) !== bytes)
        throw wayFailure(task, 'remote.protocol', 'the copy is not as long as the file')
      await removeKey(from, task, signal)
      return s3LocationText({ origin, bucket, prefix: to })
    }
    throw new VmlError('exists', `Cannot ${task.task} in "${location}": it is there too often`)
  }

  /** Tries out whether a second put of a name is refused, as `If-None-Match` asks for. */
  const hasConditions = async (callOptions: CallOptions) => {
    const key = `${root}vml-probe-${randomBytes(8).toString('hex')}`
    const task = taskOf('try out conditional writes', true)
    try {
      await putNew(task, key, Buffer.from('1'), callOptions)
      return !(await putNew(task, key, Buffer.from('2'), callOptions))
    } finally {
      await removeKey(key, task, callOptions.signal).catch(() => {})
    }
  }

  async function* list(kind: FileKind, { signal }: CallOptions = {}) {
    signal?.throwIfAborted()
    if (kind === 'config') {
      const bytes = await head({ kind, name: '' }, { signal })
      if (bytes !== undefined) yield { name: '', size: bytes }
      return
    }
    const task = taskOf(`list every ${kind}`)
    const start = `${root}${folderOf[kind]}/`
    let token: string | undefined
    for (let pages = 0; pages < pagesMax; pages++) {
      const query = {
        'list-type': '2',
        prefix: start,
        ...(token === undefined ? {} : { 'continuation-token': token }),
      }
      const answer = await send({ ...task, method: 'GET', query, answerBytesMax: pageBytesMax, signal })
      if (answer.status !== 200) throw refused(task, answer)
      const { objects, next } = parseS3Listing(answer.body, location)
      for (const { key, size: bytes } of objects) {
        signal?.throwIfAborted()
        const name = key.slice(key.lastIndexOf('/') + 1)
        if (fileNamePattern.test(name) && keyOf({ kind, name }) === key) yield { name, size: bytes }
      }
      if (next === undefined) return
      if (next === token) break
      token = next
    }
    throw new VmlError('remote.protocol', `Cannot ${task.task} in "${location}": the listing has no end`)
  }

  return {
    location,
    traits: { connections, readOnly: false, parity: true },
    /** The bucket is made where it is missing, as restic does. */
    async create({ signal } = {}) {
      signal?.throwIfAborted()
      const task = taskOf('make a logbook', true)
      if ((await head({ kind: 'config', name: '' }, { signal })) !== undefined)
        throw new VmlError('exists', `Cannot make a logbook in "${location}": one is there`)
      const bucketThere = await send({ ...task, changes: false, method: 'HEAD', signal })
      // Who may use a bucket need not be allowed to look at it.
      if (bucketThere.status === 200 || bucketThere.status === 403) return
      if (bucketThere.status !== 404) throw refused(task, bucketThere)
      const answer = await send({ ...task, method: 'PUT', ...bucketBody(origin, region), signal })
      if (answer.status !== 200 && parseS3Error(answer.body).code !== 'BucketAlreadyOwnedByYou')
        throw refused(task, answer)
    },
    async put(file, data, callOptions = {}) {
      callOptions.signal?.throwIfAborted()
      const task = taskOf(`write ${fileLabel(file)}`, true)
      if (data.length > fileBytesMax)
        throw new VmlError('unsupported', `Cannot ${task.task} in "${location}": it is too large`)
      const reader = { location, get, size }
      const found = await lookForPut(reader, file, data, callOptions)
      if (found === 'same') return
      if (found === 'torso') await remove(file, callOptions)
      const conditions = file.kind === 'config' && (await hasConditions(callOptions))
      const made = await putNew(task, keyOf(file), data, callOptions)
      if (!made && (await lookForPut(reader, file, data, callOptions)) !== 'same')
        throw wayFailure(task, 'unavailable.network', 'it was made and removed by somebody else meanwhile')
      if (file.kind !== 'config' || conditions) return
      // Of two that make a repository in one place at the same time the later one wins; the other has to see that.
      await clock.sleep(settleMs, callOptions)
      if (!(await get(file, undefined, callOptions)).equals(data)) throw otherContent(location, file)
    },
    get,
    size,
    list,
    remove,
    setAside,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
    },
  }
}

function refused(task: HttpTask, answer: HttpAnswer): VmlError {
  const { code } = parseS3Error(answer.body)
  const fail = (failure: 'not-found' | 'remote.denied', why: string, hint: string) =>
    new VmlError(failure, `Cannot ${task.task} in "${task.location}": ${why}`, {
      details: { location: task.location, status: answer.status, said: code },
      hint,
    })
  if (code === 'NoSuchBucket')
    return fail(
      'not-found',
      'the bucket is not there',
      'See whether the address is right; vml init makes the bucket',
    )
  if (code === 'RequestTimeTooSkewed')
    return fail(
      'remote.denied',
      'the clocks of this computer and the server differ',
      'Set the clock of this computer',
    )
  if (code === 'ExpiredToken')
    return fail('remote.denied', 'the session token is too old', 'Get new keys; nothing was changed')
  return answerFailure(task, answer, code)
}

/** Amazon tells it by a header, or by the error of a signature that names another one. */
function regionTold({ status, headers, body }: HttpAnswer): string | undefined {
  if (status !== 400 && status !== 301 && status !== 403) return undefined
  const header = headers['x-amz-bucket-region']
  if (typeof header === 'string' && /^[a-z0-9-]{1,50}$/.test(header)) return header
  const { code, region } = parseS3Error(body)
  return code === 'AuthorizationHeaderMalformed' ? region : undefined
}

/** Outside of its oldest region Amazon wants to be told where. */
function bucketBody({ hostname }: URL, region: string): { readonly body?: Uint8Array } {
  if (!hostname.endsWith('.amazonaws.com') || region === 'us-east-1') return {}
  const xml = `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`
  return { body: Buffer.from(xml, 'utf8') }
}
