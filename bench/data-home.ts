// Homes of people who compute: sources and notes, results, copies of both, and a few large files that are most of the bytes.
import { linkSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type Maker, whole } from './data-maker.ts'
import { makeTable, openNoise, openRandom, openText } from './random.ts'

const seed = 20_261_121
// What scale 1 has: 75,000 files of 2.5 GB together.
const counts = { text: 58_000, binary: 11_000, copies: 5940, large: 60 }
const largeBytes = { min: 2_000_000, max: 58_000_000 }

export async function makeHome(maker: Maker, root: string, scale: number): Promise<void> {
  const random = openRandom(seed)
  const noise = openNoise(seed)
  const text = openText(random)
  const scaled = (count: number) => Math.max(1, Math.round(count * scale))
  for (let index = 0; index < scaled(counts.text); index++) {
    // Most sources are small and a few are long: median 2.5 KB, mean 6 KB.
    const length = Math.min(400_000, Math.round(2500 * Math.exp(1.3 * random.normal())))
    // About ten files in each of 6000 folders.
    const at = Math.floor(index / 40)
    const folder = `projects/p${index % 40}/part${at % 15}/sub${Math.floor(at / 15) % 10}`
    await maker.write(maker.place(folder, `${random.word()}-${index}.txt`), whole(text(length)))
  }
  for (let index = 0; index < scaled(counts.binary); index++) {
    const length = Math.min(600_000, Math.round(22_000 * Math.exp(0.9 * random.normal())))
    const path = maker.place(`results/run${index % 150}`, `${random.word()}${index}.bin`)
    await maker.write(path, whole(index % 2 === 0 ? noise(length) : makeTable(random, length)))
  }
  const originals = maker.written.length
  for (let index = 0; index < scaled(counts.copies); index++) {
    const original = maker.written[random.below(originals)] ?? ''
    await maker.write(maker.place(`backup/old${index % 60}`, `${index}.copy`), whole(readFileSync(original)))
  }
  for (let index = 0; index < scaled(counts.large); index++) {
    const length = largeBytes.min + random.below(largeBytes.max - largeBytes.min)
    const path = maker.place('large', `part${index}.dat`)
    // A quarter each: noise, text, tables, and noise that another file has too, behind an insertion.
    if (index % 4 === 0) await maker.write(path, whole(noise(length)))
    else if (index % 4 === 1) await maker.write(path, whole(text(length)))
    else if (index % 4 === 2) await maker.write(path, whole(makeTable(random, length)))
    else {
      const other = readFileSync(join(root, 'large', `part${index - 3}.dat`))
      await maker.write(path, whole(Buffer.concat([noise(1 + random.below(5000)), other])))
    }
  }
  const ends = noise(1_000_000)
  await maker.write(maker.place('large', 'sparse.img'), [
    { at: 0, bytes: ends },
    { at: ends.length + Math.round(200_000_000 * scale), bytes: ends },
  ])
  for (let index = 0; index < scaled(300); index++) {
    symlinkSync(`../large/part${index}.dat`, maker.place('links', `soft${index}`))
    linkSync(maker.written[random.below(originals)] ?? '', maker.place('links', `hard${index}`))
  }
}
