// The disk of a machine: a qcow2 overlay over an image that is only read.
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import { runProgramWell } from './program.ts'

const imageToolMs = 60_000
const virtualSizeBytesMax = 16 * 1024 ** 4

/** Refuses an image that names further files: they would be files of this host, chosen by the publisher. */
export async function makeOverlay({
  disk,
  format,
  overlay,
  signal,
}: {
  /** Absolute. */
  disk: string
  format: 'qcow2' | 'raw'
  overlay: string
  signal: AbortSignal | undefined
}): Promise<void> {
  const options = { timeoutMs: imageToolMs, signal }
  const { stdout } = await runProgramWell(
    'qemu-img',
    ['info', '-U', '--output=json', '-f', format, disk],
    options,
  )
  const size = checkImage(JSON.parse(stdout), disk)
  const create = [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-o',
    'compat=1.1',
    '-b',
    disk,
    '-F',
    format,
    overlay,
    String(size),
  ]
  await runProgramWell('qemu-img', create, options)
}

function checkImage(info: unknown, disk: string): number {
  const facts = isObject(info) ? info : {}
  const specific = isObject(facts['format-specific']) ? facts['format-specific'] : {}
  const data = isObject(specific['data']) ? specific['data'] : {}
  if (facts['backing-filename'] !== undefined || data['data-file'] !== undefined)
    throw new VmlError(
      'image.unobtainable',
      `Cannot use the image "${printableText(disk)}": it is not complete, but names other files`,
    )
  const size = facts['virtual-size']
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size <= 0 || size > virtualSizeBytesMax)
    throw new VmlError(
      'image.unobtainable',
      `Cannot use the image "${printableText(disk)}": it has no sensible size`,
    )
  return size
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
