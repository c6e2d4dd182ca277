// Very many files, half of them empty and half of them a line: what a path costs, not what a byte costs.
import type { Maker } from './data-maker.ts'
import { whole } from './data-maker.ts'

/** Folders of folders, a hundred files in each of the lowest. */
const filesPerFolder = 100
const foldersPerFolder = 100

export async function makeTree(maker: Maker, files: number): Promise<void> {
  for (let index = 0; index < files; index++) {
    const folder = Math.floor(index / filesPerFolder)
    const path = maker.place(`d${Math.floor(folder / foldersPerFolder)}/d${folder}`, `file-${index}`)
    // Each line is another one: as many blobs as there are files with content.
    await maker.write(path, whole(Buffer.from(index % 2 === 0 ? '' : `This is file ${index}\n`)))
  }
}
