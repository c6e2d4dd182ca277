// Publishes built images as a simplestreams repository: a folder that any static web server can serve. README.md has the shape.
import { copyFile, link, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Image, ImageFile } from './images.ts'

const productsPath = 'streams/v1/images.json'

/** Writes index, products file and the images' files below `folder`, which must not exist or be empty. */
export async function writeCatalog(folder: string, images: readonly Image[]): Promise<void> {
  const products = Object.fromEntries(
    images.map((image) => [`org.vml:${image.name}:${image.version}:${image.arch}`, productOf(image)]),
  )
  await writeJson(join(folder, 'streams/v1/index.json'), {
    format: 'index:1.0',
    index: {
      images: {
        datatype: 'image-downloads',
        format: 'products:1.0',
        path: productsPath,
        products: Object.keys(products),
      },
    },
  })
  await writeJson(join(folder, productsPath), {
    format: 'products:1.0',
    content_id: 'images',
    datatype: 'image-downloads',
    products,
  })
  for (const image of images) {
    for (const { file } of filesOf(image)) await publish(image, file, folder)
  }
}

// All our images carry the date of nothing in particular: what is in them is told by their sums.
const serial = '20260101'

function productOf(image: Image): object {
  return {
    arch: image.arch,
    os: image.os,
    release: image.version,
    release_title: `${image.os} ${image.version}`,
    version: image.version,
    aliases: `${image.name}/${image.version},${image.name}@${image.version}`,
    vml: {
      name: image.name,
      seed: image.seed,
      user: image.user,
      format: image.format,
      virtualSizeBytes: image.virtualSize,
      ...(image.boot === undefined ? {} : { kernelArguments: image.boot.arguments }),
    },
    versions: {
      [serial]: {
        items: Object.fromEntries(
          filesOf(image).map(({ ftype, file }) => [
            ftype,
            { ftype, path: publicPath(image, file), sha256: file.sha256, size: file.size },
          ]),
        ),
      },
    },
  }
}

function filesOf({ disk, boot }: Image): { ftype: string; file: ImageFile }[] {
  return [
    { ftype: 'disk1.img', file: disk },
    ...(boot === undefined
      ? []
      : [
          { ftype: 'boot-kernel', file: boot.kernel },
          { ftype: 'boot-initrd', file: boot.initrd },
        ]),
  ]
}

function publicPath(image: Image, file: ImageFile): string {
  return `images/${image.name}/${image.version}/${image.arch}/${serial}/${file.path}`
}

async function publish(image: Image, file: ImageFile, folder: string): Promise<void> {
  const from = join(image.folder, file.path)
  const to = join(folder, publicPath(image, file))
  await mkdir(dirname(to), { recursive: true })
  // Nobody writes to a published file, so one copy on disk does; the cache may lie on another file system.
  await link(from, to).catch(async () => await copyFile(from, to))
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`)
}
