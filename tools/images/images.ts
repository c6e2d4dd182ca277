// Guest images as tools/images/build makes them: built on first use, described by the image.json beside them.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

export const imageNames = ['tiny@1', 'tiny@2', 'tiny-busybox@1', 'debian@12'] as const
export type ImageName = (typeof imageNames)[number]

export interface ImageFile {
  /** Below the image's folder. */
  readonly path: string
  readonly sha256: string
  readonly size: number
}

/** See README.md, "image.json". */
export interface Image {
  readonly folder: string
  readonly name: string
  readonly version: string
  readonly os: string
  readonly arch: string
  readonly format: 'qcow2'
  readonly virtualSize: number
  readonly seed: 'systemd-credentials'
  readonly user: string
  readonly disk: ImageFile
  /** Absent where the disk has a bootloader of its own. */
  readonly boot?: { readonly kernel: ImageFile; readonly initrd: ImageFile; readonly arguments: string }
}

const built = new Map<ImageName, Promise<Image>>()

/** Builds an image unless its folder is there; a few milliseconds where it is. */
export async function buildImage(name: ImageName): Promise<Image> {
  const known = built.get(name) ?? build(name)
  built.set(name, known)
  return await known
}

async function build(name: ImageName): Promise<Image> {
  const { stdout } = await promisify(execFile)(join(import.meta.dirname, 'build'), [name])
  const folder = stdout.trim()
  // Written by our own script a moment ago, or by the same script earlier: the folder's name has its hash.
  const image = JSON.parse(await readFile(join(folder, 'image.json'), 'utf8')) as Omit<Image, 'folder'>
  return { ...image, folder }
}
