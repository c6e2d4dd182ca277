// What went wrong between us and a storage that is reached over HTTP, as a failure with a name.
import { messageOf, systemErrorCode, VmlError, type FailureCode } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'

/** What was to be done, as in `Cannot ${task} in "${location}"`. */
export interface HttpTask {
  readonly task: string
  /** For messages; never a secret. */
  readonly location: string
  /** It writes or removes: where the answer is missing, nobody knows whether it was done. */
  readonly changes: boolean
}

/** A failure of the way there: no answer came, or only a part of one. */
export function wayFailure(
  task: HttpTask,
  code: FailureCode,
  why: string,
  options: { readonly hint?: string; readonly cause?: unknown; readonly status?: number } = {},
): VmlError {
  const { status, cause } = options
  return new VmlError(code, `Cannot ${task.task} in "${task.location}": ${why}${unknownOutcome(task)}`, {
    cause,
    details: {
      location: task.location,
      ...(status === undefined ? {} : { status }),
      ...(task.changes ? { outcome: 'unknown' } : {}),
    },
    hint: options.hint ?? 'Try again: doing the same once more does no harm',
  })
}

/** From the error of a socket, of TLS or of Node's parser of answers. */
export function socketFailure(task: HttpTask, error: unknown): VmlError {
  const code = systemErrorCode(error) ?? ''
  if (certificateCodes.test(code))
    return unsent(task, 'remote.denied', `its certificate is not to be trusted (${code})`, {
      cause: error,
      hint: 'See whether the address is right; a certificate authority of your own is named by RESTIC_CACERT or NODE_EXTRA_CA_CERTS',
    })
  if (code === 'EPROTO' || code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS'))
    return unsent(task, 'remote.protocol', `no TLS connection comes about (${code})`, {
      cause: error,
      hint: 'See whether the server speaks TLS on this port: http: and https: are told apart in the address',
    })
  if (unsentCodes.has(code))
    return unsent(task, 'unavailable.network', unsentCodes.get(code) ?? code, {
      cause: error,
      hint: 'See whether the address is right and the server is running',
    })
  if (code.startsWith('HPE_'))
    return wayFailure(task, 'remote.protocol', `what came is no answer of HTTP (${code})`, {
      cause: error,
      hint: 'See whether the address and its port are those of the storage',
    })
  const word = code === '' ? printableText(messageOf(error)) : code
  return wayFailure(task, 'unavailable.network', `the connection broke (${word})`, { cause: error })
}

/** From an answer that is neither what was asked for nor a plain "not there". `said` is the server's own short word. */
export function answerFailure(
  task: HttpTask,
  answer: { readonly status: number; readonly headers: Readonly<Record<string, unknown>> },
  said?: string,
): VmlError {
  const { status } = answer
  const word = said === undefined || said === '' ? `${status}` : `${status} ${printableText(said)}`
  const fail = (code: FailureCode, why: string, hint: string) =>
    new VmlError(code, `Cannot ${task.task} in "${task.location}": ${why}`, {
      details: { location: task.location, status, ...(said === undefined ? {} : { said }) },
      hint,
    })
  if (status === 401)
    return fail('remote.denied', `the server wants other credentials (${word})`, credentialsHint)
  if (status === 403) return fail('remote.denied', `the server does not allow it (${word})`, credentialsHint)
  if (status >= 300 && status < 400)
    return fail(
      'remote.protocol',
      `the server sends elsewhere (${word}${redirectTarget(answer.headers)}), which is not followed`,
      'Use the address that the storage has now',
    )
  if (status === 507)
    return fail(
      'unavailable.space',
      `there is no space left (${word})`,
      'Make room there; what was saved before is as it was',
    )
  if (status === 413)
    return fail(
      'unsupported',
      `the file is too large for the server (${word})`,
      'Raise the limit of the server',
    )
  if (status === 405 || status === 501)
    return fail(
      'unsupported',
      `the server does not know how (${word})`,
      'See whether the address is that of a storage of this kind',
    )
  if (status === 408 || status === 504)
    return wayFailure(task, 'unavailable.timeout', `the server took too long (${word})`, { status })
  if (status === 429 || status >= 500)
    return wayFailure(task, 'unavailable.network', `the server has trouble of its own (${word})`, { status })
  return fail(
    'remote.protocol',
    `the server answers ${word}`,
    'See whether the address is that of a storage of this kind',
  )
}

/** Nothing of the request reached anybody. */
function unsent(
  task: HttpTask,
  code: FailureCode,
  why: string,
  options: { readonly hint: string; readonly cause: unknown },
): VmlError {
  return wayFailure({ ...task, changes: false }, code, why, options)
}

function unknownOutcome({ changes }: HttpTask): string {
  return changes ? '; whether it was done is not known' : ''
}

/** Without what may be secret in it: only where to. */
function redirectTarget(headers: Readonly<Record<string, unknown>>): string {
  const { location } = headers
  if (typeof location !== 'string' || !URL.canParse(location)) return ''
  return ` to ${printableText(new URL(location).origin)}`
}

const certificateCodes =
  /CERT|SELF_SIGNED|UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER|ERR_TLS_CERT_ALTNAME_INVALID/
const unsentCodes: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'nothing answers at this address (ECONNREFUSED)'],
  ['ENOTFOUND', 'no host has this name (ENOTFOUND)'],
  ['EAI_AGAIN', 'the name of the host could not be looked up (EAI_AGAIN)'],
  ['EHOSTUNREACH', 'the host cannot be reached (EHOSTUNREACH)'],
  ['ENETUNREACH', 'the network cannot be reached (ENETUNREACH)'],
  ['EHOSTDOWN', 'the host is down (EHOSTDOWN)'],
])
const credentialsHint =
  'See whether user and password, or access key and secret key, are right and may do this; nothing was changed'
