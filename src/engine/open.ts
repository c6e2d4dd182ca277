// `vml open`: an entry becomes a running machine on its base image, with the home restored exactly.
import type { Reporter } from '../base/progress.ts'
import type { Hypervisor, MachineNetwork, SshAccess } from '../hypervisor/hypervisor.ts'
import type { ImageLibrary, LocalImage } from '../image/library.ts'
import type { ImageRecord } from '../model/image.ts'
import type { EntryDocument } from '../model/entry.ts'
import { VmlError } from '../base/failure.ts'
import type { RawPath } from '../model/raw-path.ts'
import { formatImageReference, type ImageReference } from '../model/machine.ts'
import type { Repository } from '../store/store.ts'
import { entryName, type LoggedEntry } from './entries.ts'
import { type GuestUser, prepareLogin } from './guest-login.ts'
import type { OpenMachine } from './save.ts'
import { rawPathOf } from './protection.ts'
import { mapHome, prepareEntryRestore, requireProof } from './restore-entry.ts'
import { type PreparedRestore, type RestoreReport, runRestore } from './restore.ts'

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
  readonly restored: { readonly prepared: PreparedRestore; readonly report: RestoreReport } | undefined
  /** Root's shell is open as long as this runs. */
  readonly guest: OpenMachine
}

/**
 * Finds or fetches the image, makes and starts the machine, lets the user in, restores. `look` sees the guest before
 * the restore, for the version report. A failure after the machine was made leaves it there, to be looked at or removed.
 */
export async function openEntry(
  request: OpenRequest,
  look: (guest: OpenMachine, image: ImageRecord) => Promise<void>,
): Promise<Opened> {
  const { hypervisor, reporter, signal, document, name } = request
  reporter.progress({ phase: 'finding the image' })
  const image = await findImage(request)
  const userName =
    request.user ?? (document.user.uid === 0 ? 'root' : (image.record.user ?? document.user.name))
  await hypervisor.create(
    {
      name,
      image: image.record,
      paths: image.paths,
      memoryMiB: request.memoryMiB,
      user: userName,
      hostname: name,
      network: request.network,
    },
    { signal },
  )
  reporter.progress({ phase: 'starting the machine' })
  await hypervisor.start(name, { signal })
  const access = await hypervisor.waitForSsh(name, { signal })
  await using guest = await request.openGuest(access, access.seededUsers[0] ?? 'root')
  if (guest.facts.user.uid !== 0) {
    throw new VmlError(
      'unsupported',
      `Cannot restore into "${name}": its image lets only "${guest.facts.user.name}" in, not root`,
      {
        hint: `The machine is running; vml open --rm ${name} removes it`,
      },
    )
  }
  const user = await prepareLogin({
    shell: guest.shell,
    user: userName,
    publicKey: access.publicKey,
    ids: document.user.uid === 0 ? undefined : document.user,
    signal,
  })
  await look(guest, image.record)
  const { describe } = mapHome(document, user)
  const restored = request.restore ? await restoreInto(request, guest, user) : undefined
  return { name, image, access, user, mapped: describe, restored, guest }
}

async function findImage(request: OpenRequest): Promise<LocalImage> {
  const { library, document, image, offered, signal, reporter } = request
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
    return await library.pull(
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
): Promise<{ prepared: PreparedRestore; report: RestoreReport }> {
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
  const report = await runRestore(prepared)
  requireProof(report, 'Nothing was there before', request.name)
  return { prepared, report }
}

function homesOf(document: EntryDocument): RawPath[] {
  const homes = document.roots.filter(({ why }) => why === 'home')
  return homes.flatMap(({ raw }) => rawPathOf(raw) ?? [])
}
