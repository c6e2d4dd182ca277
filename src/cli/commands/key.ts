// `vml key list|add|remove|password`: what opens a logbook.
import type { Config } from '../../app/config.ts'
import {
  addComputerKey,
  addPasswordKey,
  changePassword,
  findLogbookKey,
  listLogbookKeys,
  type LogbookKey,
  removeLogbookKey,
} from '../../app/logbook-keys.ts'
import { readPasswordFile } from '../../app/secrets.ts'
import { typedPath } from '../../app/working-folder.ts'
import { VmlError } from '../../base/failure.ts'
import { shortId } from '../../model/ids.ts'
import { type Context, defineCommand, dryRun, flag, type NounSpec, operand, text } from '../command.ts'
import { formatMoment } from '../format.ts'
import { shown } from '../options.ts'
import { askRecoveryKey, requireLongEnough, showOnce } from '../recovery-key.ts'
import { table } from '../style.ts'

const newPasswordFile = text('--new-password-file <file>', 'take the new password from a file', 'file')

const list = defineCommand({
  description:
    'Lists the keys of the logbook: each is a password that opens it, and where it was made. The password itself stands nowhere.',
  operands: [],
  options: {},
  examples: [
    { line: 'vml key list', does: 'who can open it' },
    { line: 'vml key list --json', does: 'the same for programs' },
    { line: 'vml key list --logbook /mnt/usb/logbook', does: 'of another logbook' },
  ],
  async run(context) {
    const { out, config, signal } = context
    const { repository } = await context.openLogbook()
    const keys = await listLogbookKeys(config, repository, { signal })
    out.document({ schema: 1, keys: keys.map(describe) })
    for (const line of table(
      keys.map((key) => [
        out.style.bold(shortId(key.id)),
        key.damage ? 'damaged' : `${shown(key.username)}@${shown(key.hostname)}`,
        madeAt(key),
        marksOf(key).join(', '),
      ]),
    ))
      out.line(line)
  },
})

const add = defineCommand({
  description:
    'Gives this computer a key of its own: random bytes in a private file, so that daily use never asks. With --recovery it adds a password instead, for people, for other computers and for stock restic.',
  operands: [],
  options: {
    recovery: flag('--recovery', 'add a password, asked for or from a file'),
    newPasswordFile,
    dryRun,
  },
  examples: [
    { line: 'vml key add', does: 'on a new computer: it asks for the recovery key a last time' },
    { line: 'vml key add --recovery', does: 'one more password, asked for' },
    { line: 'vml key add --recovery --new-password-file pw', does: 'one more password, from a file' },
  ],
  async run(context, { options }) {
    const { config, clock, out, signal } = context
    const forPeople = options.recovery || options.newPasswordFile !== undefined
    const { repository } = await context.openLogbook()
    const what = forPeople ? 'a password' : 'a key for this computer'
    if (options.dryRun) {
      out.line(`Would add ${what}`)
      out.document({ schema: 1, dry_run: true, recovery: forPeople })
      return
    }
    if (forPeople) {
      const { password, generated } = await newPassword(context, options.newPasswordFile, 'add a key')
      const id = await addPasswordKey(config, repository, password, { signal })
      if (generated) showOnce(context, password.toString())
      out.line(`Added ${what}: key ${shortId(id)}`)
      out.document({ schema: 1, id, recovery: true, made: true })
      return
    }
    const { id, made } = await addComputerKey(config, clock, repository, { signal })
    out.line(made ? `Added ${what}: ${shortId(id)}` : `This computer has key ${shortId(id)} already`)
    out.document({ schema: 1, id, recovery: false, made })
  },
})

const remove = defineCommand({
  description:
    'Removes a key: its password opens the logbook no longer. Whoever has a copy of the key file and its password can still read what they have a copy of. The last key stays, and so does the one in use, unless another is proved to open.',
  operands: [operand('ID', 'the beginning of its id, from vml key list')],
  options: {
    proofPasswordFile: text(
      '--proof-password-file <file>',
      'a password that stays, to remove the key in use',
      'file',
    ),
    dryRun,
  },
  examples: [
    { line: 'vml key remove 4f1c', does: 'after a question' },
    { line: 'vml key remove 4f1c --dry-run', does: 'only look which one that is' },
    {
      line: 'vml key remove 4f1c --proof-password-file pw --yes',
      does: "this computer's own, where pw opens the logbook too",
    },
  ],
  async run(context, { operands: [typed = ''], options }) {
    const { config, out, signal } = context
    const { repository } = await context.openLogbook()
    const keys = await listLogbookKeys(config, repository, { signal })
    const key = findLogbookKey(keys, typed)
    const what = `key ${shortId(key.id)} of ${shown(key.username)}@${shown(key.hostname)}${marks(key)}`
    if (options.dryRun) {
      out.line(`Would remove ${what}`)
      out.document({ schema: 1, dry_run: true, key: describe(key) })
      return
    }
    const proof = key.current ? await proofOf(context, options.proofPasswordFile) : undefined
    // What nobody is asked by would only fail from now on.
    const then = key.here ? ' Timers and saves of this computer need a password then.' : ''
    await context.confirm(`Remove ${what}? Its password will not open this logbook any more.${then}`)
    await removeLogbookKey(config, repository, { key, proof }, { signal })
    out.line(`Removed ${what}`)
    if (key.here)
      out.note(
        '  Timers and saves of this computer need a password from now on: password_file in config.toml, or a key again: vml key add',
      )
    out.document({ schema: 1, dry_run: false, key: describe(key) })
  },
})

