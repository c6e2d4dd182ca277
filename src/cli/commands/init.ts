// `vml init PLACE`: makes a logbook with its two keys.
import { shownLocation } from '../../backend/location.ts'
import { shortId } from '../../model/ids.ts'
import type { Repository } from '../../store/store.ts'
import { type Context, defineCommand, dryRun, operand, text } from '../command.ts'
import { askRecoveryKey, requireLongEnough, showOnce } from '../recovery-key.ts'

export const command = defineCommand({
  description:
    "Makes a logbook: a restic repository that stock restic can read. It gets two keys: this computer's, so that daily use never asks, and a recovery key, which is its password everywhere else.",
  operands: [operand('PLACE', 'a new or empty folder, or a place such as sftp:USER@HOST:/PATH', 'folder')],
  options: {
    like: text(
      '--like <logbook>',
      'cut files as this logbook does: for copies between the two (vml copy)',
      'folder',
    ),
    parity: text('--parity <share>', 'keep recovery data: 5% brings lost packs back (vml parity)'),
    dryRun,
  },
  examples: [
    { line: 'vml init ~/logbook', does: 'ask for the recovery key, or make one up' },
    { line: 'vml init ~/logbook --password-file key.txt', does: 'take the recovery key from a file' },
    { line: 'vml init sftp:ana@nas:/srv/logbook', does: 'on another computer, over ssh' },
    { line: 'vml init /mnt/usb/logbook --like ~/logbook', does: 'a second one, for vml copy' },
    { line: 'vml init ~/logbook --parity 5%', does: 'with recovery data for damaged packs' },
    { line: 'vml init /mnt/usb/logbook --dry-run', does: 'only look whether that would work' },
  ],
  async run(context, { operands: [place = ''], options }) {
    const { config, out } = context
    const { generateRecoveryKey, makeLogbook, requireFreePlace } = await import('../../app/init.ts')
    const { absoluteLocation, waysToAdd } = await import('../../app/config.ts')
    const location = absoluteLocation(place, { home: config.home, base: config.workingFolder })
    const shown = shownLocation(location)
    const share = options.parity === undefined ? undefined : await parityShare(options.parity)
    await requireFreePlace(config, location, { ...context, parity: share !== undefined })
    const chunker = options.like === undefined ? undefined : await chunkerOf(context, options.like)
    if (options.dryRun) {
      out.line(`Would make a logbook in ${shown}`)
      out.document({ schema: 1, dry_run: true, location: shown })
      return
    }
    const recovery = await recoveryKey(context)
    const secret = recovery ?? generateRecoveryKey()
    const made = await makeLogbook(config, context.clock, location, Buffer.from(secret), {
      signal: context.signal,
      reporter: context.reporter,
      chunker,
      parity: share,
    })
    out.line(`Made logbook ${shortId(made.id)} in ${shown}`)
    if (recovery === undefined) showOnce(context, secret.toString())
    if (made.isDefault) out.note(`It is your default logbook now; next: ${waysToAdd()}`)
    else out.note(`Use it with --logbook ${shown} or VML_LOGBOOK`)
    out.document({ schema: 1, id: made.id, location: shown, default: made.isDefault })
  },
})

async function parityShare(typed: string): Promise<number | undefined> {
  const { parseParityShare } = await import('./parity.ts')
  return parseParityShare(typed, '--parity')
}

async function chunkerOf(context: Context, typed: string): Promise<Repository['chunker']> {
  const { openOtherLogbook } = await import('../../app/other-logbook.ts')
  // The password that is configured may be the new one's recovery key; it is tried, and does no harm.
  await using like = await openOtherLogbook(
    context.config,
    { option: '--like', typed, passwordFile: context.config.passwordFile },
    context,
  )
  return like.repository.chunker
}

/** Undefined where one is to be generated, which only a person can read and keep. */
async function recoveryKey(context: Context): Promise<Buffer | undefined> {
  const { configuredPassword } = await import('../../app/secrets.ts')
  const configured = await configuredPassword(context.config, context.signal)
  if (configured) return requireLongEnough(configured.password, 'nothing was written')
  return await askRecoveryKey(context, {
    what: 'make a logbook',
    unchanged: 'nothing was written',
    hint: 'Give one with --password-file FILE, or run vml init on a terminal',
  })
}
