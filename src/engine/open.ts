// `vml open`: an entry becomes a running machine on its base image, with the home restored exactly.
import type { Reporter } from '../base/progress.ts'
import type { Hypervisor, MachineNetwork, SshAccess } from '../hypervisor/hypervisor.ts'
import type { ImageLibrary, LocalImage } from '../image/library.ts'
import type { ImageRecord, ImageRequest, ResolvedImage } from '../model/image.ts'
import type { EntryDocument } from '../model/entry.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import type { RawPath } from '../model/raw-path.ts'
import { formatImageReference, type ImageReference } from '../model/machine.ts'
import type { Repository } from '../store/store.ts'
import { entryName, type LoggedEntry } from './entries.ts'
import { type GuestUser, type LoginRequest, prepareLogin } from './guest-login.ts'
import type { OpenMachine } from './save.ts'
import { rawPathOf } from './protection.ts'
import {
  cacheParts,
  mapHome,
  prepareEntryRestore,
  type PreparedEntryRestore,
  requireProof,
} from './restore-entry.ts'
import { type MissingPath, missingWithin, readMissing } from './restore-missing.ts'
import { type RestoreReport, runRestore } from './restore.ts'

export interface OpenRequest {
  readonly entry: LoggedEntry
  readonly document: EntryDocument
  readonly repository: Repository
  readonly library: ImageLibrary
  /** Image records that came with shares. */
  readonly offered: readonly ImageRecord[]
  readonly hypervisor: Hypervisor
  /** Another base image or version than the entry's. */
  readonly image: ImageReference | undefined
  readonly name: string
  readonly user: string | undefined
  readonly network: MachineNetwork
  readonly memoryMiB: number
  readonly restore: boolean
  readonly caches: 'all' | 'none'
  /** Root's shell on a guest, and what can be asked through it. */
  readonly openGuest: (access: SshAccess, user: string) => Promise<OpenMachine & AsyncDisposable>
  /** Logs in and out again; fails with `remote.denied`. */
  readonly enter: (access: SshAccess, user: string) => Promise<void>
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

export interface Opened {
  readonly name: string
  readonly image: LocalImage
  readonly access: SshAccess
  readonly user: GuestUser
  /** Where paths and owners went, in words. */
  readonly mapped: readonly string[]
  readonly restored: { readonly prepared: PreparedEntryRestore; readonly report: RestoreReport } | undefined
}

/**
 * Finds or fetches the image, makes and starts the machine, lets the user in, restores, and proves that the user can enter. `look` sees
 * the guest before the restore, for the version report. A failure after the machine was made leaves it there, to be
 * looked at or removed; who cancels keeps nothing of it.
 */
export async function openEntry(
  request: OpenRequest,
  look: (guest: OpenMachine, image: ImageRecord) => Promise<void>,
): Promise<Opened> {
  const { hypervisor, reporter, signal, name } = request
  reporter.progress({ phase: 'finding the image' })
  const image = await findImage(request, (wanted, options) => request.library.pull(wanted, options))
  const userName = userNameOf(request, image.record)
  await hypervisor.create(
    {
      name,
      image: image.record,
      paths: image.paths,
      memoryMiB: request.memoryMiB,
      user: userName,
      hostname: name.replaceAll(/[^A-Za-z0-9-]/g, '-'),
      network: request.network,
    },
    { signal },
  )
  try {
    return await bringUp(request, { image, userName, look })
  } catch (error) {
    if (!signal?.aborted) throw leftBehind(error, name)
    await hypervisor.stop(name, { mode: 'kill' })
    await hypervisor.remove(name)
    throw error
  }
}

async function bringUp(
  request: OpenRequest,
  {
    image,
    userName,
    look,
  }: {
    image: LocalImage
    userName: string
    look: (guest: OpenMachine, image: ImageRecord) => Promise<void>
  },
): Promise<Opened> {
  const { hypervisor, reporter, signal, document, name } = request
  reporter.progress({ phase: 'starting the machine' })
  await hypervisor.start(name, { signal })
  const access = await hypervisor.waitForSsh(name, { signal })
  await using guest = await request.openGuest(access, access.seededUsers[0] ?? 'root')
  const user = await letIn({ guest, access, user: userName, ids: idsOf(document), signal })
  await look(guest, image.record)
  const { describe } = mapHome(document, user)
  const restored = request.restore ? await restoreInto(request, guest, user) : undefined
  await proveLogin(request, access, user)
  return { name, image, access, user, mapped: restored ? describe : [], restored }
}

/** Starts a machine that was opened before and then stopped. What it became since then stays as it is. */
export async function startAgain(
  request: Pick<OpenRequest, 'hypervisor' | 'name' | 'openGuest' | 'enter' | 'reporter' | 'signal'>,
): Promise<{ readonly access: SshAccess; readonly user: GuestUser }> {
  const { hypervisor, reporter, signal, name } = request
  const { user: userName = 'root' } = await hypervisor.status(name)
  reporter.progress({ phase: 'starting the machine' })
  await hypervisor.start(name, { signal })
  const access = await hypervisor.waitForSsh(name, { signal })
  await using guest = await request.openGuest(access, access.seededUsers[0] ?? 'root')
  const user = await letIn({ guest, access, user: userName, ids: undefined, signal })
  await proveLogin(request, access, user)
  return { access, user }
}

/** The home is in place now: whatever it holds, the command that is printed has to let the user in. */
async function proveLogin(
  { enter, reporter, name }: Pick<OpenRequest, 'enter' | 'reporter' | 'name'>,
  access: SshAccess,
  user: GuestUser,
): Promise<void> {
  try {
    await enter(access, user.name)
  } catch (error) {
    // Past the login it is the user's own shell that counts, and that is as the entry has it.
    const isOfShell =
      isFailure(error, 'remote.protocol', 'remote.command', 'unavailable.timeout') ||
      (isFailure(error, 'remote.denied') && error.details['reason'] === 'login-shell')
    if (!isOfShell) throw error
    reporter.warn({
      warning: `The login shell of "${user.name}" on ${name} does not answer: ${error.message}`,
    })
  }
}

function idsOf({ user }: EntryDocument): LoginRequest['ids'] {
  return user.uid === 0 ? undefined : user
}

async function letIn(
  request: { guest: OpenMachine; access: SshAccess } & Pick<LoginRequest, 'user' | 'ids' | 'signal'>,
): Promise<GuestUser> {
  const { guest, access, ...login } = request
  if (guest.facts.user.uid !== 0) {
    throw new VmlError(
      'unsupported',
      `Cannot restore into "${guest.machine.name}": its image lets only "${guest.facts.user.name}" in, not root`,
    )
  }
  return await prepareLogin({ shell: guest.shell, publicKey: access.publicKey, ...login })
}

function leftBehind(error: unknown, name: string): unknown {
  if (!(error instanceof VmlError)) return error
  const left = `The machine is left as it is: vml open --rm ${name} removes it`
  return new VmlError(error.code, error.message, {
    details: { ...error.details, machine: name },
    cause: error,
    hint: error.hint === undefined ? left : `${error.hint}\n${left}`,
  })
}

type Asked = Pick<OpenRequest, 'entry' | 'document' | 'image' | 'user' | 'offered' | 'reporter' | 'signal'>

export interface OpenPlan extends ResolvedImage {
  readonly userName: string
  /** What the entry knows that it does not have, of what would be restored. */
  readonly missing: readonly MissingPath[]
}

/** Which image and user an opening would take, and what it could not bring; asks catalogues, fetches and starts nothing. */
export async function planOpen(
  request: Asked & Pick<OpenRequest, 'library' | 'repository' | 'restore' | 'caches'>,
): Promise<OpenPlan> {
  const { repository, document, restore, caches } = request
  const missing = restore
    ? missingWithin(await readMissing(repository, request, request), {
        paths: [],
        without: cacheParts(document, caches),
      })
    : []
  const resolved = await findImage(request, (wanted, options) => request.library.resolve(wanted, options))
  return { ...resolved, userName: userNameOf(request, resolved.record), missing }
}

function userNameOf({ user, document }: Pick<OpenRequest, 'user' | 'document'>, record: ImageRecord): string {
  return user ?? (document.user.uid === 0 ? 'root' : (record.user ?? document.user.name))
}

async function findImage<Found>(
  request: Asked,
  ask: (wanted: ImageRequest, options: Pick<Asked, 'offered' | 'reporter' | 'signal'>) => Promise<Found>,
): Promise<Found> {
  const { document, image, offered, signal, reporter } = request
  const wanted = image ?? document.image
  if (!wanted) {
    throw new VmlError(
      'image.unobtainable',
      `Cannot tell the base image of ${entryName(request.entry)}: the entry names none`,
      {
        hint: 'Nothing was started. Name one with --image NAME@VERSION; vml image list shows them',
      },
    )
  }
  const sha256 = image ? undefined : document.image?.sha256
  try {
    return await ask(
      {
        reference: { name: wanted.name, version: wanted.version },
        ...(sha256 === undefined ? {} : { sha256 }),
      },
      { signal, reporter, offered },
    )
  } catch (error) {
    if (!(error instanceof VmlError) || error.code !== 'image.unobtainable' || image) throw error
    const guessed = document.image?.guessed ? ', which was only guessed from its os-release' : ''
    throw new VmlError(
      error.code,
      `${error.message} (the entry names ${formatImageReference(wanted)}${guessed})`,
      {
        details: error.details,
        cause: error,
        hint: 'Nothing was started. Another version may do: --image NAME@VERSION; vml image list shows what there is',
      },
    )
  }
}

/** Exact: what a fresh home has and the entry does not, goes. Nobody has worked there, so there is nothing to keep. */
async function restoreInto(
  request: OpenRequest,
  guest: OpenMachine,
  user: GuestUser,
): Promise<{ prepared: PreparedEntryRestore; report: RestoreReport }> {
  const { map, mapOwner } = mapHome(request.document, user)
  const prepared = await prepareEntryRestore({
    repository: request.repository,
    entry: request.entry,
    document: request.document,
    paths: [],
    destination: {
      source: guest.source,
      label: request.name,
      map,
      owners: true,
      mapOwner,
      sameMachine: false,
    },
    ownPaths: [],
    caches: request.caches,
    overwrite: 'always',
    remove: true,
    // An included folder may be the system's own on this image: there nothing goes that the image brought.
    removeWithin: homesOf(request.document),
    extras: [],
    reporter: request.reporter,
    signal: request.signal,
  })
  const report = await runRestore({ ...prepared, isNew: true })
  requireProof(report, 'Nothing was there before', request.name)
  return { prepared, report }
}

function homesOf(document: EntryDocument): RawPath[] {
  const homes = document.roots.filter(({ why }) => why === 'home')
  return homes.flatMap(({ raw }) => rawPathOf(raw) ?? [])
}
