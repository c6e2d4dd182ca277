// Makes the files that are saved and restored: always the same ones from the same seed, kept outside of the clone.
import { createCipheriv, createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

export interface DataSet {
  readonly folder: string
  /** What the generator and the scale come to: two runs with the same one had the same files. */
  readonly fingerprint: string
  readonly files: number
  readonly bytes: number
}

const seed = 20_261_121
/** Of every file and folder, so that a set made anew is the same one. */
const modifiedAt = new Date('2026-03-01T12:00:00.123Z')

// What scale 1 has: 75,000 files of 2.5 GB together, as homes of people who compute look: sources and notes, results,
// copies of both, and a few large files that are most of the bytes.
const counts = { text: 58_000, binary: 11_000, copies: 5940, large: 60 }
const largeBytes = { min: 2_000_000, max: 58_000_000 }

/** Makes the set below `cache` where it is not there yet. */
export function makeDataSet(cache: string, scale: number): DataSet {
  const source = readFileSync(import.meta.filename)
  const fingerprint = createHash('sha256').update(source).update(`scale ${scale}`).digest('hex').slice(0, 16)
  const home = join(cache, 'bench', `data-${fingerprint}`)
  const sums = join(home, 'sums.json')
  if (!existsSync(sums)) {
    mkdirSync(dirname(home), { recursive: true, mode: 0o700 })
    const work = mkdtempSync(join(dirname(home), 'new-'))
    const made = generate(join(work, 'data'), scale)
    writeFileSync(join(work, 'sums.json'), JSON.stringify(made))
    rmSync(home, { recursive: true, force: true })
    renameSync(work, home)
  }
  const { files, bytes } = JSON.parse(readFileSync(sums, 'utf8')) as { files: number; bytes: number }
  return { folder: join(home, 'data'), fingerprint, files, bytes }
}

function generate(root: string, scale: number): { files: number; bytes: number } {
  const random = openRandom(seed)
  const noise = openNoise(seed)
  const text = openText(random)
  const folders = new Set<string>()
  const made: string[] = []
  let bytes = 0
  const scaled = (count: number) => Math.max(1, Math.round(count * scale))
  const place = (folder: string, name: string): string => {
    const path = join(root, folder)
    if (!folders.has(path)) mkdirSync(path, { recursive: true })
    folders.add(path)
    return join(path, name)
  }
  const write = (path: string, content: Uint8Array) => {
    writeFileSync(path, content)
    utimesSync(path, modifiedAt, modifiedAt)
    bytes += content.length
    made.push(path)
  }
  for (let index = 0; index < scaled(counts.text); index++) {
    // Most sources are small and a few are long: median 2.5 KB, mean 6 KB.
    const length = Math.min(400_000, Math.round(2500 * Math.exp(1.3 * random.normal())))
    // About ten files in each of 6000 folders.
    const at = Math.floor(index / 40)
    const folder = `projects/p${index % 40}/part${at % 15}/sub${Math.floor(at / 15) % 10}`
    write(place(folder, `${random.word()}-${index}.txt`), text(length))
  }
  for (let index = 0; index < scaled(counts.binary); index++) {
    const length = Math.min(600_000, Math.round(22_000 * Math.exp(0.9 * random.normal())))
    const folder = `results/run${index % 150}`
    write(
      place(folder, `${random.word()}${index}.bin`),
      index % 2 === 0 ? noise(length) : table(random, length),
    )
  }
  const originals = made.length
  for (let index = 0; index < scaled(counts.copies); index++) {
    const original = made[random.below(originals)] ?? ''
    write(place(`backup/old${index % 60}`, `${index}.copy`), readFileSync(original))
  }
  for (let index = 0; index < scaled(counts.large); index++) {
    const length = largeBytes.min + random.below(largeBytes.max - largeBytes.min)
    const path = place('large', `part${index}.dat`)
    // A quarter each: noise, text, tables, and noise that another file has too, behind an insertion.
    if (index % 4 === 0) write(path, noise(length))
    else if (index % 4 === 1) write(path, text(length))
    else if (index % 4 === 2) write(path, table(random, length))
    else {
      const other = readFileSync(join(root, 'large', `part${index - 3}.dat`))
      write(path, Buffer.concat([noise(1 + random.below(5000)), other]))
    }
  }
  const sparse = place('large', 'sparse.img')
  bytes += writeSparse(sparse, noise(1_000_000), Math.round(200_000_000 * scale))
  utimesSync(sparse, modifiedAt, modifiedAt)
  for (let index = 0; index < scaled(300); index++) {
    symlinkSync(`../large/part${index}.dat`, place('links', `soft${index}`))
    linkSync(made[random.below(originals)] ?? '', place('links', `hard${index}`))
  }
  for (const folder of [...folders].toSorted().toReversed()) utimesSync(folder, modifiedAt, modifiedAt)
  return { files: made.length + 1, bytes }
}

/** Data, a hole, data. */
function writeSparse(path: string, data: Buffer, holeBytes: number): number {
  const file = openSync(path, 'w')
  try {
    writeSync(file, data, 0, data.length, 0)
    writeSync(file, data, 0, data.length, data.length + holeBytes)
  } finally {
    closeSync(file)
  }
  return 2 * data.length + holeBytes
}

interface Random {
  /** An integer from 0, below `limit`. */
  below(limit: number): number
  /** Mean 0, variance 1. */
  normal(): number
  word(): string
}

/** splitmix32: small, quick, and the same everywhere. */
function openRandom(start: number): Random {
  let state = start
  const next = (): number => {
    state = (state + 0x9e37_79b9) | 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0_aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97)
    return (mixed ^ (mixed >>> 15)) >>> 0
  }
  const below = (limit: number) => Math.floor((next() / 2 ** 32) * limit)
  const syllables = ['ka', 'lo', 'mi', 'ren', 'su', 'ta', 'vel', 'no', 'dra', 'pi', 'hu', 'es']
  return {
    below,
    normal: () => {
      const radius = Math.sqrt(-2 * Math.log((next() + 1) / (2 ** 32 + 1)))
      return radius * Math.cos((2 * Math.PI * next()) / 2 ** 32)
    },
    word: () => {
      let word = ''
      for (let left = 2 + below(2); left > 0; left--) word += syllables[below(syllables.length)] ?? ''
      return word
    },
  }
}

