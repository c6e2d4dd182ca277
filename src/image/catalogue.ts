// Images that a simplestreams mirror offers, as records: which item is the disk, what it is called, how it is seeded.
import { VmlError } from '../base/failure.ts'
import { compareVersionNames, type ImageItem, type ImageRecord, normalArchitecture } from '../model/image.ts'
import { parseImageReference } from '../model/machine.ts'
import {
  documentBytesMax,
  indexPath,
  parseStreamIndex,
  parseStreamProducts,
  type StreamItem,
  type StreamVersion,
} from '../wire/simplestreams.ts'
import { isImageRecord } from './image-record.ts'
import { checkedUrl, httpGetDocument } from './http-get.ts'
import type { Fetch } from '../wire/http-request.ts'

/** All images of a mirror; `url` is its root, the folder that holds `streams/`. */
export async function readCatalogue(
  url: string,
  options: { fetch: Fetch; idleTimeoutMs: number; signal?: AbortSignal | undefined },
): Promise<ImageRecord[]> {
  const root = checkedUrl(url)
  if (!root.pathname.endsWith('/')) root.pathname += '/'
  const read = async (path: string) =>
    await httpGetDocument(below(root, path), { ...options, bytesMax: documentBytesMax })
  const records: ImageRecord[] = []
  for (const path of parseStreamIndex(await read(indexPath), url)) {
    const products = Map.groupBy(parseStreamProducts(await read(path), url), (version) => version.product)
    for (const versions of products.values()) records.push(...recordsOf(versions, root))
  }
  return records
}

// In the order of preference: as Ubuntu, LXD and Incus call a disk that a virtual machine can start from.
const diskTypes = ['disk1.img', 'disk-kvm.img', 'uefi1.img', 'disk.img', 'disk.qcow2']
const kernelTypes = ['boot-kernel', 'vmlinuz']
const initrdTypes = ['boot-initrd', 'initrd']

/**
 * The versions of one product. Where the product says which version of the system it is (Ubuntu: `version` 22.04, with a
 * serial such as `20220420` for each build), that alone names its newest build, and each build is `22.04.20220420`.
 */
function recordsOf(versions: readonly StreamVersion[], root: URL): ImageRecord[] {
  const serials = versions.map(({ version }) => version).toSorted(compareVersionNames)
  return versions.flatMap((version) => {
    const { tags, version: serial } = version
    const system = tags['version']
    const names = system === undefined ? [serial] : serial === serials.at(-1) ? [system] : []
    if (system !== undefined && serials.length > 1) names.push(`${system}.${serial}`)
    return names.flatMap((name) => recordOf(version, name, root) ?? [])
  })
}

/** What a build is to us; undefined when it holds no disk with a checksum, or has no name that can be typed. */
function recordOf(version: StreamVersion, versionName: string, root: URL): ImageRecord | undefined {
  const disk = itemOf(version, diskTypes, root)
  const names = namesOf(version)
  const [name] = names
  if (disk === undefined || name === undefined) return undefined
  const { vml, tags } = version
  const kernel = itemOf(version, kernelTypes, root)
  const initrd = itemOf(version, initrdTypes, root)
  const record: ImageRecord = {
    name,
    version: versionName,
    arch: normalArchitecture(tags['arch'] ?? 'x86_64'),
    // Every disk that these catalogues hold is qcow2 where nothing else is said.
    format: vml.format ?? 'qcow2',
    // A kernel without VML's own tag belongs to a netboot set, not to this disk.
    items:
      kernel !== undefined && initrd !== undefined && vml.kernelArguments !== undefined
        ? { disk, kernel, initrd }
        : { disk },
    // Vendors' cloud images read NoCloud.
    seed: vml.seed ?? 'nocloud',
    ...(vml.user === undefined ? {} : { user: vml.user }),
    ...(vml.virtualSizeBytes === undefined ? {} : { virtualSizeBytes: vml.virtualSizeBytes }),
    ...(vml.kernelArguments === undefined ? {} : { kernelArguments: vml.kernelArguments }),
    ...(names.length > 1 ? { aliases: names.slice(1) } : {}),
  }
  // A tag that no machine could use (a user with a slash, say) is a fault of one image, not of the whole catalogue.
  return isImageRecord(record) ? record : undefined
}

/** VML's own name, the system's where its version is told apart, the publisher's aliases, system and release. */
function namesOf({ vml, tags }: StreamVersion): string[] {
  const release = [tags['os'], tags['release']].filter((part) => part !== undefined).join('-')
  const system = tags['version'] === undefined ? '' : (tags['os'] ?? '').toLowerCase()
  const candidates = [vml.name ?? '', system, ...(tags['aliases'] ?? '').split(','), release.toLowerCase()]
  // LXD's aliases have slashes.
  const names = candidates.map((candidate) => candidate.trim().replaceAll('/', '-'))
  return [...new Set(names)].filter((name) => parseImageReference(`${name}@1`) !== undefined)
}

function itemOf(version: StreamVersion, types: readonly string[], root: URL): ImageItem | undefined {
  for (const type of types) {
    const item = version.items.find((candidate) => candidate.ftype === type)
    if (item?.sha256 !== undefined && item.sizeBytes !== undefined) return toItem(item, root)
  }
  return undefined
}

function toItem({ sha256 = '', sizeBytes = 0, path }: StreamItem, root: URL): ImageItem {
  return { sha256, sizeBytes, urls: [below(root, path)] }
}

/** The parser has refused what leaves the mirror; this is the second lock on the same door. */
function below(root: URL, path: string): string {
  const url = new URL(path, root)
  if (url.origin !== root.origin || !url.pathname.startsWith(root.pathname))
    throw new VmlError('image.unobtainable', `Cannot follow a path that leaves the mirror "${root.href}"`)
  return url.href
}
