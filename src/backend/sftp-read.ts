// Reads a file of an sftp server with several requests under way, so that a far server costs its delay once.
import { VmlError } from '../base/failure.ts'
import { openPool } from '../base/pool.ts'
import type { Sftp, SftpHandle } from '../wire/sftp.ts'

/** 2 MiB on their way fill a line of 160 Mbit/s at a delay of 100 ms. */
const readsInFlight = 16
/** A server that lies about a size must not eat this host; callers ask for what they read whole before. */
const fileBytesMax = 1024 * 1024 * 1024

/** All of it, or a range; `integrity.truncated` where the file ends within what was asked for. */
export async function readFile(
  sftp: Sftp,
  path: string,
  range: { readonly offset: number; readonly length: number } | undefined,
): Promise<Buffer> {
  const handle = await sftp.open(path)
  try {
    const { offset, length } = range ?? { offset: 0, length: await wholeLength(sftp, handle, path) }
    const data = Buffer.allocUnsafeSlow(length)
    const pool = openPool(readsInFlight)
    for (let start = 0; start < length; start += sftp.readBytesMax) {
      const part = data.subarray(start, Math.min(start + sftp.readBytesMax, length))
      await pool.start(async () => await fill(sftp, { handle, path, part, offset: offset + start }))
    }
    await pool.drain()
    return data
  } finally {
    void sftp.close(handle).catch(() => {})
  }
}

interface Part {
  readonly handle: SftpHandle
  readonly path: string
  readonly part: Buffer
  readonly offset: number
}

/** A server may give less than was asked for. */
async function fill(sftp: Sftp, { handle, path, part, offset }: Part): Promise<void> {
  for (let done = 0; done < part.length;) {
    const data = await sftp.read(handle, offset + done, part.length - done)
    if (!data) {
      const size = await sftp.size(handle).catch(() => undefined)
      throw new VmlError(
        'integrity.truncated',
        `Cannot read "${path}" up to byte ${offset + part.length}: it has ${size ?? offset + done}`,
      )
    }
    data.copy(part, done)
    done += data.length
  }
}

async function wholeLength(sftp: Sftp, handle: SftpHandle, path: string): Promise<number> {
  const size = await sftp.size(handle)
  if (size === undefined)
    throw new VmlError('unsupported', `Cannot read "${path}": the server tells no sizes of files`)
  if (size > fileBytesMax)
    throw new VmlError('integrity.format', `Cannot read "${path}" at once: it has ${size} bytes`)
  return size
}
