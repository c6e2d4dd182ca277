// Everything that a repository holds, decrypted: for tests that something is in no part of it.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { parseId, type BlobId, type TreeId } from '../src/model/ids.ts'
import type { Repository } from '../src/store/store.ts'
import { resticProgram } from './restic-peer.ts'

/** Whether any blob has one of the texts in it. Which blobs there are says stock restic, so also those that no snapshot names count. */
export async function isStored(
  repository: Repository,
  place: { readonly location: string; readonly passwordFile: string },
  texts: readonly string[],
): Promise<boolean> {
  const { stdout } = await promisify(execFile)(resticProgram('0.19'), [
    '--repo',
    place.location,
    '--password-file',
    place.passwordFile,
    '--no-cache',
    '--no-lock',
    'list',
    'blobs',
  ])
  const blobs = [...stdout.matchAll(/^(data|tree) ([0-9a-f]{64})$/gm)]
  if (blobs.length === 0) throw new Error(`There is no blob in ${place.location}`)
  for (const [, type, id = ''] of blobs) {
    const bytes =
      type === 'tree'
        ? Buffer.from(
            JSON.stringify(await repository.readTree(parseId<TreeId>(id) ?? noId(id)), withoutBigints),
          )
        : await repository.readBlob(parseId<BlobId>(id) ?? noId(id))
    if (texts.some((text) => bytes.includes(text))) return true
  }
  return false
}

function withoutBigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

function noId(text: string): never {
  throw new Error(`This is no id: ${text}`)
}
