// An image record as it stands in a file of the library, in a share or in a catalogue: outside input, checked field by field.
import * as z from 'zod'
import { VmlError } from '../base/failure.ts'
import { type ImageRecord, itemsOf } from '../model/image.ts'
import { parseImageReference } from '../model/machine.ts'

const sizeBytesMax = 16 * 1024 ** 4
const urlsMax = 16
const recordBytesMax = 256 * 1024
// As useradd(8) takes them: never an option, a path or a word for a shell.
const userPattern = /^[a-z_][a-z0-9_-]{0,31}$/

const text = z.string().min(1).max(128)
const item = z.object({
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  sizeBytes: z.int().min(0).max(sizeBytesMax),
  urls: z.array(z.string().max(8_192)).max(urlsMax),
})
const schema = z
  .object({
    name: text,
    version: text,
    arch: z.string().regex(/^[a-z0-9_]{1,32}$/),
    format: z.enum(['qcow2', 'raw']),
    items: z.object({ disk: item, kernel: item.exactOptional(), initrd: item.exactOptional() }),
    seed: z.enum(['nocloud', 'systemd-credentials', 'baked']),
    user: z.string().regex(userPattern).exactOptional(),
    virtualSizeBytes: z.int().min(0).max(sizeBytesMax).exactOptional(),
    // What a kernel's command line may hold; the parameters of QEMU are not among it.
    kernelArguments: z
      .string()
      .regex(/^[ -~]{0,1024}$/)
      .exactOptional(),
    aliases: z.array(text).max(64).exactOptional(),
  })
  .refine((record) => parseImageReference(`${record.name}@${record.version}`) !== undefined, {
    path: ['name'],
    error: 'name and version do not form NAME@VERSION',
  })

/** The record, or `integrity.format` naming the field that is wrong. `source` is for the message. */
export function parseImageRecord(value: unknown, source: string): ImageRecord {
  const outcome = schema.safeParse(value)
  if (outcome.success) return outcome.data
  const issue = outcome.error.issues[0]
  const where = `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'wrong'}`
  throw new VmlError('integrity.format', `Cannot read the image record in "${source}": ${where}`, {
    cause: outcome.error,
  })
}

export function isImageRecord(value: unknown): value is ImageRecord {
  return schema.safeParse(value).success
}

export function parseImageRecordJson(bytes: Uint8Array, source: string): ImageRecord {
  let value: unknown
  try {
    value = bytes.length <= recordBytesMax ? JSON.parse(Buffer.from(bytes).toString('utf8')) : undefined
  } catch (error) {
    throw new VmlError('integrity.format', `Cannot read the image record in "${source}": no JSON`, {
      cause: error,
    })
  }
  return parseImageRecord(value, source)
}

/** What makes two records the same image: where it can be had does not. */
export function imageIdentity(record: ImageRecord): string {
  const digests = itemsOf(record).map(({ role, item }) => [role, item.sha256])
  return JSON.stringify([record.name, record.version, record.arch, ...digests])
}
