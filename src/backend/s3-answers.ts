// What an S3 server says in XML: listings and errors (Amazon S3 API reference, "ListObjectsV2", "Error responses").
import { VmlError } from '../base/failure.ts'

export interface S3Listing {
  readonly objects: readonly { readonly key: string; readonly size: number }[]
  /** Where the next page goes on; undefined on the last one. */
  readonly next: string | undefined
}

/** Only of what these two answers hold; nothing in them is nested deeper, and no server writes attributes or CDATA there. */
export function parseS3Listing(body: Uint8Array, location: string): S3Listing {
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8')
  const wrong = () =>
    new VmlError('remote.protocol', `Cannot understand the listing of "${location}"`, {
      hint: 'See whether the address is that of an S3 server',
    })
  // A listing that ends early is no short listing.
  if (!/<ListBucketResult[\s>]/.test(text) || !text.trimEnd().endsWith('</ListBucketResult>')) throw wrong()
  const objects = Array.from(text.matchAll(/<Contents>(.*?)<\/Contents>/gs), ([, content = '']) => {
    const key = elementOf(content, 'Key')
    const size = elementOf(content, 'Size')
    if (key === undefined || size === undefined || !/^\d{1,15}$/.test(size)) throw wrong()
    return { key, size: Number(size) }
  })
  const outside = text.replaceAll(/<Contents>.*?<\/Contents>/gs, '')
  const truncated = elementOf(outside, 'IsTruncated')
  if (truncated !== 'true' && truncated !== 'false') throw wrong()
  const next = elementOf(outside, 'NextContinuationToken')
  if (truncated === 'true' && (next === undefined || next === '')) throw wrong()
  return { objects, next: truncated === 'true' ? next : undefined }
}

/** The code of an error, such as `NoSuchKey`, and the region that the bucket is in, where the server tells them. */
export function parseS3Error(body: Uint8Array): {
  readonly code: string | undefined
  readonly region: string | undefined
} {
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8')
  const code = elementOf(text, 'Code')
  const region = elementOf(text, 'Region')
  return {
    code: code !== undefined && /^[A-Za-z0-9.]{1,100}$/.test(code) ? code : undefined,
    region: region !== undefined && /^[a-z0-9-]{1,50}$/.test(region) ? region : undefined,
  }
}

function elementOf(text: string, name: string): string | undefined {
  const [, content] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(text) ?? []
  return content?.replaceAll(
    /&(?:(lt|gt|amp|quot|apos)|#(\d{1,7})|#x([0-9a-fA-F]{1,6}));/g,
    (entity, word?: string, decimal?: string, hex?: string) => {
      if (word !== undefined) return entities[word] ?? entity
      const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal)
      return code <= 0x10ffff ? String.fromCodePoint(code) : entity
    },
  )
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }
