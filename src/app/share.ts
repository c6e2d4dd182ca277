// A share on this host: a small logbook that is built aside and packed into one file, and the same read back.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { openLocal } from '../backend/local.ts'
import { openShareFile, type ShareFile, type ShareMember, writeShareFile } from '../backend/share-file.ts'
import { isFailure, messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { parseImageRecord } from '../image/image-record.ts'
import type { ImageRecord } from '../model/image.ts'
import { initRepository, openRepository } from '../store/repository.ts'
import type { Repository } from '../store/store.ts'
import type { Config } from './config.ts'
import { readPasswordFile } from './secrets.ts'
import { typedPath } from './working-folder.ts'

/** `vml-share.json`: what can be told before the key is known. */
export interface ShareManifest {
  readonly format: 'vml-share'
  readonly schema: 1
  readonly key: 'inside' | 'password'
  /** The base image, with where it can be had. */
  readonly image?: ImageRecord
}

export interface WriteShare {
  /** The share; refused when it is there. */
  readonly file: string
  /** Undefined puts a random key inside. */
  readonly password: Uint8Array | undefined
  /** Taken over, so that content is cut alike on both sides. */
  readonly polynomial: bigint
  readonly image: ImageRecord | undefined
  readonly images: readonly (ShareMember & { read(): AsyncIterable<Uint8Array> })[]
  /** Copies the entry into the new logbook. */
  readonly fill: (target: Repository) => Promise<void>
  readonly signal?: AbortSignal | undefined
}

/** Built in a private folder beside the file, which is removed in any case. */
export async function makeShare(request: WriteShare): Promise<{ readonly bytes: number }> {
  const { file, password, signal } = request
  const folder = await makeFolderBeside(file)
  try {
    const key = password ? undefined : Buffer.from(randomBytes(32).toString('hex'))
    const backend = openLocal(join(folder, 'logbook'))
    const nobody = { username: 'vml', hostname: 'share' }
    {
      await using target = await initRepository({
        backend,
        keys: [
          key
            ? { password: key, cost: 'cheap', ...nobody }
            : { password: password ?? Buffer.alloc(0), cost: 'strong', ...nobody },
        ],
        polynomial: request.polynomial,
        signal,
      })
      await request.fill(target)
    }
    const manifest: ShareManifest = {
      format: 'vml-share',
      schema: 1,
      key: key ? 'inside' : 'password',
      ...(request.image ? { image: request.image } : {}),
    }
    return await writeShareFile(
      file,
      {
        manifest: Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`),
        ...(key ? { key } : {}),
        repository: openLocal(join(folder, 'logbook'), { readOnly: true }),
        images: request.images,
      },
      { signal },
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** What --share-password-file names, from the working folder; undefined where nothing was named. */
export async function readSharePassword(
  config: Config,
  typed: string | undefined,
): Promise<Buffer | undefined> {
  if (typed === undefined) return undefined
  return await readPasswordFile({ value: typedPath(config, typed), from: '--share-password-file' })
}

export interface OpenShare extends AsyncDisposable {
  readonly manifest: ShareManifest
  readonly repository: Repository
  readonly images: ShareFile['images']
  readImage: ShareFile['readImage']
}

/** Fails with `integrity.*` for anything but a whole share, `auth.key` when the password is missing or wrong. */
export async function openShare(
  file: string,
  options: {
    readonly password: Uint8Array | undefined
    readonly askSecret: (question: string) => Promise<string | undefined>
    readonly signal?: AbortSignal | undefined
  },
): Promise<OpenShare> {
  const share = await openShareFile(file)
  try {
    const manifest = parseManifest(share.manifest, file)
    const secret = await secretOf(share, manifest, file, options)
    const repository = await openRepository({
      backend: share.backend,
      secrets: [secret],
      signal: options.signal,
    })
    return {
      manifest,
      repository,
      images: share.images,
      readImage: share.readImage,
      async [Symbol.asyncDispose]() {
        await repository[Symbol.asyncDispose]()
        await share[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await share[Symbol.asyncDispose]()
    if (!isFailure(error, 'auth.key')) throw error
    throw new VmlError('auth.key', `Cannot open the share "${file}": its password is missing or wrong`, {
      cause: error,
      hint: 'Nothing was taken in. Ask the sender for it, and give it with --share-password-file FILE',
    })
  }
}

async function secretOf(
  share: ShareFile,
  manifest: ShareManifest,
  file: string,
  options: {
    readonly password: Uint8Array | undefined
    readonly askSecret: (question: string) => Promise<string | undefined>
  },
): Promise<Uint8Array> {
  if (manifest.key === 'inside' && share.key) return share.key
  const typed = options.password ?? (await options.askSecret(`Password of the share ${file}`))
  if (typed !== undefined) return typeof typed === 'string' ? Buffer.from(typed) : typed
  throw new VmlError('auth.key', 'No password was given')
}

function parseManifest(bytes: Buffer, file: string): ShareManifest {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw notReadable(file, messageOf(error))
  }
  const json: Readonly<Record<string, unknown>> =
    typeof value === 'object' && value !== null ? { ...value } : {}
  if (json['format'] !== 'vml-share') throw notReadable(file, 'its manifest is another one')
  if (json['schema'] !== 1) {
    throw new VmlError('unsupported', `Cannot read the share "${file}": a newer VML wrote it`, {
      hint: 'Update VML',
    })
  }
  const key = json['key']
  if (key !== 'inside' && key !== 'password') throw notReadable(file, 'it does not say where its key is')
  const image = json['image'] === undefined ? undefined : parseImageRecord(json['image'], file)
  return { format: 'vml-share', schema: 1, key, ...(image ? { image } : {}) }
}

function notReadable(file: string, why: string): VmlError {
  return new VmlError('integrity.format', `Cannot read "${file}" as a share: ${why}`, {
    hint: 'Nothing was taken in. Ask the sender for the file again',
  })
}

async function makeFolderBeside(file: string): Promise<string> {
  try {
    return await mkdtemp(`${file}.building-`)
  } catch (error) {
    const why = systemErrorCode(error) === 'ENOENT' ? 'its folder is not there' : messageOf(error)
    throw new VmlError('not-found', `Cannot write "${file}" in "${dirname(file)}": ${why}`, { cause: error })
  }
}
