// One HTTP request as images need it: few redirects, never to a weaker or stranger scheme, and an end to silence.
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import { type HttpAnswer, httpBody, type HttpRequest, httpRequest } from '../wire/http-request.ts'

const networkHint =
  'See whether the server can be reached; what came so far is kept, and a repeated pull goes on'
const redirectsMax = 5
const urlCharactersMax = 8 * 1024
const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/** Gets a URL. `image.unobtainable` when it is not allowed or leads nowhere, `unavailable.*` when the server is not there. */
export async function httpGet(url: string, request: HttpRequest): Promise<HttpAnswer> {
  let target = checkedUrl(url)
  for (let redirects = 0; redirects <= redirectsMax; redirects++) {
    const answer = await httpRequest(target, request, { redirect: 'manual', hint: networkHint })
    if (!redirectStatuses.has(answer.status)) return answer
    const location = answer.headers.get('location')
    await answer[Symbol.asyncDispose]()
    if (location === null) throw unobtainable(url, `it answers ${answer.status} without a target`)
    const next = checkedUrl(location, target)
    if (target.protocol === 'https:' && next.protocol === 'http:')
      throw unobtainable(url, `it leads from https to "${shown(next)}", which is not protected`)
    target = next
  }
  throw unobtainable(url, `it redirects more than ${redirectsMax} times`)
}

/** The whole body of a small document. */
export async function httpGetDocument(
  url: string,
  request: HttpRequest & { readonly bytesMax: number },
): Promise<Buffer> {
  await using answer = await httpGet(url, request)
  if (answer.status !== 200) throw unobtainable(url, `the server answers ${answer.status}`)
  const body = await httpBody(answer, request.bytesMax)
  if (body === undefined) throw unobtainable(url, `it has more than ${request.bytesMax} bytes`)
  return body
}

/** A URL that may be asked: http or https, without user and password. */
export function checkedUrl(text: string, base?: URL): URL {
  const url = text.length <= urlCharactersMax ? URL.parse(text, base) : null
  if (url === null) throw unobtainable(text.slice(0, 200), 'it is no URL')
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw unobtainable(text, 'only http and https are followed')
  if (url.username !== '' || url.password !== '')
    throw new VmlError('image.unobtainable', 'Cannot obtain an image from a URL that holds a password', {
      hint: 'Take user and password out of the URL',
    })
  url.hash = ''
  return url
}

function unobtainable(url: string, why: string): VmlError {
  return new VmlError('image.unobtainable', `Cannot obtain "${printableText(url)}": ${why}`, {
    hint: 'Nothing was started. See whether the address is right, or whether the publisher has moved it',
  })
}

function shown(url: URL): string {
  return printableText(url.href)
}
