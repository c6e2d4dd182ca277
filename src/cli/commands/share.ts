// `vml share`: one entry as one file to hand over.
import { createReadStream } from 'node:fs'
import { openLibrary, rememberedImages } from '../../app/images.ts'
import { makeShare, readSharePassword } from '../../app/share.ts'
import { typedPath } from '../../app/working-folder.ts'
import { VmlError } from '../../base/failure.ts'
import { printableText } from '../../base/raw-text.ts'
import { entryName } from '../../engine/entries.ts'
import { describeEntryFully, findEntry } from '../../engine/look.ts'
import { describeFinding, planShare, refuseSecrets, runShare } from '../../engine/share.ts'
import type { LocalImage } from '../../image/library.ts'
import type { EntryDocument } from '../../model/entry.ts'
import { type ImageRecord, itemsOf } from '../../model/image.ts'
import { type Context, defineCommand, dryRun, flag, operand, text } from '../command.ts'
import { formatBytes, plural } from '../format.ts'
import { keepPrunesOut } from '../read-lock.ts'

export const command = defineCommand({
  description:
    'Writes one entry into one file: a small logbook that another VML imports and stock restic can read. Looks for keys, tokens and passwords first. The key lies inside unless you give a password: whoever has the file can read it.',
  operands: [operand('ENTRY', 'the entry', 'entry')],
  options: {
    output: text('-o, --output <file>', 'the file to write', 'file'),
    withImage: flag('--with-image', 'put the base image into the file, for a place without a network'),
    withoutCache: flag('--without-cache', 'leave the cache parts out'),
    scrub: flag('--scrub', 'leave out what looks like a secret'),
    withSecrets: flag('--with-secrets', 'share what looks like a secret, too'),
    sharePasswordFile: text('--share-password-file <file>', 'protect the share with this password', 'file'),
    dryRun,
  },
  examples: [
    { line: 'vml share 42 -o fit.vml', does: 'one file to send' },
    { line: 'vml share thesis@latest -o thesis.vml --scrub', does: 'without the secrets that are found' },
    {
      line: 'vml share 42 -o fit.vml --with-image --share-password-file pw',
      does: 'with its base image, under a password',
    },
  ],
  async run(context, { operands: [typed = ''], options }) {
    const { out, config, signal } = context
    if (options.output === undefined)
      throw new VmlError('usage', 'Cannot share without a file to write', { hint: 'Add -o FILE' })
    const file = typedPath(config, options.output)
    const password = await readSharePassword(config, options.sharePasswordFile)
    if (options.scrub && options.withSecrets)
      throw new VmlError('usage', 'Cannot both leave secrets out and share them', {
        hint: 'Give one of --scrub and --with-secrets',
      })
    const logbook = await context.openLogbook()
    await using _lock = await keepPrunesOut(context, logbook.repository, 'careful')
    const { entry, path } = await findEntry(logbook, typed, context)
    if (path !== undefined)
      throw new VmlError('usage', 'Cannot share a part of an entry', {
        hint: 'Name the entry alone; save with --only to make a smaller one',
      })
    const { document } = await describeEntryFully(logbook.repository, entry, context)
    if (!document) {
      throw new VmlError('unsupported', `Cannot share ${entryName(entry)}: another program made it`, {
        hint: 'restic copy moves it to another repository',
      })
    }
    const plan = await planShare({
      repository: logbook.repository,
      entry,
      document,
      withoutCaches: options.withoutCache,
      reporter: context.reporter,
      signal,
    })
    const image = await findImage(context, document, options.withImage)
    // A refusal names them itself.
    if (!options.dryRun)
      refuseSecrets(plan, options.scrub ? 'scrub' : options.withSecrets ? 'keep' : 'undecided')
    for (const finding of plan.findings) out.note(`  secret? ${describeFinding(finding)}`)
    const what = `${entryName(entry)}, ${plural(plan.files, 'file')} (${formatBytes(plan.bytes)})`
    if (options.dryRun) {
      out.line(`Would share ${what}; ${plural(plan.findings.length, 'finding')}`)
      out.document({ schema: 1, dry_run: true, findings: plan.findings.map(describeFinding) })
      return
    }
    const { bytes } = await makeShare({
      file,
      password,
      polynomial: logbook.repository.chunker.polynomial,
      image: image?.record,
      images: image?.local ? imageMembers(image.local) : [],
      fill: async (target) => {
        await runShare(plan, { target, scrub: options.scrub })
      },
      signal,
    })
    if (!password) out.note('  The key is inside: whoever has this file can read it')
    if (document.image && !image)
      out.note(
        `  The base image ${document.image.name}@${document.image.version} is named, but nobody here knows where it can be had`,
      )
    out.line(`Shared ${what} as ${printableText(file)} (${formatBytes(bytes)})`)
    out.summary('', {
      schema: 1,
      file,
      bytes,
      entry: entry.id,
      number: entry.number,
      key: password ? 'password' : 'inside',
      findings: plan.findings.map(describeFinding),
      scrubbed: options.scrub,
      image: image && `${image.record.name}@${image.record.version}`,
      with_image: image?.local !== undefined,
    })
  },
})

/** The record of the entry's base image, for the receiver; with `--with-image` the image itself. */
async function findImage(
  context: Context,
  { image }: EntryDocument,
  withImage: boolean,
): Promise<{ record: ImageRecord; local: LocalImage | undefined } | undefined> {
  if (!image) {
    if (!withImage) return undefined
    throw new VmlError('image.unobtainable', 'Cannot put the base image in: the entry names none', {
      hint: 'Nothing was written. Leave --with-image out',
    })
  }
  const library = openLibrary(context.config, context.clock)
  const request = {
    reference: { name: image.name, version: image.version },
    ...(image.sha256 === undefined ? {} : { sha256: image.sha256 }),
  }
  const options = {
    signal: context.signal,
    reporter: context.reporter,
    offered: await rememberedImages(context.config),
  }
  if (withImage) {
    const local = await library.pull(request, options)
    return { record: local.record, local }
  }
  try {
    return { record: (await library.resolve(request, options)).record, local: undefined }
  } catch (error) {
    // A share without it is still a share: the receiver may know the image by its name.
    if (
      error instanceof VmlError &&
      (error.code === 'image.unobtainable' || error.code.startsWith('unavailable.'))
    )
      return undefined
    throw error
  }
}

function imageMembers({ record, paths }: LocalImage) {
  return itemsOf(record).flatMap(({ role, item }) => {
    const path = paths[role]
    return path === undefined
      ? []
      : [{ name: `image/${item.sha256}/${role}`, size: item.sizeBytes, read: () => createReadStream(path) }]
  })
}
