// What a pack says of itself, by two small reads where all of it would be read for its last bytes alone.
import { isFailure } from '../base/failure.ts'
import type { PackId } from '../model/ids.ts'
import { isDamage } from './damage.ts'
import { decodePackHeader, headerLengthBytes, type PackedBlob, parseHeaderLength } from './pack-format.ts'
import type { Vault } from './sealed-file.ts'
import type { CallOptions } from './store.ts'

/** Undefined where the pack is gone or its header is damaged. The blobs themselves are not looked at. */
export async function readPackHeader(
  { backend, cipher }: Vault,
  { pack, sizeBytes }: { readonly pack: PackId; readonly sizeBytes: number },
  options: CallOptions,
): Promise<readonly PackedBlob[] | undefined> {
  const file = { kind: 'pack', name: pack } as const
  try {
    const end = sizeBytes - headerLengthBytes
    if (end < 0) return undefined
    const tail = await backend.get(file, { offset: end, length: headerLengthBytes }, options)
    const length = parseHeaderLength(tail, sizeBytes)
    const sealed = await backend.get(file, { offset: end - length, length }, options)
    return decodePackHeader(cipher, sealed, sizeBytes)
  } catch (error) {
    if (isDamage(error) || isFailure(error, 'not-found')) return undefined
    throw error
  }
}
