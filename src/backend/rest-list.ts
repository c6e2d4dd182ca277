// The answers to `GET {path}/{type}/` of restic's REST protocol, of both its versions (restic, doc/REST_backend.rst).
import { VmlError } from '../base/failure.ts'
import type { HttpAnswer } from './http-request.ts'

export interface RestListItem {
  readonly name: string
  /** Version 1 does not tell it. */
  readonly size: number | undefined
}

/** Names are as the server gave them: the caller picks out those that are names of files. */
export function parseRestList({ body }: Pick<HttpAnswer, 'body'>, location: string): readonly RestListItem[] {
  const wrong = (cause?: unknown) =>
    new VmlError('remote.protocol', `Cannot understand the listing of "${location}"`, {
      cause,
      hint: 'See whether the address is that of a REST server of restic',
    })
  let items: unknown
  try {
    items = JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw wrong(error)
  }
  // The listing of nothing, as Go writes it.
  if (items === null) return []
  if (!Array.isArray(items)) throw wrong()
  return items.map((item: unknown) => {
    if (typeof item === 'string') return { name: item, size: undefined }
    if (typeof item !== 'object' || item === null || !('name' in item) || !('size' in item)) throw wrong()
    const { name, size } = item
    if (typeof name !== 'string' || typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
      throw wrong()
    return { name, size }
  })
}
