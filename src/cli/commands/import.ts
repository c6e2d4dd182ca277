// `vml import`: shows what a share holds, then takes it in.
import { openLibrary, rememberImage } from '../../app/images.ts'
import { attachCatalog } from '../../app/open.ts'
import { type OpenShare, openShare, readSharePassword } from '../../app/share.ts'
import { typedPath } from '../../app/working-folder.ts'
import { VmlError } from '../../base/failure.ts'
import { printableText } from '../../base/raw-text.ts'
import { listEntries, type LoggedEntry, nextEntryNumber, readEntryDocument } from '../../engine/entries.ts'
import { importEntries } from '../../engine/import.ts'
import type { EntryDocument } from '../../model/entry.ts'
import { itemsOf } from '../../model/image.ts'
import { shortId } from '../../model/ids.ts'
import { type Context, defineCommand, dryRun, operand, text } from '../command.ts'
import { formatBytes, formatMoment, plural } from '../format.ts'

export const command = defineCommand({
  description:
    'Shows what a share holds, asks, and takes its entries into your logbook under the ids that they have. Nothing of it is run.',
  operands: [operand('FILE', 'a file that vml share wrote', 'file')],
  options: {
    sharePasswordFile: text('--share-password-file <file>', 'the password of the share', 'file'),
    dryRun,
  },
  examples: [
    { line: 'vml import fit.vml --dry-run', does: 'look what it is' },
    { line: 'vml import fit.vml', does: 'take it in; vml open runs it' },
    {
      line: 'vml import fit.vml --share-password-file pw --yes',
      does: 'under a password, without a question',
    },
  ],
  async run(context, { operands: [typed = ''], options }) {
    const { out, config, signal } = context
    const file = typedPath(config, typed)
    const password = await readSharePassword(config, options.sharePasswordFile)
    await using share = await openShare(file, { password, askSecret: context.askSecret, signal })
    const entries = await entriesOf(context, share)
    if (entries.length === 0)
      throw new VmlError('integrity.format', `Cannot import "${printableText(file)}": it holds no entry`)
    for (const { entry, document } of entries) describe(context, entry, document)
    describeImage(context, share)
    if (options.dryRun) {
      out.document({
        schema: 1,
        dry_run: true,
        entries: entries.map(({ entry }) => ({ id: entry.id, number: entry.number, title: entry.title })),
      })
      return
    }
    const logbook = await context.openLogbook()
    await context.confirm(
      `Take ${entries.length === 1 ? 'this entry' : `these ${entries.length} entries`} into ${printableText(logbook.location)}?`,
    )
    const imported = await importEntries({
      from: share.repository,
      entries: entries.map(({ entry }) => entry),
      into: logbook.repository,
      present: await listEntries(logbook, context),
      nextNumber: () => nextEntryNumber(logbook, context),
      reporter: context.reporter,
      signal,
    })
    const { protectPacks } = await import('../../app/protect.ts')
    await protectPacks(logbook.repository, context)
    await takeImage(context, share)
    for (const { entry, outcome, number } of imported) {
      const name = number === undefined ? shortId(entry.id) : `#${number}`
      const renumbered =
        number !== entry.number && outcome === 'taken in' ? ` (there it was #${entry.number ?? '?'})` : ''
      out.line(`${name}  ${outcome}${renumbered}  ${printableText(entry.title)}`)
    }
    const first = imported[0]?.number
    if (first !== undefined) out.note(`Run it: vml open ${first}`)
    out.summary('', {
      schema: 1,
      entries: imported.map(({ entry, outcome, number }) => ({
        id: entry.id,
        number,
        outcome,
        title: entry.title,
      })),
    })
  },
})

interface SharedEntry {
  readonly entry: LoggedEntry
  readonly document: EntryDocument | undefined
}

async function entriesOf(context: Context, share: OpenShare): Promise<SharedEntry[]> {
  // Read through the frame's own way, with a catalogue in memory: a share leaves no trace before it is taken in.
  const logbook = await attachCatalog(context.config, share.repository, share.repository.location, {
    memory: true,
  })
  try {
    const shared: SharedEntry[] = []
    for (const entry of await listEntries(logbook, context)) {
      shared.push({ entry, document: await readEntryDocument(share.repository, entry.snapshot, context) })
    }
    return shared
  } finally {
    logbook.catalog[Symbol.dispose]()
  }
}

function describe({ out }: Context, entry: LoggedEntry, document: EntryDocument | undefined): void {
  const number = entry.number === undefined ? '' : `#${entry.number} `
  out.line(
    `${number}${shortId(entry.id)}  ${formatMoment(entry.takenAt)}  ${printableText(entry.machine)}  ${printableText(entry.title)}`,
  )
  if (!document) return
  const { statistics, user, roots, image, outcome } = document
  out.line(
    `  ${plural(statistics.files, 'file')}, ${formatBytes(statistics.bytes)}, of user ${printableText(user.name)}: ${roots.map(({ path }) => printableText(path)).join(', ')}`,
  )
  if (image)
    out.line(
      `  base image ${printableText(image.name)}@${printableText(image.version)}${image.guessed ? ' (guessed)' : ''}`,
    )
  if (outcome === 'partial') out.line('  partial: some paths could not be read when it was saved')
}

function describeImage({ out }: Context, { manifest, images }: OpenShare): void {
  const { image } = manifest
  if (!image) return
  const bytes = itemsOf(image).reduce((sum, { item }) => sum + item.sizeBytes, 0)
  const name = `${printableText(image.name)}@${printableText(image.version)}`
  if (images.length > 0) out.line(`  with the base image ${name} (${formatBytes(bytes)})`)
  else if (image.items.disk.urls.length > 0)
    out.line(
      `  to open it, ${name} is downloaded (${formatBytes(bytes)}) from ${printableText(image.items.disk.urls[0] ?? '')}`,
    )
}

async function takeImage(context: Context, share: OpenShare): Promise<void> {
  const { image } = share.manifest
  if (!image) return
  if (share.images.length > 0) {
    await openLibrary(context.config, context.clock).importImage(
      image,
      (role, item) => share.readImage(`image/${item.sha256}/${role}`, context.signal),
      { signal: context.signal, reporter: context.reporter },
    )
  }
  await rememberImage(context.config, image)
}
