// Few files of 100 MB and more: noise, text, tables of numbers, and disks that are mostly holes.
import type { Maker, Piece } from './data-maker.ts'
import { makeTable, openNoise, openRandom, openText } from './random.ts'

const seed = 20_261_122
// What scale 1 has: 2 GB that nothing can compress, 2 GB that can be compressed, 1 GB of which a sixteenth is data.
const files = { noise: 10, text: 10, table: 10, sparse: 2 }
const fileBytes = { noise: 200_000_000, text: 100_000_000, table: 100_000_000, sparse: 512_000_000 }
const pieceBytes = 4_000_000

export async function makeBig(maker: Maker, scale: number): Promise<void> {
  const random = openRandom(seed)
  const noise = openNoise(seed)
  const text = openText(random)
  const fill = function* (bytes: number, make: (length: number) => Buffer): Iterable<Piece> {
    for (let at = 0; at < bytes; at += pieceBytes) yield { at, bytes: make(Math.min(pieceBytes, bytes - at)) }
  }
  const makers = { noise, text, table: (length: number) => makeTable(random, length) }
  for (const kind of ['noise', 'text', 'table'] as const) {
    const bytes = Math.max(1, Math.round(fileBytes[kind] * scale))
    for (let index = 0; index < files[kind]; index++)
      await maker.write(maker.place(kind, `part${index}.dat`), fill(bytes, makers[kind]))
  }
  const step = Math.max(64 * 1024, Math.round((fileBytes.sparse * scale) / 32 / 4096) * 4096)
  const disk = function* (): Iterable<Piece> {
    for (let index = 0; index < 32; index++)
      yield { at: index * step, bytes: noise(Math.floor(step / 16 / 4096) * 4096) }
    yield { at: 32 * step - 4096, bytes: noise(4096) }
  }
  for (let index = 0; index < files.sparse; index++)
    await maker.write(maker.place('sparse', `disk${index}.img`), disk())
}