/** The key stream of AES, which nothing can compress. */
function openNoise(start: number): (length: number) => Buffer {
  const stream = createCipheriv(
    'aes-256-ctr',
    createHash('sha256').update(`${start}`).digest(),
    Buffer.alloc(16),
  )
  return (length) => stream.update(Buffer.alloc(length))
}

/** Lines of words, some common and most rare: it compresses about as source text does. */
function openText(random: Random): (length: number) => Buffer {
  const words = Array.from({ length: 6000 }, () =>
    Buffer.from(
      `${random.word()}${random.below(3) === 0 ? random.below(1000) : ''}${random.below(9) === 0 ? '\n' : ' '}`,
    ),
  )
  return (length) => {
    const content = Buffer.alloc(length)
    for (let at = 0; at < length;) {
      const rank = Math.floor(words.length ** (random.below(1_000_000) / 1_000_000)) - 1
      at += (words[rank] ?? words[0])?.copy(content, at) ?? length
    }
    return content
  }
}

/** Rows of numbers that wander, as measurements do: little-endian, 8 bytes each. */
function table(random: Random, length: number): Buffer {
  const content = Buffer.alloc(length)
  let value = 1000
  for (let at = 0; at + 8 <= length; at += 8) {
    value += random.below(64) - 32
    content.writeInt32LE(value, at)
    content.writeUInt16LE(at & 0xffff, at + 4)
  }
  return content
}
