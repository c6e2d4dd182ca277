// What an initrd has in it: its cpio archives one after another, each as it is or compressed (Linux, Documentation/driver-api/early-userspace).
import { createHash } from 'node:crypto'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'

// "newc": 6 characters of magic, then 13 numbers of 8 hexadecimal digits (cpio(5)).
const headerBytes = 110
const magic = '070701'
const zstdMagic = 0x28b52ffd
const gzipMagic = 0x1f8b
const end = 'TRAILER!!!'

/** `PATH MODE OWNER:GROUP SHA256` for each, in order of paths. Times and numbers of inodes are those of its making, and not in it. */
export function readInitrd(bytes: Buffer): string[] {
  const found: string[] = []
  let rest = bytes
  while (rest.length > 0) {
    // Archives are padded with zeros.
    if (rest[0] === 0) {
      const next = rest.findIndex((byte) => byte !== 0)
      if (next === -1) break
      rest = rest.subarray(next)
    }
    if (rest.readUInt32BE() === zstdMagic) rest = zstdDecompressSync(rest)
    else if (rest.readUInt16BE() === gzipMagic) rest = gunzipSync(rest)
    rest = readArchive(rest, found)
  }
  return found.toSorted()
}

function readArchive(bytes: Buffer, found: string[]): Buffer {
  let at = 0
  for (;;) {
    if (bytes.toString('latin1', at, at + 6) !== magic)
      throw new Error(`No cpio archive at byte ${at} of an initrd`)
    const number = (index: number) =>
      Number.parseInt(bytes.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16)
    const [mode, uid, gid, size, nameBytes] = [1, 2, 3, 6, 11].map(number)
    if (mode === undefined || size === undefined || nameBytes === undefined)
      throw new Error('A torn cpio archive')
    const name = bytes.toString('latin1', at + headerBytes, at + headerBytes + nameBytes - 1)
    const contentAt = padded(at + headerBytes + nameBytes)
    const content = bytes.subarray(contentAt, contentAt + size)
    at = padded(contentAt + size)
    if (name === end) return bytes.subarray(at)
    found.push(
      `${name} ${mode.toString(8)} ${uid}:${gid} ${createHash('sha256').update(content).digest('hex')}`,
    )
  }
}

function padded(at: number): number {
  return Math.ceil(at / 4) * 4
}
