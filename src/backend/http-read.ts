// A file, or a range of one, as a storage gives it that is reached over HTTP (RFC 9110, section 14).
import { VmlError } from '../base/failure.ts'
import type { FileRange } from './backend.ts'
import { answerFailure, type HttpTask } from './http-failure.ts'
import type { HttpAnswer } from './http-request.ts'
import { fileBytesMax } from './repository-path.ts'

export interface HttpRead {
  readonly task: HttpTask
  readonly range: FileRange | undefined
  /** Undefined where the file is not there. */
  size(): Promise<number | undefined>
  /** Sends the GET; an answer of more than `answerBytesMax` fails. */
  ask(headers: Readonly<Record<string, string>>, answerBytesMax: number): Promise<HttpAnswer>
  /** From a 404: what it means where it does not mean "not there". */
  doubt?(answer: HttpAnswer): Promise<VmlError | undefined>
  /** From an answer that is neither the file nor a plain "not there". */
  refused(answer: HttpAnswer): VmlError
}

/** As `Backend.get` promises it. A whole file in the place of a range is an answer, too: not every server knows ranges. */
export async function readOverHttp({ task, range, size, ask, doubt, refused }: HttpRead): Promise<Buffer> {
  if (range?.length === 0) {
    // A range of no bytes cannot be asked for (RFC 9110, section 14.1.2).
    const bytes = await size()
    if (bytes === undefined) throw missing(task)
    if (range.offset > bytes) throw tooShort(task, range)
    return Buffer.alloc(0)
  }
  const answer = range
    ? await ask(
        { range: `bytes=${range.offset}-${range.offset + range.length - 1}` },
        Math.max(range.length, wholeInsteadBytesMax),
      )
    : await ask({}, fileBytesMax)
  const { body, status } = answer
  if (status === 404) throw (await doubt?.(answer)) ?? missing(task)
  if (!range) {
    if (status !== 200) throw refused(answer)
    return body
  }
  const { offset, length } = range
  if (status === 416) throw tooShort(task, range)
  if (status === 200) {
    if (body.length < offset + length) throw tooShort(task, range)
    return body.subarray(offset, offset + length)
  }
  if (status !== 206) throw refused(answer)
  const [, start] = /^bytes (\d+)-\d+\/(?:\d+|\*)$/.exec(answer.headers['content-range'] ?? '') ?? []
  if (Number(start) !== offset || body.length > length) throw answerFailure(task, answer, 'of another range')
  if (body.length < length) throw tooShort(task, range)
  return body
}

/** From the answer to a HEAD that found the file. */
export function sizeToldBy(task: HttpTask, answer: HttpAnswer): number {
  const size = Number(answer.headers['content-length'] ?? NaN)
  if (!Number.isSafeInteger(size) || size < 0) throw answerFailure(task, answer, 'without a size')
  return size
}

// A pack of the usual size is taken as it comes.
const wholeInsteadBytesMax = 128 * 1024 * 1024

function missing({ task, location }: HttpTask): VmlError {
  return new VmlError('not-found', `Cannot ${task} in "${location}": it is not there`, {
    details: { location },
  })
}

function tooShort({ task, location }: HttpTask, { offset, length }: FileRange): VmlError {
  return new VmlError('integrity.truncated', `Cannot ${task} in "${location}": it is shorter than expected`, {
    details: { location, offset, length },
  })
}