const password = defineCommand({
  description:
    "Changes a password, such as the recovery key: the new one is added and proved to open before the old one goes. Works with this computer's key, also where the old password is forgotten.",
  operands: [{ ...operand('ID', 'which key, where there is more than one password'), required: false }],
  options: { newPasswordFile, dryRun },
  examples: [
    { line: 'vml key password', does: 'ask for the new one' },
    { line: 'vml key password --new-password-file pw', does: 'take it from a file' },
    { line: 'vml key password 4f1c', does: 'of that key, where there are several' },
  ],
  async run(context, { operands: [typed], options }) {
    const { config, out, signal } = context
    const { repository } = await context.openLogbook()
    const keys = await listLogbookKeys(config, repository, { signal })
    const old = typed === undefined ? onlyPassword(keys) : findLogbookKey(keys, typed)
    if (old.here)
      throw new VmlError(
        'usage',
        `Cannot give key ${shortId(old.id)} a password: it is this computer's own`,
        {
          hint: 'Nothing was changed. vml key remove takes it away, vml key add makes another',
        },
      )
    if (options.dryRun) {
      out.line(`Would change the password of key ${shortId(old.id)}`)
      out.document({ schema: 1, dry_run: true, key: describe(old) })
      return
    }
    const chosen = await newPassword(context, options.newPasswordFile, 'change the password')
    const id = await changePassword(config, repository, { old, password: chosen.password }, { signal })
    if (chosen.generated) showOnce(context, chosen.password.toString())
    out.line(`Changed the password: key ${shortId(id)} is there, ${shortId(old.id)} is gone`)
    const stale = config.passwordFile ?? config.passwordCommand
    if (stale) out.note(`  ${stale.from} may still give the old one`)
    out.document({ schema: 1, dry_run: false, id, removed: old.id })
  },
})

export const noun: NounSpec = {
  description: 'Keys of a logbook: passwords that open it, one for each computer and one for you.',
  verbs: {
    list: { summary: 'list them', load: async () => list },
    add: { summary: 'one for this computer, or a password', load: async () => add },
    remove: { summary: 'take one away', load: async () => remove },
    password: { summary: 'change the recovery key', load: async () => password },
  },
}

/** The one key that is for people: what random bytes open is cheap to try. */
function onlyPassword(keys: readonly LogbookKey[]): LogbookKey {
  const found = keys.filter(({ cost, here, damage }) => cost === 'strong' && !here && damage === undefined)
  const [key] = found
  if (key && found.length === 1) return key
  throw new VmlError(
    'usage',
    `Cannot tell which password to change: there ${found.length === 0 ? 'is none' : `are ${found.length}`}`,
    {
      hint: key
        ? `Name its key: ${found.map(({ id }) => shortId(id)).join(', ')}`
        : 'Add one: vml key add --recovery',
    },
  )
}

async function newPassword(
  context: Context,
  file: string | undefined,
  what: string,
): Promise<{ readonly password: Buffer; readonly generated: boolean }> {
  if (file !== undefined)
    return {
      password: requireLongEnough(
        await passwordIn(context.config, file, '--new-password-file'),
        'nothing was changed',
      ),
      generated: false,
    }
  const typed = await askRecoveryKey(context, {
    what,
    unchanged: 'nothing was changed',
    hint: 'Give one with --new-password-file FILE, or run it on a terminal',
  })
  if (typed) return { password: typed, generated: false }
  const { generateRecoveryKey } = await import('../../app/init.ts')
  return { password: Buffer.from(generateRecoveryKey()), generated: true }
}

async function proofOf(context: Context, file: string | undefined): Promise<Buffer | undefined> {
  if (file !== undefined) return await passwordIn(context.config, file, '--proof-password-file')
  const typed = await context.askSecret('It is the key in use. A password that stays')
  return typed ? Buffer.from(typed) : undefined
}

async function passwordIn(config: Config, file: string, from: string): Promise<Buffer> {
  return await readPasswordFile({ value: typedPath(config, file), from })
}

function describe({ id, username, hostname, created, cost, current, here, damage }: LogbookKey) {
  return {
    id,
    username,
    hostname,
    created,
    kind: cost === 'cheap' ? 'computer' : 'password',
    current,
    this_computer: here,
    damage: damage ?? null,
  }
}

function madeAt({ created }: LogbookKey): string {
  const at = new Date(created)
  return Number.isNaN(at.getTime()) ? '' : formatMoment(at)
}

function marksOf({ cost, current, here, damage }: LogbookKey): string[] {
  return [
    ...(damage === undefined ? [cost === 'cheap' ? 'a computer' : 'a password'] : [shown(damage)]),
    ...(here ? ['this computer'] : []),
    ...(current ? ['in use now'] : []),
  ]
}

function marks(key: LogbookKey): string {
  const found = [...(key.here ? ['this computer'] : []), ...(key.current ? ['in use now'] : [])]
  return found.length === 0 ? '' : ` (${found.join(', ')})`
}
