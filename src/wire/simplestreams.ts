// Simplestreams catalogues: `streams/v1/index.json` and the `products:1.0` files it names, as image publishers serve them.
// Format: launchpad.net/simplestreams, doc/README; as Ubuntu's cloud images, LXD and Incus publish it.
import * as z from 'zod'
import { messageOf, VmlError } from '../base/failure.ts'

/** Where the index lies below the root of a mirror. */
export const indexPath = 'streams/v1/index.json'

/** Bytes of one JSON file. The largest public one (all daily builds of all Ubuntu releases) has about 20 MiB. */
export const documentBytesMax = 64 * 1024 * 1024
// Far above what any publisher has, far below what would fill the memory.
const contentsMax = 1_000
const productsMax = 20_000
const versionsMax = 5_000
const itemsMax = 500
const itemsTotalMax = 2_000_000
const pathCharactersMax = 1_024
// The largest base images known (Windows, with data) stay below a tenth of it.
const itemBytesMax = 16 * 1024 ** 4

export interface StreamItem {
  /** What the file is: `disk1.img`, `disk-kvm.img`, `boot-kernel`, `boot-initrd`, … */
  readonly ftype: string
  /** Below the root of the mirror: relative, without `..`. */
  readonly path: string
  readonly sha256?: string
  readonly sizeBytes?: number
}

/** One version of one product, with the tags that product and version carry. */
export interface StreamVersion {
  readonly product: string
  readonly version: string
  /** String and number tags of products file, product and version; the inner one wins. `vml` tags are in `vml`. */
  readonly tags: Readonly<Record<string, string>>
  /** VML's own tags: an object `vml` at product or version, see `docs/guide` on images. */
  readonly vml: VmlTags
  readonly items: readonly StreamItem[]
}

const text = z.string().max(1_024)
const vmlTags = z.object({
  name: text.optional(),
  seed: z.enum(['nocloud', 'systemd-credentials', 'baked']).optional(),
  user: text.optional(),
  format: z.enum(['qcow2', 'raw']).optional(),
  kernelArguments: text.optional(),
  virtualSizeBytes: z.int().min(0).max(itemBytesMax).optional(),
})
export type VmlTags = z.infer<typeof vmlTags>

const item = z.looseObject({
  ftype: text,
  path: z.string().max(pathCharactersMax).refine(isBelowRoot, 'leads out of the mirror'),
  sha256: z
    .string()
    .regex(/^[0-9a-fA-F]{64}$/)
    .optional(),
  size: z.int().min(0).max(itemBytesMax).optional(),
})
const version = z.looseObject({
  items: limitedRecord(item, itemsMax),
  vml: vmlTags.optional(),
})
const product = z.looseObject({
  versions: limitedRecord(version, versionsMax),
  vml: vmlTags.optional(),
})
const products = z.looseObject({
  format: z.literal('products:1.0'),
  products: limitedRecord(product, productsMax),
})
const index = z.looseObject({
  format: z.literal('index:1.0'),
  index: limitedRecord(
    z.looseObject({
      path: z.string().max(pathCharactersMax).refine(isBelowRoot, 'leads out of the mirror'),
      format: text.optional(),
      datatype: text.optional(),
    }),
    contentsMax,
  ),
})

/** Paths of the `products:1.0` files that can hold images, relative to the mirror's root. */
export function parseStreamIndex(bytes: Uint8Array, source: string): string[] {
  const parsed = parseDocument(index, bytes, source)
  return Object.values(parsed.index)
    .filter((entry) => entry.format === undefined || entry.format === 'products:1.0')
    .filter((entry) => entry.datatype === undefined || entry.datatype.startsWith('image-'))
    .map((entry) => entry.path)
}

/** Every version of every product, in the order of the file. */
export function parseStreamProducts(bytes: Uint8Array, source: string): StreamVersion[] {
  const parsed = parseDocument(products, bytes, source)
  let itemsTotal = 0
  const found: StreamVersion[] = []
  for (const [productName, { versions, ...productTags }] of Object.entries(parsed.products)) {
    for (const [versionName, { items, ...versionTags }] of Object.entries(versions)) {
      itemsTotal += Object.keys(items).length
      if (itemsTotal > itemsTotalMax)
        throw malformed(source, `it has more than ${itemsTotalMax} items`, undefined)
      found.push({
        product: productName,
        version: versionName,
        tags: { ...plainTags(parsed), ...plainTags(productTags), ...plainTags(versionTags) },
        vml: { ...productTags.vml, ...versionTags.vml },
        items: Object.values(items).map(({ ftype, path, sha256, size }) => ({
          ftype,
          path,
          ...(sha256 === undefined ? {} : { sha256: sha256.toLowerCase() }),
          ...(size === undefined ? {} : { sizeBytes: size }),
        })),
      })
    }
  }
  return found
}

/** Whether a path of a catalogue stays below the mirror: no scheme, host, root, `..`, backslash, query or control character. */
export function isBelowRoot(path: string): boolean {
  // A URL drops blanks at its end, and percent signs could spell a dot or a slash in it.
  if (!/^[A-Za-z0-9._~-][^\\?#%\s\p{C}]*$/u.test(path)) return false
  if (/^[A-Za-z][A-Za-z0-9+.-]*:/.test(path)) return false
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
}

function parseDocument<T>(schema: z.ZodType<T>, bytes: Uint8Array, source: string): T {
  if (bytes.length > documentBytesMax)
    throw malformed(source, `it has more than ${documentBytesMax} bytes`, undefined)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw malformed(source, messageOf(error), error)
  }
  const outcome = schema.safeParse(value)
  if (outcome.success) return outcome.data
  const issue = outcome.error.issues[0]
  throw malformed(source, `${issue?.path.join(' > ') ?? ''}: ${issue?.message ?? 'wrong'}`, outcome.error)
}

function malformed(source: string, why: string, cause: unknown): VmlError {
  return new VmlError('image.unobtainable', `Cannot read the image catalogue "${source}": ${why}`, {
    cause,
    details: { source },
    hint: 'The address must be the root of a simplestreams mirror, the folder that holds streams/v1',
  })
}

function limitedRecord<T extends z.ZodType>(value: T, countMax: number) {
  return z
    .record(z.string().max(256), value)
    .refine((record) => Object.keys(record).length <= countMax, `has more than ${countMax} members`)
}

function plainTags(record: Readonly<Record<string, unknown>>): Record<string, string> {
  const tags: Record<string, string> = {}
  for (const [key, value] of Object.entries(record)) {
    if (typeof value === 'string' && value.length <= 1_024) tags[key] = value
    else if (typeof value === 'number') tags[key] = String(value)
  }
  return tags
}
