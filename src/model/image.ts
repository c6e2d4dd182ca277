// A base image: what virtual machines start from, where it can be had, and which one answers a request.
import { VmlError } from '../base/failure.ts'
import { formatImageReference, type ImageReference } from './machine.ts'

/** One file of an image; its digest is its name wherever it lies. */
export interface ImageItem {
  /** SHA-256 of the file, lower-case hex. */
  readonly sha256: string
  readonly sizeBytes: number
  /** http or https, in the order to try. */
  readonly urls: readonly string[]
}

/** How a fresh machine learns the key that may enter: see `docs/guide`, and vendors' words for the same. */
export type ImageSeed = 'nocloud' | 'systemd-credentials' | 'baked'

export const imageRoles = ['disk', 'kernel', 'initrd'] as const
export type ImageRole = (typeof imageRoles)[number]

/** Everything that is needed to obtain and start an image. Several versions of a name stand side by side. */
export interface ImageRecord {
  readonly name: string
  readonly version: string
  /** As `uname -m` says it: `x86_64`, `aarch64`. */
  readonly arch: string
  readonly format: 'qcow2' | 'raw'
  /** Without kernel and initrd the disk starts with its own bootloader. */
  readonly items: { readonly disk: ImageItem; readonly kernel?: ImageItem; readonly initrd?: ImageItem }
  readonly seed: ImageSeed
  /** Whose home a restored one becomes; without it, `root` or what the user says. */
  readonly user?: string
  readonly virtualSizeBytes?: number
  /** Added to the kernel's command line when the image is started by its kernel. */
  readonly kernelArguments?: string
  /** Other names that the publisher gives to the same image. */
  readonly aliases?: readonly string[]
}

export interface ImageRequest {
  /** SHA-256 of the disk, when an entry or a share names it. */
  readonly sha256?: string
  readonly reference?: ImageReference
  /** Images of another architecture are not taken; none means any. */
  readonly arch?: string
}

export interface ResolvedImage {
  readonly record: ImageRecord
  readonly where: 'local' | 'catalogue'
  /** `name`: a digest was asked for and nobody has it, or none was asked for. */
  readonly by: 'digest' | 'name'
  /** The image has the name and version asked for, but is not the same bytes: worth a warning. */
  readonly digestDiffers: boolean
}

/**
 * The image that answers a request: by digest here, then in the catalogues; then by name and version here, then
 * in the catalogues. Another version than the one asked for is never taken. `image.unobtainable` says which versions there are.
 */
export function resolveImage(
  request: ImageRequest,
  known: { readonly local: readonly ImageRecord[]; readonly catalogues: readonly ImageRecord[] },
): ResolvedImage {
  const found = findImage(request, known)
  if (found !== undefined) return found
  const { reference, sha256 } = request
  const versions = reference === undefined ? [] : versionsOf(reference.name, known)
  const wanted =
    reference === undefined ? `image sha256:${sha256 ?? ''}` : `image "${formatImageReference(reference)}"`
  const state =
    versions.length > 0
      ? `the versions there are: ${versions.join(', ')}`
      : reference === undefined
        ? 'no local image and no catalogue has it'
        : `no local image and no catalogue has the name "${reference.name}"`
  throw new VmlError('image.unobtainable', `Cannot obtain ${wanted}: ${state}`, {
    details: { reference, sha256, versions },
    hint:
      versions.length > 0
        ? `Name one of them with --image ${reference?.name ?? 'NAME'}@VERSION`
        : 'vml image list shows what is known; a catalogue or a plain URL can be added with vml image pull',
  })
}

/** The same, or undefined when nothing answers. */
export function findImage(
  request: ImageRequest,
  known: { readonly local: readonly ImageRecord[]; readonly catalogues: readonly ImageRecord[] },
): ResolvedImage | undefined {
  const { reference, sha256, arch } = request
  const places = [
    { where: 'local', records: known.local },
    { where: 'catalogue', records: known.catalogues },
  ] as const
  const fits = (record: ImageRecord) => arch === undefined || record.arch === arch
  const named = (record: ImageRecord) => reference !== undefined && hasReference(record, reference)
  if (sha256 !== undefined) {
    for (const { where, records } of places) {
      const same = records.filter((record) => record.items.disk.sha256 === sha256 && fits(record))
      const record = same.find(named) ?? same[0]
      if (record !== undefined) return { record, where, by: 'digest', digestDiffers: false }
    }
  }
  for (const { where, records } of places) {
    const record = records.find((candidate) => named(candidate) && fits(candidate))
    if (record !== undefined) return { record, where, by: 'name', digestDiffers: sha256 !== undefined }
  }
  return undefined
}

export function hasName(record: ImageRecord, name: string): boolean {
  return record.name === name || (record.aliases?.includes(name) ?? false)
}

function hasReference(record: ImageRecord, reference: ImageReference): boolean {
  return hasName(record, reference.name) && record.version === reference.version
}

function versionsOf(
  name: string,
  known: { readonly local: readonly ImageRecord[]; readonly catalogues: readonly ImageRecord[] },
): string[] {
  const records = [...known.local, ...known.catalogues].filter((record) => hasName(record, name))
  return [...new Set(records.map((record) => record.version))].toSorted(compareVersionNames)
}

/** Digits by value, so that 9 comes before 10. For showing: nothing is decided by it. */
export function compareVersionNames(left: string, right: string): number {
  return left.localeCompare(right, 'en', { numeric: true })
}

/** One spelling for what publishers call `amd64`, `x86-64` or `arm64`. */
export function normalArchitecture(text: string): string {
  const lower = text.toLowerCase()
  if (lower === 'amd64' || lower === 'x86-64' || lower === 'x64') return 'x86_64'
  return lower === 'arm64' ? 'aarch64' : lower
}

/** Items with their roles, the disk first. */
export function itemsOf(record: ImageRecord): { readonly role: ImageRole; readonly item: ImageItem }[] {
  return imageRoles.flatMap((role) => {
    const item = record.items[role]
    return item === undefined ? [] : [{ role, item }]
  })
}
