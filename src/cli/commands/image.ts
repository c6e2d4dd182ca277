// `vml image list|pull`: base images here and in the catalogues.
import { openLibrary, rememberedImages } from '../../app/images.ts'
import { VmlError } from '../../base/failure.ts'
import { printableText } from '../../base/raw-text.ts'
import type { LocalImage } from '../../image/library.ts'
import { type ImageRecord, itemsOf } from '../../model/image.ts'
import { parseImageReference } from '../../model/machine.ts'
import { choice, defineCommand, dryRun, type NounSpec, operand, type Operand, text } from '../command.ts'
import { formatBytes } from '../format.ts'
import { table } from '../style.ts'

const nameOperand: Operand = {
  name: 'NAME',
  description: 'only images of this name',
  required: false,
  complete: 'none',
}

const list = defineCommand({
  description: 'Lists the base images that lie here and those that the catalogues of your config.toml offer.',
  operands: [nameOperand],
  options: {},
  examples: [
    { line: 'vml image list', does: 'all of them' },
    { line: 'vml image list debian', does: 'the versions of one' },
    { line: 'vml image list --json', does: 'with digests and addresses' },
  ],
  async run(context, { operands: [name] }) {
    const { out } = context
    const listed = await openLibrary(context.config, context.clock).list(context)
    const images = listed.filter(({ record }) => name === undefined || record.name === name)
    out.document({
      schema: 1,
      images: images.map(({ record, isLocal, catalogue }) => ({ ...record, local: isLocal, catalogue })),
    })
    for (const line of table(
      images.map(({ record, isLocal, catalogue }) => [
        out.style.bold(nameOf(record)),
        record.arch,
        formatBytes(bytesOf(record)),
        isLocal ? 'here' : printableText(catalogue ?? ''),
      ]),
    ))
      out.line(line)
    if (images.length === 0)
      out.note(
        'No image: vml image pull NAME@VERSION, or add a catalogue to config.toml: [images] catalogues = ["https://…"]',
      )
  },
})

const pull = defineCommand({
  description:
    'Fetches a base image: by name from the catalogues, or from a plain URL with a checksum beside it. A broken download goes on where it stopped; nothing counts as here before its checksum is right.',
  operands: [operand('IMAGE', 'NAME@VERSION, or an http address')],
  options: {
    checksum: text('--checksum <hex>', 'of a plain URL: its SHA-256 or SHA-512'),
    checksumUrl: text('--checksum-url <url>', 'of a plain URL: the file that lists its checksum'),
    as: text('--as <name@version>', 'of a plain URL: how it is called here'),
    seed: choice('--seed <kind>', 'of a plain URL: how it learns the key', [
      'nocloud',
      'systemd-credentials',
      'baked',
    ]),
    user: text('--user <name>', 'of a plain URL: whose home an entry is restored to'),
    dryRun,
  },
  examples: [
    { line: 'vml image pull debian@12', does: 'from the catalogues' },
    {
      line: 'vml image pull https://example.org/d12.qcow2 --as debian@12 --user debian',
      does: 'from a publisher, with SHA256SUMS beside it',
    },
    { line: 'vml image list', does: 'what is here now' },
  ],
  async run(context, { operands: [typed = ''], options }) {
    const { out } = context
    const library = openLibrary(context.config, context.clock)
    const offered = await rememberedImages(context.config)
    let image: LocalImage
    if (/^https?:\/\//i.test(typed)) {
      const reference = options.as === undefined ? undefined : parseImageReference(options.as)
      if (options.as !== undefined && !reference)
        throw new VmlError('usage', `Cannot use the name "${printableText(options.as)}"`, {
          hint: 'Write NAME@VERSION',
        })
      if (options.dryRun) {
        out.line(`Would fetch ${printableText(typed)}`)
        return
      }
      image = await library.pullUrl(
        {
          url: typed,
          ...(options.checksum === undefined ? {} : { checksum: options.checksum }),
          ...(options.checksumUrl === undefined ? {} : { checksumUrl: options.checksumUrl }),
          ...(reference ? { reference } : {}),
          ...(options.seed === undefined ? {} : { seed: options.seed }),
          ...(options.user === undefined ? {} : { user: options.user }),
        },
        context,
      )
    } else {
      const reference = parseImageReference(typed)
      if (!reference)
        throw new VmlError('usage', `Cannot use the image "${printableText(typed)}"`, {
          hint: 'Write NAME@VERSION, or an http address',
        })
      if (options.dryRun) {
        const { record, where } = await library.resolve({ reference }, { ...context, offered })
        out.line(
          where === 'local'
            ? `${nameOf(record)} is here`
            : `Would fetch ${nameOf(record)}, ${formatBytes(bytesOf(record))}`,
        )
        return
      }
      image = await library.pull(
        { reference },
        { signal: context.signal, reporter: context.reporter, offered },
      )
    }
    out.line(`${nameOf(image.record)} is here (${formatBytes(bytesOf(image.record))})`)
    out.summary('', { schema: 1, image: image.record })
  },
})

export const noun: NounSpec = {
  description: 'Base images that virtual machines start from, kept here by their digest.',
  verbs: {
    list: { summary: 'list them', load: async () => list },
    pull: { summary: 'fetch one', load: async () => pull },
  },
}

function nameOf(record: ImageRecord): string {
  return `${printableText(record.name)}@${printableText(record.version)}`
}

function bytesOf(record: ImageRecord): number {
  return itemsOf(record).reduce((sum, { item }) => sum + item.sizeBytes, 0)
}
