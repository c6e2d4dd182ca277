// Which row of a listing a path has, and which path a row.
import { baseName, joinPath, parentPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import type { ListedPath } from '../wire/folder-reader.ts'
import type { ListingColumns } from './listing-columns.ts'
import { noRow, type Row, rootRow } from './listing-row.ts'

export class ListingPaths {
  readonly #columns: ListingColumns
  readonly #folders = new Map<RawPath, Row>()
  /** By folder, for those in which somebody looked for a name. */
  readonly #children = new Map<Row, Map<RawName, Row>>()
  #lastFolder: RawPath = rootPath
  #lastRow: Row = rootRow

  constructor(columns: ListingColumns) {
    this.#columns = columns
    columns.append(noRow, columns.names.add('' as RawName), 0)
    columns.setFolder(rootRow)
    this.#folders.set(rootPath, rootRow)
  }

  /** `noRow` for a path that has none. */
  locate(path: RawPath): Row {
    const folder = this.#folders.get(path)
    if (folder !== undefined) return folder
    const parent = this.#folders.get(parentPath(path))
    return parent === undefined ? noRow : (this.#childrenOf(parent).get(baseName(path)) ?? noRow)
  }

  path(row: Row): RawPath {
    if (row === rootRow) return rootPath
    const names: RawName[] = []
    for (let at = row; at !== rootRow; at = this.#columns.parent(at)) names.push(this.#columns.name(at))
    return `/${names.reverse().join('/')}` as RawPath
  }

  /** The row of a folder, else a new one: what is no folder is not looked for. Folders on the way come to be. */
  add(path: RawPath, isFolder: boolean): Row {
    const folder = this.#folders.get(path)
    if (folder !== undefined) return folder
    this.enter(parentPath(path))
    const parent = this.#lastRow
    const name = baseName(path)
    const row = this.#columns.append(parent, this.#columns.names.add(name), name.length)
    this.#children.get(parent)?.set(name, row)
    if (isFolder) {
      this.#columns.setFolder(row)
      this.#folders.set(path, row)
    }
    return row
  }

  /** A new row in the folder that was entered last. */
  addListed({ names, nameStart, nameEnd, type }: ListedPath): Row {
    const columns = this.#columns
    const parent = this.#lastRow
    const row = columns.append(parent, columns.names.addBytes(names, nameStart, nameEnd), nameEnd - nameStart)
    this.#children.get(parent)?.set(columns.name(row), row)
    if (type === 'dir') this.#folders.set(joinPath(this.#lastFolder, columns.name(row)), row)
    return row
  }

  enter(folder: RawPath): void {
    if (folder !== this.#lastFolder) this.#setLast(folder, this.add(folder, true))
  }

  /** A path that has its row already became a folder, or is none any more. */
  mark(path: RawPath, row: Row, isFolder: boolean): void {
    if (isFolder) this.#folders.set(path, row)
    else if (this.#folders.get(path) === row) this.#folders.delete(path)
  }

  /** No path leads to it any more. */
  drop(row: Row): void {
    this.#children.get(this.#columns.parent(row))?.delete(this.#columns.name(row))
    if (this.#columns.isFolder(row)) this.#folders.delete(this.path(row))
    if (this.#lastRow === row) this.#setLast(rootPath, rootRow)
  }

  #setLast(folder: RawPath, row: Row): void {
    this.#lastFolder = folder
    this.#lastRow = row
  }

  #childrenOf(folder: Row): Map<RawName, Row> {
    let children = this.#children.get(folder)
    if (!children) {
      children = new Map()
      for (const child of this.#columns.children(folder)) children.set(this.#columns.name(child), child)
      this.#children.set(folder, children)
    }
    return children
  }
}
